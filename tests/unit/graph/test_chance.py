"""reconv.graph.draws_at_random: operators that draw, Dropout in training, and what calls them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper, parser

from reconv.graph import draws_at_random, load
from tests.unit.graph.functions import overloaded
from tests.unit.small import text


def _random(model: onnx.ModelProto) -> list[bool]:
    graph = load(model)
    return [draws_at_random(node, graph) for node in graph.nodes]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("RandomNormalLike(x)", True),
        ("Relu(x)", False),
        ("Dropout(x)", False),
        ("Dropout(x, r)", False),
        ("Dropout(x, , no)", False),
        ("Dropout(x, r, yes)", True),
        ("Dropout(x, r, mode)", True),
        ("com.other.Dropout(x, r, mode)", False),
    ],
)
def test_operators(call: str, expected: bool) -> None:
    header = '<ir_version: 8, opset_import: ["": 17, "com.other": 1]>'
    model = parser.parse_model(f"{header} g (float[2] x, bool mode) => (float[2] y) {{ y = {call} }}")
    for name, value in (("r", np.float32(0.5)), ("yes", np.bool_(True)), ("no", np.bool_(False))):
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    assert _random(model) == [expected]


def test_dropout_before_it_could_train() -> None:
    assert _random(text("g (float[2] x) => (float[2] y) { y = Dropout <ratio = 0.5> (x) }", opset=10)) == [False]


@pytest.mark.parametrize(("call", "expected"), [("Dropout(x)", False), ("Dropout(x, , yes)", True)])
def test_dropout_in_a_body(call: str, expected: bool) -> None:
    branches = (
        f"then_branch = t () => (float[2] p) {{ p = {call} }}, else_branch = e () => (float[2] q) {{ q = Neg(x) }}"
    )
    model = text(f"g (bool c, float[2] x, bool yes) => (float[2] y) {{ y = If (c) <{branches}> }}")
    assert _random(model) == [expected]


def test_only_the_function_that_is_called_counts() -> None:
    model = overloaded("one", "two")
    model.functions[1].node[0].CopyFrom(helper.make_node("RandomNormalLike", ["a"], ["b"]))
    assert _random(model) == [False, True, False]
