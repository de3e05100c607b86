"""Models of 16-bit floats run in float32 between their inputs and outputs.

What is exact: the same bits as the float32 model that has their weights, rounded once, at the outputs. Against ONNX
Runtime, which computes some of it in 16 bits, float16's own rounding is allowed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import reconv
from reconv.graph import load, to_onnx
from reconv.graph.widen import is_wide, why_not
from tests.tolerances import EXACT, FLOAT16
from tests.unit.halves import NUMPY, halved, rounded
from tests.unit.small import cnn, frame, text

# ONNX's text form takes the bits of float16 constants: 15360 is 1, 16384 is 2
KINDS = [TensorProto.FLOAT16, TensorProto.BFLOAT16]


def _reference(model: onnx.ModelProto, feeds: dict[str, Any]) -> dict[str, Any]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_the_bits_of_the_float32_model_with_the_same_weights(kind: int) -> None:
    narrow, wide = reconv.load(halved(cnn(), kind)), reconv.load(rounded(cnn(), kind))
    assert [info.dtype for info in (*narrow.inputs, *narrow.outputs)] == [NUMPY[kind]] * 2
    x = frame().astype(NUMPY[kind])
    got = narrow.run({"x": x})["y"]
    assert got.dtype == NUMPY[kind]
    EXACT.check(got, wide.run({"x": x.astype(np.float32)})["y"].astype(NUMPY[kind]), "y")
    placement = narrow.placement({"x": x.shape})
    assert placement.engine_share == 1
    assert not placement.tail


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_at_tolerance_0_has_the_bits_of_a_run(kind: int) -> None:
    model = reconv.load(halved(cnn(), kind))
    x = frame().astype(NUMPY[kind])
    with model.stream() as stream:
        for step in range(3):
            x = x.copy()
            x[0, :, step, 3] += 1
            EXACT.check(stream({"x": x})["y"], model.run({"x": x})["y"], f"step {step}")
        assert 0 < stream.last.recomputed < 1
        stream({"x": x})
        assert (stream.last.recomputed, stream.last.changed) == (0, ())


def test_the_tail_gives_the_declared_types() -> None:
    proto = halved(cnn(tail=True))
    model = reconv.load(proto)
    x = frame().astype(np.float16)
    got, expected = model.run(x), _reference(proto, {"x": x})
    assert [node.op_type for node in model.placement({"x": x.shape}).tail] == ["TopK", "Cast"]
    for name, array in expected.items():
        assert got[name].dtype == array.dtype == np.float16
        FLOAT16.check(got[name], array, name, scale=float(np.abs(array).max()))


@pytest.mark.parametrize(
    ("name", "shape", "brightest"),
    [("yolox_nano", (1, 3, 160, 192), 255), ("mobilenet_v2", (1, 3, 128, 128), 1), ("ppocr_det", (1, 3, 96, 160), 1)],
)
def test_real_models(asset: Callable[[str], Path], name: str, shape: tuple[int, ...], brightest: float) -> None:
    proto = onnx.load(asset(name))
    info = proto.graph.input[0]
    for dim, size in zip(info.type.tensor_type.shape.dim, shape, strict=True):
        dim.dim_value = size
    for output in proto.graph.output:
        output.type.tensor_type.ClearField("shape")
    coarse = np.random.default_rng(0).random((*shape[:2], shape[2] // 16, shape[3] // 16)) * brightest
    x = np.kron(coarse, np.ones((1, 1, 16, 16))).astype(np.float16)
    narrow, wide = reconv.load(halved(proto)), reconv.load(rounded(proto))
    assert narrow.placement().engine_share > 0.99
    single = x.astype(np.float32)
    got, exact, whole = narrow.run(x), wide.run(single), reconv.load(proto).run(single)
    for output, expected in _reference(halved(proto), {info.name: x}).items():
        assert got[output].dtype == np.float16
        EXACT.check(got[output], exact[output].astype(np.float16), output)
        FLOAT16.check(got[output], expected, output, scale=float(np.abs(expected).max()))
        ours, theirs = (np.abs(a.astype(np.float32) - whole[output]).mean() for a in (got[output], expected))
        assert ours <= 1.05 * theirs  # no farther from the float32 model, whose weights had all their digits


def test_casts_in_the_middle_and_at_the_edges_are_nothing() -> None:
    proto = text("""g (float[1, 3, 8, 8] x) => (float16[1, 3, 8, 8] y, float[1, 3, 8, 8] z) {
        h = Cast<to = 10>(x)
        two = Constant<value = float16[1] {16384}>()
        m = Mul(h, two)
        f = Cast<to = 1>(m)
        z = Relu(f)
        y = Cast<to = 10>(z)
    }""")
    model = reconv.load(proto)
    x = frame(8, 8)
    got = model.run(x)
    EXACT.check(got["z"], np.maximum(2 * x, 0), "z")  # not rounded on the way
    EXACT.check(got["y"], np.maximum(2 * x, 0).astype(np.float16), "y")
    assert model.placement().engine_share == 1


def test_bodies_of_if_are_widened_and_run_by_onnx_runtime() -> None:
    proto = text("""g (bool c, float16[2] x) => (float16[2] y) {
        k = Constant<value = float16[2] {16896, 17664}>()
        outer = Mul(x, k)
        y = If (c) <
            then_branch = t () => (float16[2] p) {
                w = Constant<value = float16[2] {14336, 13312}>()
                p = Add(outer, w)
            },
            else_branch = e () => (float16[2] q) { q = Sub(outer, x) }
        >
    }""")
    model = reconv.load(proto)
    assert is_wide(model.graph.source)
    x = np.array([1, 2], np.float16)
    for c in (True, False):
        feeds = {"c": np.array(c), "x": x}
        EXACT.check(model.run(feeds)["y"], _reference(proto, feeds)["y"], f"branch {c}")


def test_functions_are_widened() -> None:
    half = TensorProto.FLOAT16
    weight = helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(np.array([3], np.float16)))
    opsets = [helper.make_opsetid("", 17)]
    function = helper.make_function(
        "own", "Triple", ["a"], ["b"], [weight, helper.make_node("Mul", ["a", "w"], ["b"])], opsets
    )
    info = [helper.make_tensor_value_info(name, half, [2]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Triple", ["x"], ["y"], domain="own")], "g", info[:1], info[1:])
    opsets = [*opsets, helper.make_opsetid("own", 1)]
    model = reconv.load(helper.make_model(graph, functions=[function], opset_imports=opsets, ir_version=10))
    assert is_wide(model.graph.source)
    assert model.run(np.array([1, 2], np.float16))["y"].tolist() == [3, 6]


def test_edges_that_are_nothing_but_edges() -> None:
    proto = text("""g (float16[1, 2] x, float16[2] unused) => (float16[1, 2] x, float16[1, 2] y, float16[2] k) {
        k = Constant<value = float16[2] {15360, 16384}>()
        y = Add(x, k)
    }""")
    for x in (np.array([[3, 4]], np.float16), np.array([[5, 6]], np.float16)):
        got = reconv.load(proto).run({"x": x, "unused": np.zeros(2, np.float16)})
        assert {name: (array.dtype, array.tolist()) for name, array in got.items()} == {
            "x": (np.float16, x.tolist()),
            "y": (np.float16, [[x[0, 0] + 1, x[0, 1] + 2]]),
            "k": (np.float16, [1, 2]),
        }


def test_a_weight_that_is_also_an_output_keeps_its_type() -> None:
    proto = text("g (float16[2] x) => (float16[2] y, float16[2] w) { y = Add(x, w) }")
    proto.graph.initializer.append(numpy_helper.from_array(np.array([1, 2], np.float16), "w"))
    model = reconv.load(proto)
    assert is_wide(model.graph.source)
    got = model.run(np.array([3, 4], np.float16))
    assert {name: (array.dtype, array.tolist()) for name, array in got.items()} == {
        "y": (np.float16, [4, 6]),
        "w": (np.float16, [1, 2]),
    }


def test_values_beyond_the_type_leave_as_infinity() -> None:
    model = reconv.load(text("g (float16[1, 2, 2, 2] x) => (float16[1, 2, 2, 2] y) { y = Mul(x, x) }"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = model.run(np.full((1, 2, 2, 2), 300, np.float16))["y"]
    assert np.isposinf(y).all()


def test_a_batch_is_split() -> None:
    model = reconv.load(halved(cnn()))
    x = frame(batch=2).astype(np.float16)
    got = model.run(x)["y"]
    for item in range(2):
        EXACT.check(got[item : item + 1], model.run(x[item : item + 1])["y"], f"item {item}")


def test_what_is_written_reads_as_the_same_model() -> None:
    graph = load(halved(cnn(tail=True)))
    again = load(to_onnx(graph))
    assert [(n.op_type, n.inputs, n.outputs) for n in again.nodes] == [
        (n.op_type, n.inputs, n.outputs) for n in graph.nodes
    ]
    assert reconv.load(to_onnx(graph)).digest == reconv.load(halved(cnn(tail=True))).digest


def test_the_callers_model_does_not_change() -> None:
    proto = halved(cnn())
    before = proto.SerializeToString()
    load(proto)
    assert proto.SerializeToString() == before


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("g (float16[2] x) => (float16[2] y) { y = other.Act(x) }", "other.Act may take 16-bit floats only"),
        ("g (float16[2] x) => (seq(float16[2]) y) { y = SequenceConstruct(x) }", "y is a "),
    ],
)
def test_what_cannot_be_widened_stays(body: str, said: str) -> None:
    proto = text(body)
    proto.opset_import.append(helper.make_opsetid("other", 1))
    graph = load(proto)
    assert not is_wide(graph.source)
    assert said in str(why_not(graph.source))
    assert [node.op_type for node in graph.nodes] == [proto.graph.node[0].op_type]


def test_a_sequence_of_halves_is_onnx_runtimes() -> None:
    proto = text("g (float16[2] x) => (seq(float16[2]) y) { r = Relu(x) y = SequenceConstruct(r, x) }")
    x = np.array([-1, 2], np.float16)
    got = reconv.load(proto).run(x)["y"]
    assert [(part.dtype, part.tolist()) for part in got] == [(np.float16, [0, 2]), (np.float16, [-1, 2])]


def test_the_check_sees_what_is_not_wide() -> None:
    for proto in (
        halved(cnn()),
        text("g (float[2] x) => (float[2] y) { h = Cast<to = 10>(x) y = Cast<to = 1>(h) }"),
        text("g (float16[2] x) => (float16[2] y) { y = Relu(x) }"),
    ):
        model = onnx_ir_of(proto)
        assert not is_wide(model)
        assert is_wide(load(proto).source)
    assert is_wide(onnx_ir_of(cnn()))


def onnx_ir_of(proto: onnx.ModelProto) -> Any:
    import onnx_ir

    return onnx_ir.from_proto(proto)


def test_wrong_types_are_refused() -> None:
    model = reconv.load(halved(cnn()))
    with pytest.raises(reconv.InputError, match=r"'x' has type float32, expected float16; convert it with \.astype"):
        model.run(frame())


def test_compressing_a_float16_model(tmp_path: Path) -> None:
    path = tmp_path / "half.onnx"
    onnx.save(halved(cnn(16, 16, 1)), path)
    samples = [frame(16, 16, seed).astype(np.float16) for seed in range(6)]
    small = reconv.quantize(path, samples)
    small.save(tmp_path / "small.onnx")
    model = reconv.load(tmp_path / "small.onnx")
    assert [info.dtype.name for info in (*model.inputs, *model.outputs)] == ["float16"] * 2
    assert any(node.op_type == "QuantizeLinear" for node in model.graph.nodes)
    y = model.run(samples[0])["y"]
    whole = reconv.load(path).run(samples[0])["y"]
    assert np.abs(y.astype(np.float32) - whole).mean() < 0.05 * np.abs(whole).mean()
