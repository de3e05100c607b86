"""Only the last of several reshapes, and none when the shape is what it was.

    reshape(reshape(x, s), t) = reshape(x, t)

since the order of the elements never changes; Flatten, Squeeze and Unsqueeze are reshapes too. A 0 in the shape takes
the size from the map that is reshaped, so it is written out first, where the size is known.

Where nothing is left, an Identity is, which `reconv.exchange.rules.do_nothing` takes out. With
`reconv.exchange.rules.merged_transposes` this also undoes two channel shuffles (Reshape, Transpose, Reshape) in a
row that cancel.
"""

from __future__ import annotations

import math

import numpy as np

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules.draft import Draft, is_op, needed_beside
from reconv.exchange.view import View
from reconv.graph import Node

__all__ = ["RULE"]

NOT_FLOAT = Refusal("not known to be float32, which rules are proved for")
RESHAPES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")
Shape = tuple[int | None, ...]


def match(view: View, node: Node) -> Answer:
    if not is_op(node, *RESHAPES):
        return None
    x, y = node.inputs[0], node.outputs[0]
    if view.constant(x) is not None:
        return None
    draft = Draft(view)
    if _same(view.shape(x), view.shape(y)):
        draft.node("Identity", (x,), y)
        return draft.rewrite([node]) if view.is_float(x) else NOT_FLOAT
    first = view.producer(x)
    if first is None or not is_op(first, *RESHAPES):
        return None
    if not view.is_float(x):
        return NOT_FLOAT
    kept = (first,) if needed_beside(view, x, node) else ()
    if _same(view.shape(first.inputs[0]), view.shape(y)):
        draft.node("Identity", (first.inputs[0],), y)
        return draft.rewrite([first, node], kept)
    if node.op_type != "Reshape":
        return None  # a Reshape in its place would be no less
    target = view.constant(node.inputs[1])
    if target is None:
        return Refusal("its shape is computed while the model runs")
    shape = [int(size) for size in target.reshape(-1)]
    if 0 in shape:
        known = view.shape(x) or ()
        sizes = [known[axis] if not size and axis < len(known) else size for axis, size in enumerate(shape)]
        if node.attributes.get("allowzero", 0) or None in sizes or 0 in sizes:
            return Refusal("its shape takes a size from the reshape before, which is free")
        shape = [int(size or 0) for size in sizes]
    draft.node("Reshape", (first.inputs[0], draft.constant(f"{y}/shape", np.array(shape, np.int64))), y)
    return draft.rewrite([first, node], kept)


def _same(one: Shape | None, other: Shape | None) -> bool:
    """Whether two shapes of as many elements are surely one: all sizes equal, one of them unknown at most."""
    if one is None or other is None or len(one) != len(other):
        return False
    known = [size for size in one if size is not None]
    return one == other and len(one) - len(known) <= 1 and math.prod(known) > 0


def _example(target: list[int]) -> Example:
    text = "g (float[batch, 3, 4, 5] x) => (float[b, c, d] y) { a = Reshape (x, s) y = Reshape (a, t) }"
    return Example(text, {"s": np.array([-1, 3, 20]), "t": np.array(target)})


RULE = Rule(
    name="merged reshapes",
    family="layer",
    swap="reshape → reshape ⇒ reshape",
    match=match,
    example=_example([-1, 12, 5]),
    refused={
        "which is free": _example([0, 5, 12]),
        "float32": Example(
            "g (double[6] x) => (double[3, 2] y) { a = Reshape (x, s) y = Reshape (a, t) }",
            {"s": np.array([2, 3]), "t": np.array([3, 2])},
        ),
    },
    simplifies=True,
)
