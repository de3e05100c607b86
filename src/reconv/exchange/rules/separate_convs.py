"""Separate convolutions for the parts of a Split behind a wide one: `wider_conv` the other way round.

    rows (channels out) of W x = rows of W, times x

Nothing is copied by the Split any more, and a part that nobody reads is not computed. An activation between the
convolution and the Split moves along.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules.convolution import Convolution, read_convolution
from reconv.exchange.rules.draft import Draft, Weights, attribute, is_op
from reconv.exchange.rules.elementwise import convolution_above, tail_below, write_tail
from reconv.exchange.view import View
from reconv.graph import Node

__all__ = ["RULE"]


def match(view: View, node: Node) -> Answer:
    if not is_op(node, "Split"):
        return None
    below = convolution_above(view, node.inputs[0])
    if below is None:
        return None
    conv = read_convolution(view, below)
    if not isinstance(conv, Convolution):
        return conv
    tail = () if conv.y == node.inputs[0] else tail_below(view, conv.y)
    if (tail[-1].outputs[0] if tail else conv.y) != node.inputs[0] or view.only_reader(node.inputs[0]) is not node:
        return Refusal("what is split is used elsewhere too")
    if int(attribute(node, "axis", 0)) % conv.weight.ndim != 1:
        return Refusal("the split is not of channels")
    if conv.groups != 1:
        return Refusal("grouped: each part would read a part of the map alone")
    sizes = [(view.shape(name) or (None, None))[1] for name in node.outputs]
    known = [size for size in sizes if size is not None]
    if len(known) != len(sizes) or sum(known) != conv.weight.shape[0]:
        return Refusal("the sizes of the parts are not known")
    draft = Draft(view)
    for name, (begin, end) in zip(node.outputs, pairwise(np.cumsum([0, *known])), strict=True):
        if not view.readers(name) and not view.is_output(name):
            continue
        y = view.fresh(f"{name}/conv") if tail else name
        draft.convolution(conv.x, conv.weight[begin:end], conv.bias[begin:end], y, conv)
        if tail:
            write_tail(draft, tail, y, name)
    return draft.rewrite((conv.node, *tail, node)) if draft.nodes else None


_TEXT = """g (float[1, 6, 7, 8] x) => (float[n, c, h, w] y, float[n, c, h, w] z) {{
    m = Conv {conv} (x, w, b)
    s = Sigmoid (m)
    a = Mul (m, s)
    y, d = Split <axis = {axis}> (a, sizes)
    z = Relu ({more})
}}"""
_WEIGHTS: Weights = {"w": (8, 6, 1, 1), "b": (8,), "sizes": np.array([3, 5], np.int64)}

RULE = Rule(
    name="separate convs",
    family="layer",
    swap="wide conv → split ⇒ a conv for each part",
    match=match,
    example=Example(_TEXT.format(conv="", axis=1, more="d"), _WEIGHTS),
    refused={
        "used elsewhere": Example(_TEXT.format(conv="", axis=1, more="a"), _WEIGHTS),
        "not of channels": Example(
            _TEXT.format(conv="", axis=2, more="d"), {**_WEIGHTS, "sizes": np.array([3, 4], np.int64)}
        ),
        "grouped": Example(_TEXT.format(conv="<group = 2>", axis=1, more="d"), {**_WEIGHTS, "w": (8, 3, 1, 1)}),
    },
)
