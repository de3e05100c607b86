"""A graph with nodes and constants of other shapes, and shapes of whole models."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from reconv.errors import ModelError
from reconv.graph import Graph, Node, load, parse, remade, shapes_of, to_onnx

Array = np.ndarray[Any, Any]
TEXT = "g (float[1, 3, 5, 5] x) => (float[1, 2, 5, 5] y) { c = Conv (x, w) r = Relu (c) y = Conv (r, v) }"


def graph() -> Graph:
    return parse(TEXT, {"w": np.ones((8, 3, 1, 1), np.float32), "v": np.ones((2, 8, 1, 1), np.float32)})


def test_constants_of_other_shapes_and_one_node_for_two() -> None:
    old = graph()
    relu = old.nodes[1]
    parts = (replace(relu, outputs=("inner",)), Node("twice", "Identity", "", ("inner",), relu.outputs))
    cut = {"w": np.ones((4, 3, 1, 1), np.float32), "v": np.ones((2, 4, 1, 1), np.float32)}
    new = remade(old, {relu.name: parts}, cut)
    assert [node.op_type for node in new.nodes] == ["Conv", "Relu", "Identity", "Conv"]
    assert [node.name for node in new.nodes if node.name != "twice"] == [node.name for node in old.nodes]
    assert shapes_of(new)["inner"] == (1, 4, 5, 5)
    assert old.constants["w"].shape == (8, 3, 1, 1)
    onnx.checker.check_model(to_onnx(new), full_check=True)


def test_what_nothing_reads_any_more_goes() -> None:
    old = graph()
    last = old.nodes[2]
    new = remade(old, {last.name: (replace(last, inputs=("r", "u")),)}, {"u": np.ones((2, 8, 1, 1), np.float32)})
    assert set(new.constants) == {"w", "u"}


def test_mistakes_are_told() -> None:
    with pytest.raises(ModelError, match="no node 'nobody'"):
        remade(graph(), {"nobody": ()}, {})
    with pytest.raises(ModelError, match="reads 'r', which nothing produces"):
        remade(graph(), {graph().nodes[1].name: ()}, {})


def test_constant_nodes_and_weights_listed_as_inputs_are_replaced_too() -> None:
    nodes = [
        helper.make_node("Constant", [], ["v"], value=numpy_helper.from_array(np.ones((2, 8, 1, 1), np.float32))),
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Conv", ["c", "v"], ["y"]),
    ]
    infos = [helper.make_tensor_value_info(n, 1, s) for n, s in {"x": [1, 3, 5, 5], "w": [8, 3, 1, 1]}.items()]
    weight = numpy_helper.from_array(np.ones((8, 3, 1, 1), np.float32), "w")
    made = helper.make_graph(nodes, "g", infos, [helper.make_tensor_value_info("y", 1, [1, 2, 5, 5])], [weight])
    old = load(helper.make_model(made, opset_imports=[helper.make_opsetid("", 11)], ir_version=3))
    cut = {"w": np.ones((4, 3, 1, 1), np.float32), "v": np.ones((2, 4, 1, 1), np.float32)}
    new = remade(old, {}, cut)
    assert {name: array.shape for name, array in new.constants.items()} == {"w": (4, 3, 1, 1), "v": (2, 4, 1, 1)}
    assert [info.name for info in to_onnx(new).graph.input] == ["x"]
    onnx.checker.check_model(to_onnx(new), full_check=True)


def test_shapes_of_a_whole_model_do_not_need_large_weights() -> None:
    text = "g (float[n, 3, h, 5] x) => (float[n, 2, h, 5] y) { c = Conv (x, w) r = Reshape (c, k) y = Conv (r, v) }"
    weights = {"w": np.ones((800, 3, 1, 1), np.float32), "v": np.ones((2, 400, 1, 1), np.float32)}
    found = shapes_of(parse(text, {**weights, "k": np.array([0, 400, -1, 5])}))
    assert found["c"] == (None, 800, None, 5)
    assert found["r"] == (None, 400, None, 5)
    assert found["w"] == (800, 3, 1, 1)
    identity = "g (float[2] x) => (float[2] x) { y = Relu (x) }"
    assert shapes_of(parse(identity, {})) == {}
