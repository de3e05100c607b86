"""Two transpositions as one, or as none when they cancel, also with elementwise operators between.

    transpose(transpose(x, p), q) = transpose(x, p∘q),   (p∘q)[i] = p[q[i]]
    transpose(f(x), q) = f(transpose(x, q))              where f treats all elements alike

Where nothing is left, an Identity is, which `reconv.exchange.rules.do_nothing` takes out. Exporters leave such pairs
around layers that want their channels elsewhere.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules.draft import Draft, is_op, needed_beside
from reconv.exchange.rules.elementwise import ARITHMETIC, FUNCTIONS
from reconv.exchange.view import View
from reconv.graph import Node

__all__ = ["RULE"]


def match(view: View, node: Node) -> Answer:
    if not is_op(node, "Transpose"):
        return None
    between = _between(view, node.inputs[0])
    first = view.producer(_map(view, between[0]) if between else node.inputs[0])
    if first is None or not is_op(first, "Transpose"):
        return None
    if not view.is_float(node.inputs[0]):
        return Refusal("not known to be float32, which rules are proved for")
    perm, before = _perm(view, node), _perm(view, first)
    before = before or (None if perm is None else tuple(reversed(range(len(perm)))))
    perm = perm or (None if before is None else tuple(reversed(range(len(before)))))
    if before is None or perm is None:
        return Refusal("the rank of what is transposed is unknown")
    chain = (*between, node)
    if any(needed_beside(view, link.outputs[0], then) for link, then in pairwise(chain)):
        return Refusal("a result between the transpositions is used elsewhere too")
    both = tuple(before[axis] for axis in perm)
    cancels = both == tuple(range(len(both)))
    kept = (first,) if needed_beside(view, first.outputs[0], chain[0]) else ()
    x, y = first.inputs[0], node.outputs[0]
    draft = Draft(view)
    if cancels and not between:
        draft.node("Identity", (x,), y)
    for place, link in enumerate(between):
        result = y if cancels and place == len(between) - 1 else view.fresh(link.outputs[0])
        old = _map(view, link)
        x = draft.copy(link, [x if name == old else name for name in link.inputs], result)
    if not cancels:
        draft.node("Transpose", (x,), y, perm=both)
    return draft.rewrite([first, *chain], kept)


def _perm(view: View, node: Node) -> tuple[int, ...] | None:
    """The axes of a Transpose, which reverses them when it names none; None where that needs an unknown rank."""
    if "perm" in node.attributes:
        return tuple(int(axis) for axis in node.attributes["perm"])
    shape = view.shape(node.inputs[0])
    return None if shape is None else tuple(reversed(range(len(shape))))


def _between(view: View, name: str) -> tuple[Node, ...]:
    """The elementwise operators just above a value, from top to bottom."""
    found: list[Node] = []
    above = view.producer(name)
    while above is not None and (name := _map(view, above)):
        found.append(above)
        above = view.producer(name)
    return tuple(reversed(found))


def _map(view: View, node: Node | None) -> str:
    """The one input that the node treats element by element; ``""`` for nodes that do other things."""
    if node is None or not is_op(node, *FUNCTIONS, *ARITHMETIC) or len(node.outputs) != 1:
        return ""
    maps = [name for name in node.inputs if name and not _single(view, name)]
    return maps[0] if len(maps) == 1 and (maps[0] == node.inputs[0] or node.op_type in ARITHMETIC) else ""


def _single(view: View, name: str) -> bool:
    """Whether a value is a constant of one element, which no transposition can tell from itself."""
    values = view.constant(name)
    return values is not None and values.size == 1 and values.ndim <= 1


_TEXT = """g (float[2, 3, 4, 5] x) => (float[2, 3, 4, 5] y{2}) {{
    a = Transpose <perm = [0, 2, 3, 1]> (x)
    r = Relu (a)
    m = Mul (r, half)
    y = Transpose <perm = [{0}]> (m)
    {1}
}}"""
_WEIGHTS: dict[str, Any] = {"half": np.array([0.5], np.float32)}

RULE = Rule(
    name="merged transpositions",
    family="layer",
    swap="transpose → (elementwise) → transpose ⇒ one or none",
    match=match,
    example=Example(_TEXT.format("0, 3, 1, 2", "", ""), _WEIGHTS),
    refused={
        "used elsewhere": Example(_TEXT.format("0, 3, 1, 2", "z = Abs (r)", ", float[2, 4, 5, 3] z"), _WEIGHTS),
        "float32": Example(
            """g (double[2, 3] x) => (double[2, 3] y) {
                a = Transpose (x)
                y = Transpose (a)
            }"""
        ),
    },
    simplifies=True,
)
