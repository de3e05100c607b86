"""Two scales, shifts or batch norms in a row as one.

    s₂ (s₁ x + t₁) + t₂ = (s₂ s₁) x + (s₂ t₁ + t₂)

What comes out is a Mul, an Add, or a BatchNormalization where one of the two was one. A Mul and an Add that only
together make an affine map stay as they are. The sign of a zero may change: x + 1 - 1 is 0 for x = -0, where x is -0.
"""

from __future__ import annotations

import numpy as np

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules.affine import Affine, example_norm, read_affine, written
from reconv.exchange.view import View
from reconv.graph import Node, Rewrite

__all__ = ["RULE"]


def match(view: View, node: Node) -> Answer:
    last = read_affine(view, node)
    if not isinstance(last, Affine):
        return None
    first = read_affine(view, view.producer(last.x))
    if first is None or isinstance(first, Refusal):
        return first
    both = first.then(last)
    norms = "BatchNormalization" in (first.node.op_type, last.node.op_type)
    if both.scales and both.shifts and not norms:
        return None
    if view.only_reader(first.y) is not node:
        return Refusal("the first map's result is used elsewhere too")
    made = written(view, both, last.y)
    return made if isinstance(made, Refusal) else Rewrite((first.node, node), (made[0],), made[1])


_TEXT = """g (float[1, {c}, 9, 7] x) => (float[1, {c}, 9, 7] y{more}) {{
    n = BatchNormalization (x, s, t, m, v)
    y = Div (n, k)
    {after}
}}"""
_WEIGHTS = {"k": np.array([[[3.0]], [[-0.5]], [[7.0]], [[0.1]]], np.float32), **example_norm(4)}

RULE = Rule(
    name="two batch norms as one",
    family="batch norm",
    swap="bn → bn ⇒ bn",
    match=match,
    example=Example(_TEXT.format(c=4, more="", after=""), _WEIGHTS),
    refused={
        "used elsewhere": Example(_TEXT.format(c=4, more=", float[1, 4, 9, 7] z", after="z = Relu (n)"), _WEIGHTS),
        "number of channels is free": Example(
            """g (float[1, c, 9, 7] x) => (float[1, c, 9, 7] y) {
                n = BatchNormalization (x, s, t, m, v)
                y = Mul (n, k)
            }""",
            {**example_norm(1), "k": np.array(3.0, np.float32)},
        ),
    },
    simplifies=True,
)
