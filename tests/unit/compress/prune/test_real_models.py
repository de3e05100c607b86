"""Every real model, and the networks of the benchmarks: what is left is valid, runs, and works less."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from benchmarks.builders import densenet121, fpn_detection, fpn_segmentation, squeezenet11, unet
from reconv.compress.prune import groups, prune
from reconv.engine.tail import open_session
from reconv.errors import ModelError
from reconv.graph import Graph, load, multiply_adds, shapes_of, to_onnx, with_shapes

Array = np.ndarray[Any, Any]
SHAPES: dict[str, tuple[int, ...]] = {
    "basic_pitch": (1, 43844, 1),
    "centerface": (10, 3, 32, 32),
    "crepe_tiny": (2, 1024),
    "open_nsfw": (1, 224, 224, 3),
    "swift_f0": (1, 16000),
    "yolov8n_nudenet": (1, 3, 320, 320),
}
REAL = (
    *("basic_pitch", "centerface", "centerface_clean", "crepe_tiny", "efficientnet_lite0", "mobilenet_v2"),
    *("mobilenet_v2_bn", "open_nsfw", "ppocr_det", "swift_f0", "waifu2x", "yolov8n_nudenet", "yolox_nano"),
)
BUILT: dict[str, Callable[[], onnx.ModelProto]] = {
    "densenet121": lambda: densenet121(32),
    "fpn_detection": lambda: fpn_detection(64, width=16, channels=32, classes=3),
    "fpn_segmentation": lambda: fpn_segmentation(64, width=16, channels=32, fold=False),
    "squeezenet11": lambda: squeezenet11(64),
    "unet": lambda: unet(32, width=16),
    "unet_upsampling": lambda: unet(32, width=16, transposed=False),
}


def feeds(graph: Graph, name: str) -> dict[str, Array]:
    random = np.random.default_rng(0)
    found = {}
    for info in graph.inputs:
        usual = [size if isinstance(size, int) else 1 if axis == 0 else 64 for axis, size in enumerate(info.shape)]
        shape = SHAPES.get(name, tuple(usual)) if info.shape else ()
        values = random.standard_normal(shape) if shape else {"fmin": 50.0, "fmax": 2000.0}[info.name]
        found[info.name] = np.asarray(values, info.dtype)
    return found


def work(graph: Graph, inputs: dict[str, Array]) -> int:
    """Multiply-adds of a run."""
    shapes = shapes_of(with_shapes(graph, {name: array.shape for name, array in inputs.items()}))
    found = 0
    for node in graph.nodes:
        products = multiply_adds(node, shapes)
        if products is None:  # of a size that shows only when it runs: those of one pixel
            products = graph.constants[node.inputs[1]].size if node.inputs[1] in graph.constants else 0
        found += products
    return found


def run(graph: Graph, inputs: dict[str, Array]) -> list[Array]:
    return [np.asarray(y) for y in open_session(to_onnx(graph).SerializeToString(), 1).run(None, inputs)]


def check(graph: Graph, name: str) -> None:
    inputs = feeds(graph, name)
    shapes = [y.shape for y in run(graph, inputs)]
    last = work(graph, inputs)
    for ratio in (0.25, 0.5):
        made = prune(graph, ratio=ratio).graph
        onnx.checker.check_model(to_onnx(made), full_check=True)
        found = run(made, inputs)
        assert [y.shape for y in found] == shapes
        assert all(np.isfinite(y).all() for y in found)
        assert work(made, inputs) < last
        last = work(made, inputs)


@pytest.mark.parametrize("name", REAL)
def test_real_models_get_smaller(name: str, asset: Callable[[str], Path]) -> None:
    check(load(asset(name)), name)


@pytest.mark.parametrize("name", BUILT)
def test_networks_of_the_benchmarks_get_smaller(name: str) -> None:
    check(load(BUILT[name]()), name)


def test_a_model_whose_layers_are_in_bodies_is_refused(asset: Callable[[str], Path]) -> None:
    graph = load(asset("silero_vad"))
    assert groups(graph) == []
    with pytest.raises(ModelError, match="no channel of the model can be removed"):
        prune(graph)
