"""Operators that the evaluator does not know, in the middle of a proof."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from reconv.exchange.proof import Proof, prove
from reconv.exchange.rules import do_nothing
from reconv.exchange.view import View, look
from reconv.graph import Node, Rewrite, parse

Array = np.ndarray[Any, Any]
WEIGHTS: Mapping[str, Array] = {
    "s": np.array([1, 2, 3], np.float32),
    "b": np.array([3, 2, 1], np.float32),
    "one": np.ones((3, 1, 1), np.float32),
    "two": np.array(2, np.float32),
    "point": np.array(3, np.uint8),
    "minus": np.full(1, -0.0, np.float32),
}


def _view(body: str, *, free: bool = False) -> View:
    size = "n, m" if free else "8, 8"
    weights = {name: a for name, a in WEIGHTS.items() if name in body}
    text = f"g (float[1, 3, {size}] x, float[1, 3, {size}] z) => (float[1, 3, h, w] y) {{ {body} }}"
    return look(parse(text, weights, 17), {"x": (1, 3, 8, 8), "z": (1, 3, 8, 8)})


def _proofs(view: View) -> list[Proof]:
    answers = [do_nothing.RULE.match(view, node) for node in view.graph.nodes]
    return [prove(view, answer) for answer in answers if isinstance(answer, Rewrite)]


@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("nothing", ["Dropout (r)", "Mul (r, one)", "Add (r, minus)"])
@pytest.mark.parametrize(
    "reader",
    [
        "y = InstanceNormalization (d, s, b)",
        "y = LRN <size = 3> (d)",
        "q = QuantizeLinear (d, two, point) y = DequantizeLinear (q, two, point)",
        "i = InstanceNormalization (d, s, b) y = Add (i, d)",
    ],
)
def test_what_does_nothing_is_taken_out_before_any_operator(reader: str, nothing: str, free: bool) -> None:
    (proof,) = _proofs(_view(f"r = Relu (x) d = {nothing} {reader}", free=free))
    assert proof.holds, proof
    assert proof.cases > 0


def test_and_behind_any_operator() -> None:
    (proof,) = _proofs(_view("r = LRN <size = 3> (x) y = Mul (r, one)"))
    assert proof.holds, proof


def _changed(**changes: Any) -> Proof:
    view = _view("d = Mul (x, one) y = LRN <size = 3, alpha = 0.5> (d)")
    first, last = view.graph.nodes
    return prove(view, Rewrite((first, last), (replace(last, **{"name": "new", "inputs": ("x",), **changes}),)))


def test_equal_inputs_of_one_operator() -> None:
    assert _changed().holds


@pytest.mark.parametrize(
    "changes",
    [
        {"inputs": ("z",)},
        {"inputs": ("x", "z")},
        {"attributes": {"size": 5, "alpha": 0.5}},
        {"attributes": {"size": 3}},
        {"op_type": "Hardmax"},
        {"domain": "mine"},
        {"overload": "other"},
    ],
)
def test_another_call_proves_nothing(changes: dict[str, Any]) -> None:
    assert not _changed(**changes).holds


def test_other_inputs_are_an_objection() -> None:
    proof = _changed(inputs=("z",))
    assert proof.evaluated
    assert "LRN reads something else than before" in proof.reason
    assert not _changed(op_type="Hardmax").evaluated


def test_the_sign_of_a_zero_counts_before_an_unknown_operator() -> None:
    view = _view("r = Relu (x) n = Neg (r) y = LRN <size = 3> (n)")
    relu, neg, last = view.graph.nodes
    minus = Node("m", "Sub", "", ("none", "r"), ("n2",))  # 0 - 0 is 0 where -(0) is -0
    after = (relu, minus, replace(last, name="new", inputs=("n2",)))
    proof = prove(view, Rewrite((relu, neg, last), after, {"none": np.zeros(1, np.float32)}))
    assert not proof.holds


def test_a_rounded_input_is_not_identical() -> None:
    view = _view("d = Mul (x, two) y = LRN <size = 3> (d)")
    first, last = view.graph.nodes
    doubled = Node("m", "Mul", "", ("also", "x"), ("e",))
    after = (doubled, replace(last, name="new", inputs=("e",)))
    assert not prove(view, Rewrite((first, last), after, {"also": np.array(2, np.float32)})).holds
    assert prove(view, Rewrite((first, last), (replace(doubled, inputs=("two", "x")), after[1]))).holds


def test_random_operators_give_no_two_equal_results() -> None:
    view = _view("d = Mul (x, one) y = RandomNormalLike (d)")
    first, last = view.graph.nodes
    proof = prove(view, Rewrite((first, last), (replace(last, name="new", inputs=("x",)),)))
    assert (proof.holds, proof.evaluated) == (False, False)
