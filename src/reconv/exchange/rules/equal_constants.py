"""Equal constants of the model stored once.

    f(x, w), g(x, v) with w = v bit for bit   ⇒   f(x, w), g(x, w)

Exporters write tied weights out for each use. The result does not change by a bit; the file and the memory shrink.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules.do_nothing import has_body
from reconv.exchange.view import View
from reconv.graph import Node, Rewrite

__all__ = ["RULE"]

Array = np.ndarray[Any, Any]


def match(view: View, node: Node) -> Answer:
    found = {}
    for name in dict.fromkeys(node.inputs):
        array = view.constant(name)
        if array is not None and _weight(array) and (first := _first(view, name, array)) != name:
            found[name] = first
    if not found:
        return None
    if has_body(node):
        return Refusal("a node with a body of its own reads it")
    inputs = tuple(found.get(name, name) for name in node.inputs)
    return Rewrite((node,), (replace(node, name=view.fresh(node.name), inputs=inputs),))


def _weight(array: Array) -> bool:
    return array.size > 1 and array.dtype == np.float32


def _first(view: View, name: str, array: Array) -> str:
    """The first constant of the model that is equal bit for bit."""
    return next(other for other, values in view.graph.constants.items() if other == name or _equal(values, array))


def _equal(one: Array, other: Array) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return one.flat[-1].tobytes() == other.flat[-1].tobytes() and one.tobytes() == other.tobytes()


RULE = Rule(
    name="equal constants",
    family="layer",
    swap="two equal weights ⇒ one, read twice",
    match=match,
    example=Example(
        """g (float[1, 3, 6, 5] x) => (float[1, 3, 6, 5] y) {
            a = Conv (x, v)
            r = Relu (a)
            y = Conv (r, w)
        }""",
        {"v": np.ones((3, 3, 1, 1), np.float32), "w": np.ones((3, 3, 1, 1), np.float32)},
    ),
    refused={
        "body": Example(
            """g (float[2] x, bool t) => (float[2] y) {
                a = Sub (x, v)
                b = Loop (count, t, w) <
                    body = once (int64 i, bool go, float[2] s) => (bool on, float[2] r) {
                        on = Identity (go)
                        r = Mul (s, s)
                    }
                >
                y = Add (a, b)
            }""",
            {"v": np.full(2, 0.5, np.float32), "w": np.full(2, 0.5, np.float32), "count": np.array(2)},
        ),
    },
    simplifies=True,
)
