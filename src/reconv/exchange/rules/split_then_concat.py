"""A Split and a Concat that cancel.

    [x1; x2; ...] = x for the parts x1, x2, ... of x, in order

Where the Concat has other parts beside them, x stands in the place of its parts. Both nodes were copies.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules.draft import Draft, attribute, is_op, needed_beside
from reconv.exchange.view import View
from reconv.graph import Node, Rewrite

__all__ = ["RULE"]


def match(view: View, node: Node) -> Answer:
    if not is_op(node, "Concat"):
        return None
    above = [below for name in node.inputs if (below := view.producer(name)) is not None]
    splits = {each.name: each for each in above if is_op(each, "Split") and len(each.outputs) > 1}
    answers = [_cancelled(view, node, split) for split in splits.values()]
    return next((each for each in answers if not isinstance(each, Refusal)), answers[0] if answers else None)


def _cancelled(view: View, node: Node, split: Node) -> Rewrite | Refusal:
    rank = len(view.shape(node.outputs[0]) or ())
    if not rank or int(attribute(node, "axis", 1)) % rank != int(attribute(split, "axis", 0)) % rank:
        return Refusal("the split is of another axis")
    count = len(split.outputs)
    at = next((i for i in range(len(node.inputs)) if node.inputs[i : i + count] == split.outputs), None)
    if at is None:
        return Refusal("not all parts of the split follow each other in order")
    inputs = (*node.inputs[:at], split.inputs[0], *node.inputs[at + count :])
    kept = (split,) if any(needed_beside(view, name, node) or name in inputs for name in split.outputs) else ()
    return Draft(view, [replace(node, name=view.fresh(node.name), inputs=inputs)]).rewrite((split, node), kept)


_TEXT = """g (float[1, 6, 4, 6] x, float[1, 2, 4, 6] z) => (float[1, n, 4, 6] y) {{
    a, b = Split <axis = {axis}> (x, sizes)
    y = Concat <axis = 1> ({parts})
}}"""

RULE = Rule(
    name="split then concat",
    family="layer",
    swap="split → concat ⇒ nothing",
    match=match,
    example=Example(_TEXT.format(axis=1, parts="z, a, b"), {"sizes": np.array([2, 4], np.int64)}),
    refused={
        "another axis": Example(_TEXT.format(axis=3, parts="a, b"), {"sizes": np.array([3, 3], np.int64)}),
        "in order": Example(_TEXT.format(axis=1, parts="b, a"), {"sizes": np.array([2, 4], np.int64)}),
    },
    simplifies=True,
)
