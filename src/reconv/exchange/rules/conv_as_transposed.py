"""A convolution of stride 1 whose result is larger than its input as a transposed one.

A transposed convolution multiplies each pixel of the *input* with the kernel, a convolution each pixel of the *result*:
where padding makes the result the larger one, the transposed convolution does fewer multiply-adds. The kernel is turned
around, its input and output exchanged, and the padding is d (k - 1) - p, as in
`reconv.exchange.rules.transposed_as_conv`. Other convolutions have nothing to gain, and are passed over in silence.
"""

from __future__ import annotations

from typing import Any

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules.convolution import Convolution, read_convolution
from reconv.exchange.rules.draft import Draft
from reconv.exchange.rules.kernels import swapped, write
from reconv.exchange.view import View
from reconv.graph import Node

__all__ = ["RULE"]


def match(view: View, node: Node) -> Answer:
    conv = read_convolution(view, node)
    if not isinstance(conv, Convolution):
        return None
    space = len(conv.kernel)
    reach = [d * (k - 1) for d, k in zip(conv.dilations, conv.kernel, strict=True)]
    growth = [conv.pads[i] + conv.pads[i + space] - reach[i] for i in range(space)]
    if min(growth) < 0 or max(growth) == 0:
        return None
    if set(conv.strides) != {1}:
        return Refusal("it strides")
    pads = tuple(r - p for r, p in zip(reach * 2, conv.pads, strict=True))
    if min(pads) < 0:
        return Refusal("it pads with more than its window, which a transposed convolution cannot")
    draft = Draft(view)
    weight = swapped(conv.weight, conv.groups)
    same: dict[str, Any] = {"strides": conv.strides, "pads": pads, "dilations": conv.dilations, "groups": conv.groups}
    write(draft, "ConvTranspose", conv.x, conv.y, weight, bias=conv.bias, **same)
    return draft.rewrite([node])


_TEXT = """g (float[1, 6, 6, 5] x) => (float[1, 4, h, w] y) {{
    y = Conv <{0}> (x, w, b)
}}"""
_WEIGHTS: dict[str, Any] = {"w": (4, 3, 3, 3), "b": (4,)}

RULE = Rule(
    name="conv as transposed conv",
    family="kernel",
    swap="conv whose result is larger than its input ⇒ transposed conv",
    match=match,
    example=Example(_TEXT.format("group = 2, pads = [2, 1, 2, 2]"), _WEIGHTS),
    refused={
        "strides": Example(_TEXT.format("group = 2, pads = [2, 2, 2, 2], strides = [2, 2]"), _WEIGHTS),
        "more than its window": Example(_TEXT.format("group = 2, pads = [3, 2, 2, 2]"), _WEIGHTS),
    },
)
