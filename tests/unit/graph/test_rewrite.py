"""Rewrites on a graph: what leaves them keeps its name, mistakes are refused, and ONNX comes out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from reconv.errors import ModelError
from reconv.graph import Graph, Node, Rewrite, extract, load, parse, rewritten, save, to_onnx, with_constants, write

TEXT = """g (float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] z, float[1, 2, 4, 4] y) {
    a = Relu (x)
    y = Neg (a)
    z = Add (a, k)
}"""


def _graph() -> Graph:
    return parse(TEXT, {"k": np.ones((1, 2, 1, 1), np.float32)})


def _node(graph: Graph, op_type: str) -> Node:
    return next(node for node in graph.nodes if node.op_type == op_type)


def _run(model: onnx.ModelProto | bytes, feeds: dict[str, Any]) -> list[Any]:
    data = model if isinstance(model, bytes) else model.SerializeToString()
    return list(onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, feeds))


def _twice(graph: Graph) -> Graph:
    """y = -(a) as (a * -1)."""
    old = _node(graph, "Neg")
    new = Node("times", "Mul", "", ("a", "minus"), ("y",))
    return rewritten(graph, Rewrite((old,), (new,), {"minus": np.array(-1, np.float32)}))


def test_names_of_results_stay() -> None:
    graph = _graph()
    model = to_onnx(_twice(graph))
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["Relu", "Mul", "Add"]
    assert [info.name for info in model.graph.output] == ["z", "y"]
    x = np.random.default_rng(0).standard_normal((1, 2, 4, 4)).astype(np.float32)
    for old, new in zip(_run(to_onnx(graph), {"x": x}), _run(model, {"x": x}), strict=True):
        np.testing.assert_array_equal(old, new)


def test_rewrites_follow_one_another() -> None:
    graph = _twice(_graph())
    relu = _node(graph, "Relu")
    once = rewritten(
        graph, Rewrite((relu,), (Node("max", "Max", "", ("x", "zero"), ("a",)),), {"zero": np.array(0, np.float32)})
    )
    times = _node(once, "Mul")
    again = rewritten(once, Rewrite((times,), (Node("neg", "Neg", "", ("a",), ("y",)),)))
    assert set(again.constants) == {"k", "zero"}  # "minus" is read no more
    model = to_onnx(again)
    onnx.checker.check_model(model, full_check=True)
    assert sorted(i.name for i in model.graph.initializer) == ["k", "zero"]
    x = np.random.default_rng(0).standard_normal((1, 2, 4, 4)).astype(np.float32)
    for old, new in zip(_run(to_onnx(_graph()), {"x": x}), _run(model, {"x": x}), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_part_of_a_rewritten_graph_can_be_cut_out() -> None:
    part = extract(_twice(_graph()), ["a"], ["y"], {"a": (1, 2, 4, 4)})
    a = np.random.default_rng(0).standard_normal((1, 2, 4, 4)).astype(np.float32)
    np.testing.assert_array_equal(_run(part, {"a": a})[0], -a)


def test_new_nodes_stand_before_their_readers() -> None:
    """What replaces two nodes may have to stand where the first was."""
    graph = parse(
        """g (float[1, 2] x) => (float[1, 2] y) {
            a = Relu (x)
            b = Neg (a)
            c = Relu (x)
            y = Add (b, c)
        }""",
        {},
    )
    first, second = (node for node in graph.nodes if node.op_type == "Relu")
    after = rewritten(graph, Rewrite((first, second), (first_again(first), copy_of("a", "c"))))
    assert [node.op_type for node in after.nodes] == ["Relu", "Identity", "Neg", "Add"]
    onnx.checker.check_model(to_onnx(after), full_check=True)


def first_again(node: Node) -> Node:
    return replace(node, name="relu/again")


def copy_of(source: str, name: str) -> Node:
    return Node("copy", "Identity", "", (source,), (name,))


def test_the_border_of_a_rewrite() -> None:
    graph = _graph()
    new = Node("times", "Mul", "", ("a", "minus"), ("y",))
    rewrite = Rewrite((_node(graph, "Neg"),), (new,), {"minus": np.array(-1, np.float32)})
    assert rewrite.reads == ("a",)
    assert rewrite.outputs == ("y",)


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        ((Node("n", "Neg", "", ("a",), ("other",)),), "loses 'y'"),
        ((Node("n", "Neg", "", ("nothing",), ("y",)),), "reads 'nothing'"),
        ((Node("n", "Neg", "", ("a",), ("y",)), Node("m", "Neg", "", ("y",), ("a",))), "taken: 'a'"),
        ((Node("n", "Neg", "", ("z",), ("y",)), Node("m", "Neg", "", ("y",), ("y",))), "taken: 'y'"),
    ],
)
def test_mistakes_are_refused(after: tuple[Node, ...], reason: str) -> None:
    graph = _graph()
    with pytest.raises(ModelError, match=reason):
        rewritten(graph, Rewrite((_node(graph, "Neg"),), after))


def test_a_node_may_not_depend_on_itself() -> None:
    graph = _graph()
    with pytest.raises(ModelError, match="depend on itself"):
        rewritten(graph, Rewrite((_node(graph, "Relu"),), (Node("n", "Neg", "", ("y",), ("a",)),)))


def test_nodes_of_another_graph_are_refused() -> None:
    with pytest.raises(ModelError, match="not a node of the model"):
        rewritten(_graph(), Rewrite((_node(_graph(), "Neg"),), ()))


def test_a_constant_under_a_taken_name_is_refused() -> None:
    graph = _graph()
    new = Node("times", "Mul", "", ("a", "k"), ("y",))
    with pytest.raises(ModelError, match="taken: 'k'"):
        rewritten(graph, Rewrite((_node(graph, "Neg"),), (new,), {"k": np.array(-1, np.float32)}))


def test_the_body_of_an_if_goes_on_reading_the_value() -> None:
    """A body reads a value of the graph around it by name, which ONNX does not list as an input."""
    body = helper.make_graph(
        [helper.make_node("Neg", ["a"], ["inner"])],
        "then",
        [],
        [helper.make_tensor_value_info("inner", onnx.TensorProto.FLOAT, None)],
    )
    other = helper.make_graph(
        [helper.make_node("Identity", ["a"], ["same"])],
        "else",
        [],
        [helper.make_tensor_value_info("same", onnx.TensorProto.FLOAT, None)],
    )
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=other),
    ]
    inputs = [
        helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2]),
        helper.make_tensor_value_info("c", onnx.TensorProto.BOOL, []),
    ]
    outputs = [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [2])]
    model = helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs), opset_imports=[helper.make_opsetid("", 17)], ir_version=10
    )
    graph = load(model)
    new = Node("max", "Max", "", ("x", "zero"), ("a",))
    changed = to_onnx(rewritten(graph, Rewrite((_node(graph, "Relu"),), (new,), {"zero": np.array(0, np.float32)})))
    onnx.checker.check_model(changed, full_check=True)
    x = np.array([-1, 2], np.float32)
    for condition in (True, False):
        feeds = {"x": x, "c": np.array(condition)}
        np.testing.assert_array_equal(_run(changed, feeds)[0], _run(model, feeds)[0])


def test_weights_listed_as_inputs_are_none_afterwards() -> None:
    graph = parse("g (float[1, 2] x, float[2] k) => (float[1, 2] y) { y = Add (x, k) }", {"k": np.ones(2, np.float32)})
    other = rewritten(graph, Rewrite(graph.nodes, (Node("sum", "Sum", "", ("x", "k"), ("y",)),)))
    assert [info.name for info in to_onnx(other).graph.input] == ["x"]


def test_other_constants() -> None:
    graph = with_constants(_graph(), {"k": np.full((1, 2, 1, 1), 5, np.float32)})
    z, _ = _run(to_onnx(graph), {"x": np.zeros((1, 2, 4, 4), np.float32)})
    assert (z == 5).all()
    with pytest.raises(ModelError, match="no constant 'nothing'"):
        with_constants(graph, {"nothing": np.zeros(1)})


def test_constants_of_constant_nodes() -> None:
    text = "g (float[2] x) => (float[2] y) { k = Constant <value = float[2] {1., 2.}> () y = Add (x, k) }"
    graph = with_constants(parse(text, {}), {"k": np.array([3, 4], np.float32)})
    np.testing.assert_array_equal(_run(to_onnx(graph), {"x": np.zeros(2, np.float32)})[0], [3, 4])


def test_save(tmp_path: Path) -> None:
    save(_graph(), tmp_path / "out.onnx")
    assert onnx.load(tmp_path / "out.onnx").graph.output[0].name == "z"
    with pytest.raises(ModelError, match="does not exist"):
        save(_graph(), tmp_path / "nowhere" / "out.onnx")


def test_save_beside_the_file_what_it_cannot_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "LARGEST", 4)
    weights = np.arange(4096, dtype=np.float32).reshape(1, 4096)
    graph = parse("g (float[1, 4096] x) => (float[1, 4096] y) { y = Add (x, k) }", {"k": weights})
    save(graph, tmp_path / "out.onnx")
    assert (tmp_path / "out.onnx.data").stat().st_size >= weights.nbytes
    np.testing.assert_array_equal(numpy_helper.to_array(onnx.load(tmp_path / "out.onnx").graph.initializer[0]), weights)


def test_a_node_may_have_the_name_of_its_result() -> None:
    """As exporters from TensorFlow name them; and a node that stays may be on both sides."""
    text = TEXT.replace("a = Relu", "[a] a = Relu").replace("y = Neg", "[y] y = Neg")
    graph = parse(text, {"k": np.ones((1, 2, 1, 1), np.float32)})
    relu, neg = _node(graph, "Relu"), _node(graph, "Neg")
    assert (relu.name, neg.name) == ("a", "y")
    model = to_onnx(
        rewritten(
            graph,
            Rewrite(
                (relu, neg), (relu, Node("zero minus", "Sub", "", ("o", "a"), ("y",))), {"o": np.array(0, np.float32)}
            ),
        )
    )
    onnx.checker.check_model(model, full_check=True)
    x = np.random.default_rng(0).standard_normal((1, 2, 4, 4)).astype(np.float32)
    for old, new in zip(_run(to_onnx(graph), {"x": x}), _run(model, {"x": x}), strict=True):
        np.testing.assert_array_equal(old, new)
