"""What no file may hold is told before anything is made of it."""

from __future__ import annotations

from collections.abc import Callable

import onnx
import pytest
from onnx import helper, numpy_helper

from reconv.errors import ModelError
from reconv.graph import evaluate, load
from reconv.graph.graph import Node
from reconv.graph.refuse import NEWEST_OPSET, refuse
from reconv.graph.shapes import refuse_absurd
from tests.unit.small import Array, cnn, text

Change = Callable[[onnx.ModelProto], object]


def _negative(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[0] = -8


def _twice(model: onnx.ModelProto) -> None:
    model.graph.initializer.add().CopyFrom(model.graph.initializer[0])


def _two_inputs(model: onnx.ModelProto) -> None:
    model.graph.input.add().CopyFrom(model.graph.input[0])


def _same_output(model: onnx.ModelProto) -> None:
    model.graph.node[1].output[0] = "c1"


def _makes_a_weight(model: onnx.ModelProto) -> None:
    model.graph.node[0].output[0] = "w2"


def _no_type(model: onnx.ModelProto) -> None:
    model.graph.node[0].attribute[0].type = onnx.AttributeProto.UNDEFINED


def _opset(version: int) -> Change:
    def change(model: onnx.ModelProto) -> None:
        model.opset_import[0].version = version

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_negative, r"initializer 'w1' has negative sizes \(-8, 3, 3, 3\)"),
        (_twice, "has initializer 'w1' twice"),
        (_two_inputs, "has input 'x' twice"),
        (_same_output, r"node 'relu1' \(Relu\) makes 'c1', which has a source already"),
        (_makes_a_weight, r"node 'conv1' \(Conv\) makes 'w2', which has a source already"),
        (_no_type, r"attribute '\w+' of node 'conv1' \(Conv\) has no type"),
        (_opset(-1), "uses opset -1, expected 7 to"),
        (_opset(NEWEST_OPSET + 1), f"uses opset {NEWEST_OPSET + 1}, expected 7 to {NEWEST_OPSET}"),
    ],
)
def test_what_no_file_may_hold(change: Change, said: str) -> None:
    model = cnn()
    refuse(model, "the model")
    change(model)
    with pytest.raises(ModelError, match=f"^the model.*{said}"):
        load(model)


def test_a_name_that_is_no_text() -> None:
    data = cnn().SerializeToString()
    assert data.count(b"relu1") == 1
    with pytest.raises(ModelError, match=r"has a name that is no text: .*; the file is damaged"):
        load(data.replace(b"relu1", b"rel\xff1"))


def test_bodies_and_functions_are_looked_into() -> None:
    body = text(
        """g (float[2] x, bool c) => (float[2] y) {
        y = If (c) <then_branch = t () => (float[2] p) { p = Relu (x) },
                    else_branch = e () => (float[2] q) { q = Neg (x) }> }"""
    )
    load(body)
    body.graph.node[0].attribute[1].g.node.add().CopyFrom(body.graph.node[0].attribute[1].g.node[0])
    with pytest.raises(ModelError, match="has a source already"):
        load(body)
    function: onnx.ModelProto = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17, "own": 1]> g (float[2] x) => (float[2] y) { y = own.double (x) }
        <domain: "own", opset_import: ["": 17]> double (v) => (r) { r = Add (v, v) }"""
    )
    load(function)
    function.functions[0].node.add().CopyFrom(function.functions[0].node[0])
    with pytest.raises(ModelError, match="makes 'r', which has a source already"):
        load(function)


def test_what_onnx_ir_stumbles_over_is_one_of_our_errors() -> None:
    model = text("g (float[2] x) => (float[2] y) { c = Constant <value = float {1.0}> () y = Add (x, c) }")
    load(model)
    attribute = model.graph.node[0].attribute[0]
    attribute.type, attribute.i = onnx.AttributeProto.INT, 3
    with pytest.raises(ModelError, match="is not a valid ONNX model: "):
        load(model)


def test_a_node_without_what_it_needs() -> None:
    model = text("g (float[2] x) => (float[2] y) { y = Add (x, x) }")
    model.graph.node[0].input.pop()
    with pytest.raises(ModelError, match=r"\(Add\) has 1 inputs, it needs 2"):
        load(model)


def _ints(*values: int) -> Array:
    return numpy_helper.to_array(helper.make_tensor("v", onnx.TensorProto.INT64, [len(values)], values))


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [
        ("ConstantOfShape", [_ints(2**20, 2**20)]),
        ("Tile", [_ints(1, 2), _ints(2**40)]),
        ("Expand", [_ints(1), _ints(2**31, 3)]),
        ("Range", [_ints(0)[0], _ints(2**50)[0], _ints(3)[0]]),
        ("Pad", [_ints(1, 2), _ints(0, 2**33)]),
        ("Resize", [_ints(1, 2), None, None, _ints(2**35)]),
        ("OneHot", [_ints(1, 2), _ints(2**40), _ints(0, 1)]),
        ("Add", [_ints(*range(20000))[:, None], _ints(*range(20000))]),
    ],
)
def test_what_makes_too_much_is_not_computed_ahead(kind: str, inputs: list[Array | None]) -> None:
    names = tuple(f"i{i}" for i in range(len(inputs)))
    with pytest.raises(ModelError, match=r"makes \d+ values, too many to compute ahead"):
        evaluate(Node("n", kind, "", names, ("y",)), inputs, 17)


def _cut(model: onnx.ModelProto, pads: list[int]) -> bytes:
    model.graph.initializer.append(helper.make_tensor("p", onnx.TensorProto.INT64, [2], pads))
    return bytes(model.SerializeToString())


def test_sizes_that_would_end_the_process() -> None:
    """ONNX's own inference aborts at a Slice of a negative size."""
    body = """g (float[8] x) => (float y) { a = Pad (x, p) s = Constant <value_ints = [0]> ()
           e = Constant <value_ints = [5]> () b = Slice (a, s, e) y = Relu (b) }"""
    refuse_absurd(_cut(text(body), [1, 2]))
    with pytest.raises(ModelError, match=r"the value 'a' has sizes \(-22,\), which cannot be"):
        refuse_absurd(_cut(text(body), [-40, 10]))
    with pytest.raises(ModelError, match="which cannot be"):
        refuse_absurd(_cut(text(body), [2**42, 0]))
