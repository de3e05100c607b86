"""reconv.graph.write: an unchanged graph is the file's model, a changed one is valid, and ONNX's checker is heard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper, parser

from reconv.errors import ModelError
from reconv.graph import Graph, Node, Rewrite, check, load, rewritten, save, to_onnx, write
from tests.unit.graph.functions import overloaded
from tests.unit.small import cnn, text


def _weighted(ir_version: int) -> onnx.ModelProto:
    """y = Relu(x + w) with the weight listed as an input, and another weight that nothing reads."""
    nodes = [
        helper.make_node("Add", ["x", "w"], ["a"], name="same"),
        helper.make_node("Relu", ["a"], ["y"], name="same"),
    ]
    info = {
        name: helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2]) for name in ("x", "w", "unused", "y")
    }
    weights = [numpy_helper.from_array(np.ones(2, np.float32), name) for name in ("w", "unused")]
    graph = helper.make_graph(nodes, "g", [info["x"], info["w"], info["unused"]], [info["y"]], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=ir_version)


def _replaced(graph: Graph, op_type: str, new: Node) -> Graph:
    old = next(node for node in graph.nodes if node.op_type == op_type)
    return rewritten(graph, Rewrite((old,), (new,)))


def test_an_unchanged_graph_is_the_model_of_the_file(tmp_path: Path) -> None:
    for model in (_weighted(3), _weighted(8), cnn(tail=True), overloaded("one", "two")):
        assert to_onnx(load(model)) == model
        save(load(model), tmp_path / "again.onnx")
        assert onnx.load(tmp_path / "again.onnx") == model
    listed = _weighted(8)
    del listed.graph.input[1:]
    assert to_onnx(load(listed)) == listed  # without types of weights among those of results


def test_weights_need_not_be_inputs_since_ir_version_4() -> None:
    """Older files list every weight as an input; one that a rewrite changed does not, and says a version that may."""
    graph = load(_weighted(3))
    check(graph)
    changed = _replaced(graph, "Relu", Node("abs", "Abs", "", ("a",), ("y",)))
    check(changed)
    model = to_onnx(changed)
    assert (model.ir_version, [info.name for info in model.graph.input]) == (4, ["x"])
    assert [tensor.name for tensor in model.graph.initializer] == ["w"]
    session = onnxruntime.InferenceSession(model.SerializeToString())
    assert session.run(None, {"x": np.array([-3, 1], np.float32)})[0].tolist() == [2, 2]
    assert to_onnx(_replaced(load(_weighted(8)), "Relu", Node("abs", "Abs", "", ("a",), ("y",)))).ir_version == 8


def test_a_missing_shape_hides_no_other_mistake() -> None:
    header = '<ir_version: 8, opset_import: ["": 17, "com.other": 1]>'
    model = parser.parse_model(
        header + "g (float[2] x, float[2] u) => (float[2] y) { a = Relu(x) y = com.other.F(a, u) }"
    )
    for info in (model.graph.input[1], model.graph.output[0]):
        info.type.tensor_type.ClearField("shape")
    check(load(model))
    model.graph.node[0].attribute.append(helper.make_attribute("bogus", 3))
    with pytest.raises(ModelError, match="not valid ONNX: Unrecognized attribute: bogus"):
        check(load(model))


def test_more_weights_than_one_message_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = load(cnn())
    check(graph)
    monkeypatch.setattr(write, "LARGEST", 1000)
    with pytest.raises(ModelError, match=r"the model holds .* GB of weights, more than one protobuf message .*2 GB"):
        check(graph)


def test_a_function_keeps_its_overload_in_a_new_node() -> None:
    graph = load(overloaded("one", "one"))
    old = graph.nodes[1]
    new = Node("other", "f", "own", ("x",), ("q",), overload="two")
    model = to_onnx(rewritten(graph, Rewrite((old,), (new,))))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    assert session.run(None, {"x": np.array([-2, 0, 5], np.float32)})[0].tolist() == [-2, 0, 0]


KINDS = onnx.AttributeProto


@pytest.mark.parametrize("kind", [KINDS.FLOATS, KINDS.INTS, KINDS.STRINGS])
def test_empty_lists_keep_their_type_in_copies(kind: int) -> None:
    """Of any operator, also one without a schema."""
    model = parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17, "own": 1]> g (float[2] x) => (float[2] y) { a = Abs(x) y = own.F(a) }'
    )
    model.graph.node[1].attribute.append(helper.make_attribute("list", [], attr_type=kind))
    graph = load(model)
    old = graph.nodes[1]
    copy = Node("copy", old.op_type, old.domain, ("x",), old.outputs, {**old.attributes})
    written = to_onnx(rewritten(graph, Rewrite((old,), (copy,))))
    assert [(a.name, a.type) for a in written.graph.node[-1].attribute] == [("list", kind)]


@pytest.mark.parametrize(
    ("node", "kind"),
    [
        (Node("n", "LSTM", "", ("x", "x", "x"), ("y",), {"activation_alpha": ()}), KINDS.FLOATS),
        (Node("n", "ReduceMean", "", ("x",), ("y",), {"axes": ()}), KINDS.INTS),  # an input since opset 18
    ],
)
def test_empty_lists_of_new_nodes_have_the_type_of_the_schema(node: Node, kind: int) -> None:
    graph = load(text("g (float[2] x) => (float[2] y) { y = Abs(x) }"))
    written = to_onnx(_replaced(graph, "Abs", node))
    assert [a.type for a in written.graph.node[0].attribute] == [kind]


def test_an_empty_list_of_unknown_type_is_an_error() -> None:
    graph = load(text("g (float[2] x) => (float[2] y) { y = Abs(x) }"))
    with pytest.raises(ModelError, match=r"'list' of 'n' .* is an empty list whose type is not known"):
        to_onnx(_replaced(graph, "Abs", Node("n", "F", "own", ("x",), ("y",), {"list": ()})))
