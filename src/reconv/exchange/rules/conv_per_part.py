"""A convolution of each part of a concatenation, summed, instead of one of the whole.

    W [x1; x2; ...] + b = W1 x1 + W2 x2 + ... + b,   W = [W1 W2 ...] by columns (channels in)

a block matrix product at every tap of the kernel; zero padding is per channel, so that any kernel will do. The
multiply-adds are the same. It saves writing and reading the concatenation, and costs a sum, so that it is offered where
that moves fewer values; or where a part is an upsampled map, since that part's convolution can then run before the
upsampling (`conv1x1_before_upsample`) or become one with it (`transposed_for_upsample`, for nearest upsampling and
larger kernels). Parts that are not upsampled stay together in that case.
"""

from __future__ import annotations

import numpy as np

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules.convolution import Convolution, read_convolution
from reconv.exchange.rules.draft import Draft, attribute, is_op, needed_beside
from reconv.exchange.rules.resizing import Resizing, read_resizing, whole_factors
from reconv.exchange.view import View
from reconv.graph import Node

__all__ = ["RULE"]


def match(view: View, node: Node) -> Answer:
    if not is_op(node, "Conv"):
        return None
    concat = view.producer(node.inputs[0])
    if concat is None or not is_op(concat, "Concat") or len(concat.inputs) < 2:
        return None
    conv = read_convolution(view, node)
    if not isinstance(conv, Convolution):
        return conv
    if int(attribute(concat, "axis", 1)) % conv.weight.ndim != 1:
        return Refusal("the concatenation is not of channels")
    if conv.groups != 1:
        return Refusal("a grouped convolution does not sum over all parts")
    shapes = [view.shape(name) for name in concat.inputs]
    counts = [s[1] for s in shapes if s is not None and len(s) > 1 and s[1] is not None]
    if len(counts) != len(shapes) or sum(counts) != conv.weight.shape[1]:
        return Refusal("the number of channels of a part is not known")
    shared = needed_beside(view, conv.x, node)
    upsampled = [_upsampled(view, name, conv) for name in concat.inputs]
    if any(upsampled):
        groups = [[i] for i, up in enumerate(upsampled) if up]
        groups.insert(0, [i for i, up in enumerate(upsampled) if not up])
    else:
        groups = [[i] for i in range(len(counts))]
        if shared or (len(groups) - 1) * 3 * conv.weight.shape[0] >= 2 * sum(counts):
            return Refusal("the sum would move more values than the concatenation")
    begins = np.cumsum([0, *counts])
    draft, terms = Draft(view), list[str]()
    for group in groups:
        if not group:
            continue
        columns = np.concatenate([np.arange(begins[i], begins[i + 1]) for i in group])
        x = concat.inputs[group[0]]
        if len(group) > 1:
            parts = [concat.inputs[i] for i in group]
            x = draft.copy(concat, parts, view.fresh(f"{conv.x}/part"))
        bias = None if terms else conv.bias
        terms.append(draft.convolution(x, conv.weight[:, columns], bias, view.fresh(f"{conv.y}/term"), conv))
    total = terms[0]
    for index, term in enumerate(terms[1:], 2):
        total = draft.node("Add", (total, term), conv.y if index == len(terms) else view.fresh(f"{conv.y}/sum"))
    return draft.rewrite((concat, node), (concat,) if shared else ())


def _upsampled(view: View, name: str, conv: Convolution) -> bool:
    """Whether the part is an upsampled map, by an upsampling that a convolution like this one can go past."""
    resizing = read_resizing(view, view.producer(name))
    if not isinstance(resizing, Resizing) or (resizing.growth is not None and resizing.growth <= 1):
        return False
    slides = set(conv.strides) == set(conv.dilations) == {1}
    return conv.pointwise or (slides and whole_factors(view, resizing) is not None)


_TEXT = """g (float[1, {a}, 6, 6] x, float[1, 5, {s}, {s}] z) => (float[n, c, h, w] y) {{
    {first}
    j = Concat <axis = {axis}> (x, p)
    y = Conv {conv} (j, w, b)
}}"""
_WEIGHTS = {"w": (8, 8, 1, 1), "b": (8,)}
_UP = {"scales": np.array([1, 1, 2, 2], np.float32)}
_UPSAMPLE = "p = Resize (z, , scales)"

RULE = Rule(
    name="conv per part of a concat",
    family="layer",
    swap="concat → conv ⇒ sum of a conv of each part",
    match=match,
    example=Example(_TEXT.format(a=3, s=3, first=_UPSAMPLE, axis=1, conv=""), {**_WEIGHTS, **_UP}),
    refused={
        "not of channels": Example(
            _TEXT.format(a=5, s=6, first="p = Relu (z)", axis=2, conv=""), {**_WEIGHTS, "w": (8, 5, 1, 1)}
        ),
        "grouped": Example(
            _TEXT.format(a=3, s=3, first=_UPSAMPLE, axis=1, conv="<group = 2>"), {**_WEIGHTS, **_UP, "w": (8, 4, 1, 1)}
        ),
        "more values": Example(_TEXT.format(a=3, s=6, first="p = Relu (z)", axis=1, conv=""), _WEIGHTS),
    },
)
