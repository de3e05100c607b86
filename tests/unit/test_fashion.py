"""The networks of the compression suite: their sizes, their training in small, what augmentation does."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from benchmarks import fashion, fashion_data, fashion_pipeline
from benchmarks.builders.fashion import mobilenet_28, resnet20
from reconv.compress.depth import find_blocks
from reconv.compress.train.loop import Progress
from reconv.graph import load, to_onnx
from reconv.graph.cost import multiply_adds


def work(model: onnx.ModelProto) -> int:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    shapes = {
        v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in (*graph.input, *graph.value_info)
    }
    shapes |= {v.name: (1, 10) for v in graph.output} | {w.name: tuple(w.dims) for w in graph.initializer}
    return sum(multiply_adds(node, shapes) or 0 for node in load(model).nodes)


def test_the_networks_have_their_published_sizes() -> None:
    sizes = {w.name: int(np.prod(w.dims)) for w in resnet20().graph.initializer if "running_" not in w.name}
    # 0.27 million in the paper, for three channels of colour and without the two projections
    assert sum(sizes.values()) == 269_722 + 2 * 16 + 16 * 32 + 32 * 64 + 2 * (32 + 64) - 2 * 16 * 9 - 2 * 16
    assert 30e6 < work(resnet20()) < 32e6
    assert 15e6 < work(mobilenet_28()) < 25e6
    for model in (resnet20(), mobilenet_28()):
        onnx.checker.check_model(model, full_check=True)
        assert model.SerializeToString(deterministic=True) == type(model).FromString(
            model.SerializeToString(deterministic=True)
        ).SerializeToString(deterministic=True)


def test_augmentation_moves_and_mirrors_and_nothing_else() -> None:
    images = torch.randint(1, 255, (16, 1, 28, 28), dtype=torch.uint8)
    images[0, 0, 0, 0] = 0  # black, which the border becomes
    moved = fashion.augmented(images, np.random.default_rng(0))
    assert moved.shape == images.shape
    seen = set()
    for one, other in zip(images[:, 0].numpy(), moved[:, 0].numpy(), strict=True):
        padded = np.pad(one, 2)
        found = [
            (down, right, mirror)
            for down in range(5)
            for right in range(5)
            for mirror in (1, -1)
            if np.array_equal(padded[down : down + 28, right : right + 28][:, ::mirror], other)
        ]
        assert len(found) == 1
        seen.add(found[0])
    assert len(seen) > 8
    again = fashion.augmented(images, np.random.default_rng(0))
    assert torch.equal(moved, again)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Forty pictures, bright above or below, as both parts; a folder for the files."""
    random = np.random.default_rng(0)
    classes = random.integers(0, 2, 40)
    images = random.integers(0, 60, (40, 28, 28)).astype(np.uint8)
    for image, kind in zip(images, classes, strict=True):
        image[14 * kind : 14 * kind + 14] += 150
    data = images, classes.astype(np.int64)
    for module in (fashion, fashion_data):
        monkeypatch.setattr(module, "pictures", lambda _: data)
    monkeypatch.setattr(fashion, "folder", lambda: tmp_path)
    course = replace(fashion.NETWORKS["resnet20"].course, epochs=2, batch=10, learning_rate=0.02, checkpoint_seconds=0)
    tiny = fashion.Network(resnet20, course)
    monkeypatch.setattr(fashion, "NETWORKS", {"resnet20": tiny})
    return tmp_path


def test_training_gives_a_file_once_and_goes_on_after_an_interrupt(small: Path) -> None:
    steps: list[int] = []

    def interrupt(progress: Progress) -> None:
        if progress.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fashion.trained("resnet20", threads=1, say=interrupt)
    path = fashion.trained("resnet20", threads=1, say=lambda progress: steps.append(progress.step))
    assert steps == list(range(4, 9))
    record: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
    assert record["accuracy"] == fashion_data.accuracy(path, threads=1)
    assert 0 <= record["accuracy"] <= 1
    assert record["seed"] == 1
    assert sorted(p.suffix for p in (small / "built").iterdir()) == [".json", ".onnx"]
    assert fashion.trained("resnet20", say=interrupt) == path
    graph = load(path)
    assert graph.inputs[0].shape == ("batch", 1, 28, 28)


def test_the_pipeline_goes_from_floats_to_codes(small: Path) -> None:
    once = replace(fashion.NETWORKS["resnet20"].course, epochs=1)
    recipe = replace(fashion_pipeline.RECIPES["resnet20"], distil=once, aware=replace(once, bfloat16=False))
    graph = load(resnet20())
    made = fashion_pipeline.pipeline("resnet20", graph, threads=1, count=20, recipe=recipe)
    assert tuple(made) == fashion_pipeline.STEPS
    convs = [[node for node in each.nodes if node.op_type == "Conv"] for each in (graph, *made.values())]
    assert [len(each) for each in convs] == [21, 15, 15, 15]
    widths = {node.name: made["prune"].constants[node.inputs[1]].shape[0] for node in convs[1]}
    assert {name for name, width in widths.items() if width == 64} == {name for name in widths if "/stages/2" in name}
    assert set(widths.values()) == {16, 64}  # the last stage is whole
    kinds = {array.dtype.name for array in made["prune, distil, quantize"].constants.values()}
    assert {"int8", "int32"} <= kinds
    assert convs[3][0].inputs[0] == "input"  # the first layer is float
    for each in made.values():
        data = to_onnx(each).SerializeToString()
        assert 0 <= fashion_data.accuracy(data, threads=1, batch=20) <= 1


def test_blocks_of_the_recipes_are_there() -> None:
    for name, recipe in fashion_pipeline.RECIPES.items():
        blocks = {block.name for block in find_blocks(load(fashion.NETWORKS[name].builder()))}
        assert set(recipe.blocks) <= blocks


def test_pictures_are_read_as_their_format_says(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3]) + bytes(range(6))))
    assert fashion_data._idx(path).tolist() == [[[0, 1, 2]], [[3, 4, 5]]]
    maps = fashion_data.normalized(np.full((2, 28, 28), 255, np.uint8))
    assert maps.shape == (2, 1, 28, 28)
    assert maps[0, 0, 0, 0] == pytest.approx((1 - 0.2860) / 0.3530)
