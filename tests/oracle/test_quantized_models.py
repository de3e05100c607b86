"""Real models, quantized by ONNX Runtime's quantizer on frames of a clip, against the integer reference.

Every quantized value that the engine holds has the codes that the reference makes of the engine's own codes before it.
Where float layers and curved activations are before, a code may differ next to a tie; the others are the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import version_converter
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from reconv import _core
from reconv.compress.quantize import TARGETS, quantize
from reconv.engine.lower import lower
from reconv.graph import load
from reconv.optimize.values import RuntimeForward
from tests.oracle.quantized_checks import compare

cv2 = pytest.importorskip("cv2")
Array = np.ndarray[Any, Any]
Asset = Callable[[str], Path]


@dataclass(frozen=True)
class Real:
    """A model, the size it is run at, how its pixels are prepared, and how many of its products run in 8 bits."""

    shape: tuple[int, ...]
    prepare: Callable[[Array], Array]
    products: int
    quantizer: dict[str, Any]


EVERY = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8, "per_channel": True}
SIGNED = {
    "activation_type": QuantType.QInt8,
    "weight_type": QuantType.QInt8,
    "per_channel": True,
    "reduce_range": True,
    "extra_options": {"ActivationSymmetric": True},
}
MODELS = {
    "mobilenet_v2": Real((1, 3, 96, 96), lambda x: (x / 255 - 0.45) / 0.23, 53, EVERY),
    "open_nsfw": Real((1, 224, 224, 3), lambda x: x - 110, 54, SIGNED),
    "yolov8n_nudenet": Real((1, 3, 96, 96), lambda x: x / 255, 64, EVERY),
    "centerface_clean": Real((1, 3, 96, 128), lambda x: x, 63, SIGNED),
}


class Frames(CalibrationDataReader):  # type: ignore[misc]  # of a package without types
    def __init__(self, name: str, frames: list[Array]) -> None:
        self.left = [{name: frame} for frame in frames]

    def get_next(self) -> dict[str, Array] | None:
        return self.left.pop() if self.left else None


def frames(path: Path, real: Real, count: int) -> list[Array]:
    last = real.shape[3] == 3
    height, width = real.shape[1:3] if last else real.shape[2:]
    clip, found = cv2.VideoCapture(str(path)), []
    for _ in range(count):
        picture = cv2.resize(clip.read()[1], (width, height)).astype(np.float32)
        x = real.prepare(picture)
        found.append(np.ascontiguousarray((x if last else x.transpose(2, 0, 1))[None], np.float32))
    return found


def fixed(path: Path, real: Real) -> onnx.ModelProto:
    """The model for inputs of one size, of an opset that has Q and DQ per channel."""
    model = onnx.load(path)
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [info for info in model.graph.input if info.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    for size, value in zip(inputs[0].type.tensor_type.shape.dim, real.shape, strict=True):
        size.dim_value = value
    return model if model.opset_import[0].version >= 13 else version_converter.convert_version(model, 13)


@pytest.mark.parametrize("name", MODELS)
def test_codes_are_those_of_the_reference(name: str, asset: Asset, tmp_path: Path) -> None:
    real = MODELS[name]
    pictures = frames(asset("carphone"), real, 3)
    model = fixed(asset(name), real)
    onnx.save(model, tmp_path / "float.onnx")
    reader = Frames(model.graph.input[0].name, pictures[:1])
    quantize_static(
        tmp_path / "float.onnx", tmp_path / "int8.onnx", reader, quant_format=QuantFormat.QDQ, **real.quantizer
    )
    quantized = onnx.load(tmp_path / "int8.onnx")
    lowered = lower(load(quantized), {model.graph.input[0].name: real.shape})
    assert not lowered.tail_nodes
    products = [p for p in lowered.nodes if p.node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul")]
    assert {placed.reason for placed in products if "in 8 bits" not in placed.reason} == set()
    assert len(products) == real.products
    state = _core.State(lowered.plan, _core.Threads(1), False, 0.0)
    state.step([pictures[2]])
    comparison, values = compare(quantized, lowered, state, pictures[2], exact=name != "yolov8n_nudenet")
    assert comparison.ties <= 4
    assert len(comparison.names) >= real.products // 2  # others are in the middle of a fused op
    for border in lowered.outputs:
        y = np.empty(border.shape, np.float32)
        state.read(border.index, y)
        wanted = values[border.name]
        np.testing.assert_allclose(y, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("target", TARGETS)
def test_files_of_our_own_quantizer(target: str, asset: Asset, tmp_path: Path) -> None:
    real = MODELS["mobilenet_v2"]
    pictures = frames(asset("carphone"), real, 2)
    onnx.save(fixed(asset("mobilenet_v2"), real), tmp_path / "float.onnx")
    graph = load(tmp_path / "float.onnx")
    name = graph.inputs[0].name
    made = quantize(
        graph, [{name: pictures[0]}], RuntimeForward(1), target=target, calibration="minmax", correct_bias=False
    )
    lowered = lower(load(made.model), {name: real.shape})
    assert not lowered.tail_nodes
    products = [placed.reason for placed in lowered.nodes if placed.node.op_type in ("Conv", "Gemm")]
    assert {reason for reason in products if "in 8 bits" not in reason} == set()
    state = _core.State(lowered.plan, _core.Threads(1), False, 0.0)
    state.step([pictures[1]])
    comparison, _ = compare(made.model, lowered, state, pictures[1], exact=False)
    assert comparison.ties <= 8
    assert len(comparison.names) >= 26


def test_onnxruntime_runs_the_same_file_to_nearly_the_same_answer(asset: Asset, tmp_path: Path) -> None:
    """Rounding at ties goes on through 53 layers: the answer, not every code, is what has to agree."""
    real = MODELS["mobilenet_v2"]
    pictures = frames(asset("carphone"), real, 3)
    model = fixed(asset("mobilenet_v2"), real)
    onnx.save(model, tmp_path / "float.onnx")
    reader = Frames(model.graph.input[0].name, pictures[:2])
    quantize_static(tmp_path / "float.onnx", tmp_path / "int8.onnx", reader, quant_format=QuantFormat.QDQ, **EVERY)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(tmp_path / "int8.onnx", options, providers=["CPUExecutionProvider"])
    lowered = lower(load(tmp_path / "int8.onnx"), {model.graph.input[0].name: real.shape})
    state = _core.State(lowered.plan, _core.Threads(1), True, 0.0)
    for picture in pictures:
        (expected,) = session.run(None, {model.graph.input[0].name: picture})
        state.step([picture])
        y = np.empty(expected.shape, np.float32)
        state.read(0, y)
        assert np.corrcoef(y.ravel(), expected.ravel())[0, 1] > 0.99
