"""The built networks are the published ones: their counts, their operators, and activations of a sane scale.

Published counts are those of torchvision's tables (0.14 and later) and of the U-Net of PyTorch Hub; parameters are
counted with batch normalisations unfolded, running statistics apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from math import prod
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from benchmarks.builders import densenet121, fpn_detection, fpn_segmentation, inception_v3, squeezenet11, unet, written
from reconv.graph import load
from reconv.graph.cost import multiply_adds
from tests.tolerances import Tolerance

Build = Callable[..., onnx.ModelProto]
# A fold rounds every weight once more, and its effect goes through up to 121 layers.
FOLDED = Tolerance("folded", scaled=5e-5)

SMALL: dict[str, Callable[[], onnx.ModelProto]] = {
    "densenet121": partial(densenet121, 64),
    "squeezenet11": partial(squeezenet11, 64),
    "inception_v3": partial(inception_v3, 155),
    "unet": partial(unet, 64),
    "unet upsampling": partial(unet, 64, transposed=False),
    "fpn_segmentation": partial(fpn_segmentation, 64),
    "fpn_detection": partial(fpn_detection, 64),
}


def parameters(model: onnx.ModelProto, prefix: str = "") -> int:
    """Numbers that training changes: all weights but running statistics and the factors of a Resize."""
    kept = (w for w in model.graph.initializer if w.name.startswith(prefix) and "running_" not in w.name)
    return sum(prod(w.dims) for w in kept if not w.name.startswith("scales"))


def work(model: onnx.ModelProto, prefix: str = "") -> int:
    """Multiply-adds of the nodes whose names start so, by ONNX's own shape inference."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = (*inferred.input, *inferred.output, *inferred.value_info)
    shapes = {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in values}
    shapes |= {w.name: tuple(w.dims) for w in inferred.initializer}
    counts = [multiply_adds(node, shapes) for node in load(model).nodes if node.name.startswith(prefix)]
    assert None not in counts
    return sum(count or 0 for count in counts)


def run(model: onnx.ModelProto, seed: int = 0, every_map: bool = False) -> dict[str, np.ndarray]:
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    if every_map:
        known = {value.name for value in copy.graph.output}
        names = [name for node in copy.graph.node for name in node.output if name not in known]
        copy.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    session = onnxruntime.InferenceSession(copy.SerializeToString(), providers=["CPUExecutionProvider"])
    shape = session.get_inputs()[0].shape
    x = np.random.default_rng(seed).random(shape, np.float32)
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, {"input": x}), strict=True))


def degenerate(maps: dict[str, np.ndarray]) -> list[str]:
    """The maps whose values blow up, vanish, or are the same everywhere."""
    return [name for name, y in maps.items() if not 0.1 < y.std(dtype=np.float64) < 10]


@pytest.mark.parametrize(
    ("build", "count", "billions"),
    [(densenet121, 7_978_856, 2.834), (squeezenet11, 1_235_496, 0.349), (inception_v3, 27_161_264 - 3_326_696, 5.713)],
)
def test_published_counts(build: Build, count: int, billions: float) -> None:
    """torchvision counts Inception-v3 with its auxiliary classifier: 128 and 768 channels, and 1,000 classes."""
    assert parameters(build() if build is squeezenet11 else build(fold=False)) == count
    assert round(work(build()) / 1e9, 3) == billions


def test_auxiliary_classifier_of_inception() -> None:
    assert 3_326_696 == (768 * 128 + 2 * 128) + (128 * 768 * 25 + 2 * 768) + (768 * 1000 + 1000)


def test_unet_counts() -> None:
    assert parameters(unet(64, fold=False)) == 7_763_041
    assert parameters(unet(64, width=64, fold=False)) == 31_037_633
    for transposed in (True, False):
        assert work(unet(512, transposed=transposed)) == (179 * 32**2 + 28 * 32) * 512**2


def test_pyramid_counts() -> None:
    """On ResNet-18 without its classifier; the pyramid has a lateral and a smoothing convolution per level."""
    model = fpn_segmentation(224, width=64, channels=256, fold=False)
    assert parameters(model, "body.") == 11_689_512 - 513_000
    assert round((work(fpn_segmentation(224, width=64), "/body/") + 512_000) / 1e9, 3) == 1.814
    assert parameters(model, "fpn.") == (64 + 128 + 256 + 512) * 256 + 4 * (9 * 256**2 + 2 * 256)
    assert parameters(model, "head.fuse") == 4 * 256 * 256 + 2 * 256
    detection = fpn_detection(224, channels=64)
    towers = 4 * (9 * 64**2 + 64) + 9 * (9 * 64 + 1) * (80 + 4)
    assert parameters(detection, "head.") == towers, "the heads of three levels share their weights"
    assert len([node for node in detection.graph.node if node.name.startswith("/head/classes/predict")]) == 3


def test_operators_are_those_of_the_exporter() -> None:
    """The counts of torch.onnx.export of torchvision's models in eval mode, opset 17."""

    def operators(model: onnx.ModelProto) -> dict[str, int]:
        return dict(Counter(node.op_type for node in model.graph.node))

    end = {"GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1}
    dense = {"Relu": 121, "Conv": 120, "Concat": 62, "BatchNormalization": 62, "AveragePool": 3, "MaxPool": 1}
    assert operators(densenet121()) == dense | end
    inception = {"Conv": 94, "Relu": 94, "Concat": 11, "AveragePool": 9, "MaxPool": 4}
    assert operators(inception_v3()) == inception | end
    squeeze = {"Conv": 26, "Relu": 26, "Concat": 8, "MaxPool": 3, "GlobalAveragePool": 1, "Flatten": 1}
    assert operators(squeezenet11()) == squeeze


@pytest.mark.parametrize("name", SMALL)
def test_runs_at_a_sane_scale(name: str) -> None:
    model = SMALL[name]()
    onnx.checker.check_model(model, full_check=True)
    first = run(model, every_map=True)
    assert degenerate(first) == []
    other = run(model, seed=1)
    for output, y in other.items():
        assert np.abs(y - first[output]).max() > 1e-3 * np.abs(y).max(), "the answer depends on the input"


def test_a_dead_network_is_seen() -> None:
    model = SMALL["squeezenet11"]()
    first = next(w for w in model.graph.initializer if w.name == "features.0.weight")
    alive = numpy_helper.to_array(first)
    for factor in (0, 1e30):
        first.CopyFrom(numpy_helper.from_array(alive * np.float32(factor), first.name))
        assert degenerate(run(model, every_map=True))


@pytest.mark.parametrize(
    "build", [densenet121, partial(inception_v3, 155), partial(unet, 64), partial(fpn_detection, 64)]
)
def test_folding_leaves_the_result(build: Build) -> None:
    plain, folded = build(fold=False), build()
    norms = [sum(node.op_type == "BatchNormalization" for node in m.graph.node) for m in (plain, folded)]
    assert norms[0] > norms[1]
    expected = run(plain)
    for name, y in run(folded).items():
        FOLDED.check(y, expected[name], name, float(np.abs(expected[name]).max()))


def test_files_are_the_same_every_time(tmp_path: Path) -> None:
    once, again = (written(SMALL["fpn_detection"](), tmp_path / f"{name}.onnx") for name in ("once", "again"))
    assert once.read_bytes() == again.read_bytes()
    stamp = once.stat().st_mtime_ns
    assert written(SMALL["fpn_detection"](), once).stat().st_mtime_ns == stamp, "a file that is right is left alone"
    written(SMALL["unet"](), once)
    assert once.read_bytes() == SMALL["unet"]().SerializeToString(deterministic=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.onnx", "once.onnx"]
