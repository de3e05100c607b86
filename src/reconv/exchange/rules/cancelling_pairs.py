"""Two operators in a row of which the second undoes the first.

    squeeze(unsqueeze(x, a), a) = x       unsqueeze(squeeze(x, a), a) = x
    depth_to_space(space_to_depth(x)) = x       space_to_depth(depth_to_space(x)) = x

Axes are the same when they are the same numbers: both count them on the side that has them all. SpaceToDepth orders its
channels as DepthToSpace does in mode DCR, so that mode CRD does not cancel. An Identity is left, which
`reconv.exchange.rules.do_nothing` takes out.
"""

from __future__ import annotations

import numpy as np

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules.draft import Draft, attribute, is_op, needed_beside
from reconv.exchange.view import View
from reconv.graph import Node

__all__ = ["RULE"]

AXES_AS_INPUT = 13  # opset from which Squeeze and Unsqueeze read their axes
PAIRS = {
    "Squeeze": "Unsqueeze",
    "Unsqueeze": "Squeeze",
    "DepthToSpace": "SpaceToDepth",
    "SpaceToDepth": "DepthToSpace",
}


def match(view: View, node: Node) -> Answer:
    if not is_op(node, *PAIRS):
        return None
    first = view.producer(node.inputs[0])
    if first is None or not is_op(first, PAIRS[node.op_type]):
        return None
    if not view.is_float(first.inputs[0]):
        return Refusal("not known to be float32, which rules are proved for")
    if "Squeeze" in (node.op_type, first.op_type):
        one, other = (_axes(view, n) for n in (first, node))
        if one is None or other is None:
            return Refusal("its axes are not given, or computed while the model runs")
        if sorted(one) != sorted(other):
            return Refusal("they are of different axes")
    else:
        if attribute(first, "blocksize", 1) != attribute(node, "blocksize", 1):
            return Refusal("they are of different block sizes")
        if "CRD" in (attribute(first, "mode", "DCR"), attribute(node, "mode", "DCR")):
            return Refusal("mode CRD orders the channels another way than SpaceToDepth")
    kept = (first,) if needed_beside(view, first.outputs[0], node) else ()
    draft = Draft(view)
    draft.node("Identity", (first.inputs[0],), node.outputs[0])
    return draft.rewrite([first, node], kept)


def _axes(view: View, node: Node) -> tuple[int, ...] | None:
    if view.opset < AXES_AS_INPUT:
        values = node.attributes.get("axes")
    else:
        values = view.constant(node.inputs[1]) if len(node.inputs) > 1 else None
    return None if values is None else tuple(int(axis) for axis in np.asarray(values).reshape(-1))


_SPACE = """g (float[1, 3, 4, 6] x) => (float[1, 3, 4, 6] y) {{
    a = SpaceToDepth <blocksize = 2> (x)
    b = DepthToSpace <blocksize = 2{0}> (a)
    y = Relu (b)
}}"""
_AXES = """g (float[n, 3, h] x) => (float[n, 3, h] y) {
    a = Unsqueeze (x, one)
    b = Squeeze (a, other)
    y = Relu (b)
}"""

RULE = Rule(
    name="cancelling pair",
    family="layer",
    swap="unsqueeze → squeeze, SpaceToDepth → DepthToSpace and back ⇒ nothing",
    match=match,
    example=Example(_SPACE.format("")),
    refused={
        "mode CRD": Example(_SPACE.format(', mode = "CRD"')),
        "different axes": Example(_AXES, {"one": np.array([1, 3]), "other": np.array([1, -2])}),
    },
    simplifies=True,
)
