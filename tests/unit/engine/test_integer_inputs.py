"""Inputs of whole numbers that a Cast makes floats are maps of the engine; what else reads them gets them as they are.

Weights are small whole numbers, so that every sum is exact and ONNX Runtime's bits are asked for.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper, parser

from reconv import Model, PixelArithmetic, load
from reconv.errors import InputError
from tests.tolerances import EXACT
from tests.unit.small import Array

KINDS = {
    "uint8": TensorProto.UINT8,
    "int8": TensorProto.INT8,
    "uint16": TensorProto.UINT16,
    "int16": TensorProto.INT16,
}
NET = "f = Cast<to=1>(x) t = Transpose<perm=[0,3,1,2]>(f) y = Conv<pads=[1,1,1,1]>(t, w)"
# nodes; outputs beside y with their types, 0 for the input's; how many nodes are tail
BODIES: dict[str, tuple[str, dict[str, int], int]] = {
    "cast first": (NET, {}, 0),
    "moved before": (
        "m = Transpose<perm=[0,3,1,2]>(x) s = Slice(m, start, end, axes) f = Cast<to=1>(s) y = Conv(f, w)",
        {},
        0,
    ),
    "padded and tiled": (
        "p = Pad(x, pads, fill) q = Tile(p, twice) f = Cast<to=1>(q) t = Transpose<perm=[0,3,1,2]>(f) y = Conv(t, w)",
        {},
        0,
    ),
    "moved in the tail as well": (
        "m = Transpose<perm=[0,3,1,2]>(x) f = Cast<to=1>(m) y = Conv(f, w) g = Concat<axis=1>(m, m)",
        {"m": 0, "g": 0},
        1,
    ),
    "turned by the tail": (
        "m = Transpose<perm=[0,3,1,2]>(x) s = Slice(m, start, end, axes) "
        "r = ReverseSequence<batch_axis=0, time_axis=1>(s, lengths) f = Cast<to=1>(m) y = Conv(f, w)",
        {"r": 0},
        1,
    ),
    "sizes, and other types": (
        f"{NET} n = Shape(x) i = Identity(x) d = Cast<to=7>(x)",
        {"n": TensorProto.INT64, "i": 0, "d": TensorProto.INT64},
        1,
    ),
    "an input that is an output": (NET, {"x": 0}, 0),
    "out in 16 bits": (f"{NET} h = Cast<to=10>(x)", {"h": TensorProto.FLOAT16}, 0),
    "with the tail": (f"{NET} r = Concat<axis=3>(x, x) q = Cast<to=1>(r)", {"q": TensorProto.FLOAT}, 2),
}
SHAPE = (1, 24, 20, 3)


def _proto(kind: str, body: str) -> ModelProto:
    nodes, others, _ = BODIES[body]
    random = np.random.default_rng(3)
    weights: dict[str, Array] = {
        "w": random.integers(-3, 4, (4, 3, 3, 3)).astype(np.float32),
        "start": np.array([2, 1], np.int64),
        "end": np.array([20, 19], np.int64),
        "axes": np.array([2, 3], np.int64),
        "lengths": np.array([2], np.int64),
        "pads": np.array([0, 1, 2, 0, 0, 0, 1, 0], np.int64),
        "fill": np.array(7, kind),
        "twice": np.array([1, 1, 2, 1], np.int64),
    }
    parsed = parser.parse_graph(f"g (float[1] unused) => (float[1] y) {{ {nodes} }}").node
    used = {name for node in parsed for name in node.input}
    outputs = {"y": TensorProto.FLOAT, **others}
    graph = helper.make_graph(
        list(parsed),
        "whole",
        [helper.make_tensor_value_info("x", KINDS[kind], SHAPE)],
        [
            helper.make_tensor_value_info(name, its or KINDS[kind], SHAPE if name == "x" else None)
            for name, its in outputs.items()
        ],
        [numpy_helper.from_array(array, name) for name, array in weights.items() if name in used],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _frame(kind: str, seed: int = 0) -> Array:
    limits = np.iinfo(kind)
    x = np.random.default_rng(seed).integers(limits.min, limits.max + 1, SHAPE).astype(kind)
    x[0, 0, 0] = limits.min
    x[0, 0, 1] = limits.max
    return x


def _check(got: dict[str, Array], expected: dict[str, Array]) -> None:
    assert set(got) == set(expected)
    for name, array in expected.items():
        assert got[name].dtype == array.dtype
        EXACT.check(got[name], array, name)


@pytest.mark.parametrize(
    ("kind", "body"),
    [(kind, body) for kind in KINDS for body in BODIES if "16" not in kind or "Pad" not in BODIES[body][0]],
)  # ONNX Runtime pads 8 bits only
def test_every_step_has_the_bits_of_onnx_runtime_and_recomputes_what_moved(kind: str, body: str) -> None:
    proto = _proto(kind, body)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    model, x = load(proto), _frame(kind)
    assert len(model.placement().tail) == BODIES[body][2]
    with model.stream() as stream:
        for step in range(4):
            if step:
                x = x.copy()
                x[0, 5 + step, 7] ^= 1
            got = stream({"x": x})
            expected = dict(zip(names, session.run(None, {"x": x}), strict=True))
            _check(got, expected)
            _check(model.run({"x": x}), expected)
            if step:
                assert not stream.last.dense
                assert stream.last.recomputed < 0.5
        stream({"x": x})
        assert (stream.last.recomputed, stream.last.changed) == (0, ())


def test_inspection_says_what_reads_the_type_itself() -> None:
    model = load(_proto("uint8", "sizes, and other types"))
    found = {node.op_type: (node.where, node.reason) for node in model.placement()}
    assert found["Conv"][0] == "engine"
    assert found["Shape"] == ("folded", "sizes are fixed")
    concat = load(_proto("uint8", "with the tail")).placement().tail[0]
    assert (concat.op_type, concat.reason) == ("Concat", "reads x (uint8)")


def test_a_type_that_floats_do_not_hold_stays_onnx_runtimes() -> None:
    proto = _proto("uint8", "cast first")
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.INT32
    model = load(proto)
    assert model.placement().tail[0].reason == "reads x (int32)"
    x = np.full(SHAPE, 2**24 + 1, np.int32)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    EXACT.check(model.run({"x": x})["y"], session.run(None, {"x": x})[0], "y")


def _picture_model() -> Model:
    return load(_proto("uint8", "cast first"))


def test_the_inputs_own_array_is_no_frame_of_bytes() -> None:
    """Also where the stream was told of pixels: they are for inputs of floats."""
    model, x = _picture_model(), _frame("uint8")
    with model.stream(pixels=PixelArithmetic(scale=1 / 255, layout="NHWC")) as stream:
        EXACT.check(stream({"x": x})["y"], model.run({"x": x})["y"], "y")
        with pytest.raises(InputError, match="takes bytes as they are: a scale of 1, no mean and no std"):
            stream({"x": x[0]})
    with pytest.raises(InputError, match=r"has shape \(24, 20, 3\), expected \(1, 24, 20, 3\)"):
        model.run({"x": x[0]})


@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_a_frame_of_bytes_is_the_array_it_stands_for(order: Literal["RGB", "BGR"]) -> None:
    model, pixels = _picture_model(), PixelArithmetic(channel_order=order, layout="NHWC")
    frame = _frame("uint8")[0]
    with model.stream(pixels=pixels) as stream, model.stream() as plain:
        for step in range(4):
            frame = frame.copy()
            frame[5 + step, 7] ^= 255
            x = np.ascontiguousarray(frame[..., ::-1] if order == "RGB" else frame)[None]
            EXACT.check(stream({"x": frame})["y"], plain({"x": x})["y"], f"step {step}")
            assert stream.last.recomputed == plain.last.recomputed
            EXACT.check(model.run({"x": frame}, pixels=pixels)["y"], model.run({"x": x})["y"], "y")
        assert 0 < stream.last.recomputed < 0.5
        x = x.copy()
        x[0, 1, 1] ^= 1
        EXACT.check(stream({"x": x})["y"], model.run({"x": x})["y"], "its own array in between")
    passes = load(_proto("uint8", "an input that is an output"))
    with passes.stream(pixels=PixelArithmetic(channel_order="BGR", layout="NHWC")) as stream:
        out = stream({"x": frame})["x"]
    assert out.dtype == np.uint8
    np.testing.assert_array_equal(out, frame[None])


OF_CODES = {
    "a scale": "d = DequantizeLinear(x, s{z}) t = Transpose<perm=[0,3,1,2]>(d) y = Conv<pads=[1,1,1,1]>(t, wd)",
    "moved before": "t = Transpose<perm=[0,3,1,2]>(x) d = DequantizeLinear(t, s{z}) y = Conv(d, wd)",
    "codes again": "t = Transpose<perm=[0,3,1,2]>(x) d = DequantizeLinear(t, s{z}) c = Conv<pads=[1,1,1,1]>(d, wd) "
    "q = QuantizeLinear(c, out, three) y = DequantizeLinear(q, out, three)",
    "a scale per channel": "d = DequantizeLinear<axis=3>(x, ss{zz}) t = Transpose<perm=[0,3,1,2]>(d) y = Conv(t, wd)",
}


@pytest.mark.parametrize("body", OF_CODES)
@pytest.mark.parametrize(
    ("kind", "zero"),
    [
        ("uint8", 0),
        ("uint8", 3),
        ("uint8", 255),
        ("uint8", None),
        ("int8", 0),
        ("int8", -128),
        ("int8", 7),
        ("int8", None),
    ],
)
def test_codes_as_input_are_codes_of_the_engine(kind: str, zero: int | None, body: str) -> None:
    """Quantized models whose input is quantized already; scales are powers of two, so that all is exact."""
    given = {"z": "", "zz": ""} if zero is None else {"z": ", zero", "zz": ", zeros"}
    nodes = "wd = DequantizeLinear(w, ws, wz) " + OF_CODES[body].format(**given)
    parsed = parser.parse_graph(f"g (float[1] unused) => (float[1] y) {{ {nodes} }}").node
    weights: dict[str, Array] = {
        "s": np.array(0.03125, np.float32),
        "ss": np.array([0.5, 0.25, 2], np.float32),
        "w": np.random.default_rng(5).integers(-128, 128, (4, 3, 3, 3)).astype(np.int8),
        "ws": np.array(0.5, np.float32),
        "wz": np.array(0, np.int8),
        "out": np.array(2, np.float32),
        "three": np.array(3, np.uint8),
        "zero": np.array(zero or 0, kind),
        "zeros": np.array([zero or 0, 1, 5], kind),
    }
    used = {name for node in parsed for name in node.input}
    graph = helper.make_graph(
        list(parsed),
        "codes",
        [helper.make_tensor_value_info("x", KINDS[kind], SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items() if name in used],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    model, x = load(proto), _frame(kind)
    assert not model.placement().tail
    conv = next(node for node in model.placement() if node.op_type == "Conv")
    assert conv.reason.endswith("in 8 bits") == (body != "a scale per channel")
    with model.stream() as stream:
        for step in range(3):
            x = x.copy()
            x[0, 5 + step, 7] ^= 5
            expected = session.run(None, {"x": x})[0]
            EXACT.check(stream({"x": x})["y"], expected, f"step {step}")
            EXACT.check(model.run({"x": x})["y"], expected, f"run {step}")
        assert 0 < stream.last.recomputed < 0.2
