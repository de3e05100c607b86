"""A kernel whose border is zero without that border.

    a tap that is zero in all channels reads nothing: k - c taps, and d c less padding on that side

Padding is what keeps the rest in place, so a border can go only as far as there is padding on its side;
`reconv.exchange.rules.shrunk_kernel_and_input` goes further. Kernels
that were laid into larger ones, causal and pruned ones have such borders.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules.convolution import Convolution, read_convolution
from reconv.exchange.rules.draft import Draft
from reconv.exchange.rules.once import once_for_each
from reconv.exchange.view import View
from reconv.graph import Node

__all__ = ["RULE", "zero_borders"]


def match(view: View, node: Node) -> Answer:
    conv = read_convolution(view, node)
    if not isinstance(conv, Convolution):
        return conv
    space = len(conv.kernel)
    borders = zero_borders(conv.weight)
    if not any(map(any, borders)):
        return None
    pads, cut = list(conv.pads), []
    for axis, (begin, end) in enumerate(borders):
        step = conv.dilations[axis]
        sides = [min(begin, pads[axis] // step), min(end, pads[axis + space] // step)]
        pads[axis] -= sides[0] * step
        pads[axis + space] -= sides[1] * step
        cut.append(slice(sides[0], conv.kernel[axis] - sides[1]))
    weight = np.ascontiguousarray(conv.weight[(slice(None), slice(None), *cut)])
    if weight.shape == conv.weight.shape:
        return Refusal("a border of zeros on a side without padding")
    draft = Draft(view)
    draft.convolution(conv.x, weight, conv.bias, conv.y, conv, pads=tuple(pads))
    return draft.rewrite([node])


@once_for_each
def zero_borders(weight: np.ndarray) -> tuple[tuple[int, int], ...]:
    """For each axis of space, how many taps from its begin and from its end are zero; one is always left."""
    found = []
    for axis in range(2, weight.ndim):
        used = np.flatnonzero(weight.any(axis=tuple(a for a in range(weight.ndim) if a != axis)))
        last = weight.shape[axis] - 1
        found.append((int(used[0]), last - int(used[-1])) if used.size else (0, last))
    return tuple(found)


_TEXT = """g (float[1, 3, 8, 7] x) => (float[1, 4, h, w] y) {{
    y = Conv <{0}> (x, w, b)
}}"""
_WEIGHTS: dict[str, Any] = {"w": np.pad(np.ones((4, 3, 2, 2), np.float32), ((0, 0), (0, 0), (1, 2), (0, 1))), "b": (4,)}

RULE = Rule(
    name="shrunk kernel",
    family="kernel",
    swap="conv whose kernel has a border of zeros ⇒ conv with a smaller one",
    match=match,
    example=Example(_TEXT.format("pads = [2, 1, 1, 2], strides = [2, 1]"), _WEIGHTS),
    refused={"without padding": Example(_TEXT.format("pads = [0, 1, 0, 0]"), _WEIGHTS)},
    simplifies=True,
)
