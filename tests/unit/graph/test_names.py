"""Fresh names, and inputs declared anew."""

from __future__ import annotations

import pytest

from reconv.errors import ModelError
from reconv.graph import Names, Rewrite, load, rewritten, shapes_of, to_onnx, with_constants
from reconv.graph.declare import declared
from reconv.graph.graph import Node
from tests.contract.small_residual import graph
from tests.unit.small import cnn


def test_each_call_gives_a_name_that_nothing_has() -> None:
    names = Names(graph())
    taken = {"x", "c1", "w1", "conv1"}
    found = [names.fresh(hint) for hint in ("x", "x", "c1", "w1", "conv1", "new", "new", "")]
    assert len(set(found)) == len(found)
    assert not taken & set(found)
    assert found[0] == "x_2"
    assert found[5] == "new"


def test_constants_that_a_rewrite_brought_can_be_changed() -> None:
    source = graph()
    old = next(node for node in source.nodes if node.name == "conv1")
    new = Node("conv1/new", "Conv", "", ("x", "w1/new", "b1"), old.outputs, old.attributes)
    made = rewritten(source, Rewrite((old,), (new,), {"w1/new": source.constants["w1"] * 2}))
    again = with_constants(made, {"w1/new": source.constants["w1"] * 3})
    assert (load(to_onnx(again)).constants["w1/new"] == source.constants["w1"] * 3).all()


def test_declared_shapes_are_in_the_file() -> None:
    source = load(cnn("h", "w", 1))
    made = declared(source, {"x": (1, 3, 16, 24)})
    assert load(to_onnx(made)).inputs[0].shape == (1, 3, 16, 24)
    assert shapes_of(made)["y"] == (1, 8, 8, 12)
    assert declared(made, {"x": (1, 3, "height", None)}).inputs[0].shape == (1, 3, "height", None)
    with pytest.raises(ModelError, match="no input"):
        declared(source, {"z": (1,)})
