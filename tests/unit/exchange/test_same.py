"""Both sides of a rewrite as one expression."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from reconv.exchange.proof import prove
from reconv.exchange.same import same_expression
from reconv.exchange.view import View, look
from reconv.graph import Node, Rewrite, parse

TEXT = """g (float[1, 4, 6, 6] x, float[1, 4, 6, 6] z) => (float[1, 4, 6, 6] y) {
    i = Identity (x)
    r = Sub (i, k)
    y = MaxUnpool <kernel_shape = [1, 1]> (r, index)
}"""


def _view() -> View:
    constants: dict[str, np.ndarray[Any, Any]] = {"k": np.full((4, 1, 1), 2, np.float32)}
    constants["index"] = np.arange(144, dtype=np.int64).reshape(1, 4, 6, 6)
    return look(parse(TEXT, constants))


def _changed(view: View, **changes: Any) -> Rewrite:
    """Identity and Sub as one Sub with these changes."""
    identity, sub = view.graph.nodes[:2]
    new = replace(sub, name="new", inputs=("x", "k"))
    return Rewrite((identity, sub), (replace(new, **changes),))


def test_an_identity_is_seen_through() -> None:
    view = _view()
    assert same_expression(view, _changed(view))
    proof = prove(view, _changed(view))
    assert (proof.holds, proof.cases) == (True, 0)


def test_operators_that_the_evaluator_does_not_know_need_not_be_evaluated() -> None:
    view = _view()
    identity, sub, pool = view.graph.nodes
    rewrite = Rewrite((identity, sub, pool), (replace(sub, name="s", inputs=("x", "k")), replace(pool, name="p")))
    assert prove(view, rewrite).holds
    wrong = Rewrite((identity, sub, pool), (replace(sub, name="s", inputs=("z", "k")), replace(pool, name="p")))
    assert not prove(view, wrong).holds


def test_constants_count_by_their_bits() -> None:
    view = _view()
    rewrite = _changed(view, inputs=("x", "same"))
    for value, same in ((2, True), (np.nextafter(np.float32(2), np.float32(3)), False)):
        other = replace(rewrite, constants={"same": np.full((4, 1, 1), value, np.float32)})
        assert same_expression(view, other) is same


@pytest.mark.parametrize(
    "changes",
    [
        {"op_type": "Add"},
        {"inputs": ("k", "x")},
        {"inputs": ("z", "k")},
        {"domain": "mine"},
        {"attributes": {"axis": 1}},
        {"op_type": "RandomNormalLike"},
    ],
)
def test_another_expression_is_told_apart(changes: dict[str, Any]) -> None:
    view = _view()
    assert not same_expression(view, _changed(view, **changes))


def test_random_operators_are_never_the_same() -> None:
    view = look(parse("g (float[2] x) => (float[2] y) { i = Identity (x) y = RandomNormalLike (i) }", {}))
    identity, random = view.graph.nodes
    rewrite = Rewrite((identity, random), (replace(random, name="again", inputs=("x",)),))
    assert not same_expression(view, rewrite)


def test_a_side_that_reads_nothing_known() -> None:
    view = _view()
    sub = view.graph.nodes[1]
    assert not same_expression(view, Rewrite((sub,), (Node("n", "Relu", "", ("y2",), ("other",)),)))
