"""A kernel whose border is zero without that border, for an input without the pixels that only the border saw.

    conv(x, w) with w[t] = 0 for t < c   =   conv(x[d c:], w[c:])

and the same at the end, and along each axis; what there is of padding goes first. The Slice copies the map once, and
each pixel of the result costs fewer products: for banks of windowed filters, as transforms of audio have them, whose
windows are zero at both ends. `reconv.exchange.rules.shrunk_kernel` is for borders that padding makes up for.
"""

from __future__ import annotations

import numpy as np

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules.convolution import Convolution, read_convolution
from reconv.exchange.rules.draft import Draft
from reconv.exchange.rules.kernels import cut
from reconv.exchange.rules.shrunk_kernel import zero_borders
from reconv.exchange.view import View
from reconv.graph import Node

__all__ = ["RULE"]


def match(view: View, node: Node) -> Answer:
    conv = read_convolution(view, node)
    if not isinstance(conv, Convolution):
        return conv
    borders = zero_borders(conv.weight)
    taps = [*(begin for begin, _ in borders), *(end for _, end in borders)]
    unseen = [tap * step - pad for tap, step, pad in zip(taps, conv.dilations * 2, conv.pads, strict=True)]
    if max(unseen) <= 0:
        return None
    ins, outs = conv.weight.shape[1] * conv.groups, conv.weight.shape[0]
    if conv.groups == ins == outs:
        return Refusal("a depthwise convolution costs about as much as the copy without its border")
    less = [max(pixels, 0) for pixels in unseen]
    pads = tuple(max(-pixels, 0) for pixels in unseen)
    space = len(borders)
    kept = (slice(begin, size - end) for (begin, end), size in zip(borders, conv.kernel, strict=True))
    draft = Draft(view)
    inner = cut(draft, conv.x, view.fresh(f"{conv.x}/inner"), less[:space], less[space:])
    weight = np.ascontiguousarray(conv.weight[(slice(None), slice(None), *kept)])
    draft.convolution(inner, weight, conv.bias, conv.y, conv, pads=pads)
    return draft.rewrite([node])


_TEXT = """g (float[1, 3, 9, 8] x) => (float[1, {0}, h, w] y) {{
    y = Conv <{1}> (x, w)
}}"""

RULE = Rule(
    name="shrunk kernel and input",
    family="kernel",
    swap="conv whose kernel has a border of zeros ⇒ slice → conv with a smaller one",
    match=match,
    example=Example(
        _TEXT.format(4, "pads = [1, 0, 0, 3], strides = [2, 1], dilations = [2, 1]"),
        {"w": np.pad(np.ones((4, 3, 2, 2), np.float32), ((0, 0), (0, 0), (1, 0), (2, 1)))},
    ),
    refused={
        "depthwise": Example(
            _TEXT.format(3, "group = 3"),
            {"w": np.pad(np.ones((3, 1, 2, 2), np.float32), ((0, 0), (0, 0), (1, 0), (2, 1)))},
        ),
    },
)
