"""Elementwise operators before an upsampling instead of after it.

    f(up(x), up(z)) = up(f(x, z))

for nearest upsampling and any f that works element by element, since each element of up(x) is an element of x. For
interpolation f has to be affine (Add, Sub, and Mul, Div or batch normalisation by constants), since weights that sum to
1 pass through affine maps alone. Constants must be the same at every pixel. f then runs on the small map, and what
follows (`conv1x1_before_upsample`) comes next to the upsampling.

With several maps, all must be enlarged in the same way from one size.
"""

from __future__ import annotations

import numpy as np

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules.draft import Draft, attribute, is_op, needed_beside, same_attributes
from reconv.exchange.rules.elementwise import ARITHMETIC, FUNCTIONS, constant_over_space, tail_below, write_tail
from reconv.exchange.rules.resizing import Resizing, read_resizing
from reconv.exchange.view import View
from reconv.graph import Node, Rewrite

__all__ = ["RULE"]

LINEAR = frozenset(("Add", "Sub", "Sum"))  # affine in several maps
AFFINE = frozenset(("Add", "BatchNormalization", "Mul", "Sub"))  # in one map and constants
PARAMETERS = {"BatchNormalization": 1, "Clip": 1, "PRelu": 1}  # the map is the first input, parameters from there on


def match(view: View, node: Node) -> Answer:
    if not is_op(node, "BatchNormalization", *FUNCTIONS, *ARITHMETIC) or len(node.outputs) != 1:
        return None
    if any(_half_of_gate(view, node, name) for name in node.inputs):
        return None  # the Mul speaks for both
    gated = _gated(view, node)
    if gated is not None:
        return gated
    maps = [name for name in node.inputs if name and view.constant(name) is None]
    above = [view.producer(name) for name in maps]
    if not any(is_op(each, "Resize", "Upsample") for each in above) or attribute(node, "training_mode", 0):
        return None
    if not all(is_op(each, "Resize", "Upsample") for each in above):
        return Refusal("it also reads a map that is not upsampled") if len(maps) > 1 else None
    read = [read_resizing(view, each) for each in above]
    for each in read:
        if not isinstance(each, Resizing):
            return each
    found = [each for each in read if isinstance(each, Resizing)]
    first = found[0]
    if len(maps) > 1 and not all(_from_one_size(view, first, other) for other in found[1:]):
        return Refusal("the maps are not known to be upsampled alike from one size")
    if not first.nearest and not _affine(view, node, len(maps)):
        return Refusal("interpolated values are not values of the map, and the operator is not affine")
    if first.growth is not None and first.growth <= 1:
        return Refusal("the resizing does not enlarge the map: the operator would see more pixels")
    shape = view.shape(first.x) or ()
    channels = max(each.channels for each in found)
    constants = [name for name in node.inputs if name and view.constant(name) is not None]
    if node.op_type in PARAMETERS and node.inputs[0] not in maps:
        return None
    if node.op_type not in ("BatchNormalization", "Clip") and not all(
        constant_over_space(view, name, len(shape), channels) for name in constants
    ):
        return Refusal("a constant is not the same at every pixel")
    draft = Draft(view)
    small = {each.y: each.x for each in found}
    made = draft.copy(node, [small.get(name, name) for name in node.inputs], view.fresh(f"{node.outputs[0]}/small"))
    first.write(draft, made, node.outputs[0], channels)
    sizes = first.sized_by(view)
    nodes = {each.node.name: each.node for each in found}
    kept = [each for each in nodes.values() if needed_beside(view, each.outputs[0], node)]
    return draft.rewrite((*sizes, *nodes.values(), node), (*sizes, *kept))


def _gated(view: View, node: Node) -> Rewrite | None:
    """The answer for the Mul of x·σ(x), both nodes at once: half of it alone would upsample twice."""
    if not is_op(node, "Mul"):
        return None
    for name in node.inputs:
        tail = tail_below(view, name)
        resizing = read_resizing(view, view.producer(name)) if len(tail) == 2 and tail[1] is node else None
        if not isinstance(resizing, Resizing) or not resizing.nearest or (resizing.growth or 2) <= 1:
            continue
        draft = Draft(view)
        small = write_tail(draft, tail, resizing.x, view.fresh(f"{node.outputs[0]}/small"))
        resizing.write(draft, small, node.outputs[0], resizing.channels)
        sizes = resizing.sized_by(view)
        return draft.rewrite((*sizes, resizing.node, *tail), sizes)
    return None


def _half_of_gate(view: View, node: Node, name: str) -> bool:
    tail = tail_below(view, name) if is_op(node, "Sigmoid") else ()
    return len(tail) == 2


def _affine(view: View, node: Node, maps: int) -> bool:
    """Whether the operator is an affine function of its maps, of which it reads so many."""
    if maps > 1:
        return node.op_type in LINEAR
    return node.op_type in AFFINE or (node.op_type == "Div" and view.constant(node.inputs[0]) is None)


def _from_one_size(view: View, one: Resizing, other: Resizing) -> bool:
    """Whether both maps have one size before and after, but for channels."""
    if one.node is other.node:
        return True
    if not same_attributes(one.node, other.node) or one.channels != other.channels:
        return False
    for mine, yours in zip(one.node.inputs[1:], other.node.inputs[1:], strict=False):
        x, y = view.constant(mine), view.constant(yours)
        if mine != yours and (x is None or y is None or not np.array_equal(x, y)):
            return False
    if one.scales is not None and not one.sizes and min(one.scales) >= 1:
        return True  # such scales give equal sizes for equal ones alone, or for 1, which broadcasts before as after
    sizes = [view.shape(each.x) or (None,) for each in (one, other)]
    return len(one.node.inputs) == len(other.node.inputs) and sizes[0] == sizes[1] and None not in sizes[0]


_TEXT = """g (float[1, 4, 3, 5] x, float[1, 4, 6, 10] z) => (float[n, c, h, w] y) {{
    u = Resize <mode = "{mode}"> (x, , scales)
    y = {f}
}}"""
_WEIGHTS = {"scales": np.array([1, 1, 2, 2], np.float32)}

RULE = Rule(
    name="activation before upsample",
    family="layer",
    swap="upsample → elementwise ⇒ elementwise → upsample",
    match=match,
    example=Example(_TEXT.format(mode="nearest", f="Sigmoid (u)"), _WEIGHTS),
    refused={
        "not affine": Example(_TEXT.format(mode="linear", f="Relu (u)"), _WEIGHTS),
        "not upsampled": Example(_TEXT.format(mode="nearest", f="Mul (u, z)"), _WEIGHTS),
        "at every pixel": Example(_TEXT.format(mode="nearest", f="Add (u, k)"), {**_WEIGHTS, "k": (6, 10)}),
    },
)
