"""A transposed convolution of stride 1 as a convolution.

    sum over t of w[t] x[q + p - d t]  =  sum over u of w[k - 1 - u] x[q - (d (k - 1) - p) + d u]

so the kernel is turned around, its input and output exchanged, and the padding is what the window has left:
d (k - 1) - p. Groups and dilations carry over. The other way is `reconv.exchange.rules.conv_as_transposed`.
"""

from __future__ import annotations

from typing import Any

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules.draft import Draft
from reconv.exchange.rules.kernels import Transposed, read_transposed, swapped, write
from reconv.exchange.view import View
from reconv.graph import Node

__all__ = ["RULE"]


def match(view: View, node: Node) -> Answer:
    conv = read_transposed(view, node)
    if not isinstance(conv, Transposed):
        return conv
    if set(conv.strides) != {1}:
        return None
    if any(conv.output_padding):
        return Refusal("output_padding")
    reach = [d * (k - 1) for d, k in zip(conv.dilations, conv.kernel, strict=True)] * 2
    pads = tuple(r - p for r, p in zip(reach, conv.pads, strict=True))
    if min(pads) < 0:
        return Refusal("it cuts off more than its kernel adds, which a convolution cannot")
    draft = Draft(view)
    weight = swapped(conv.weight, conv.groups)
    same: dict[str, Any] = {"strides": conv.strides, "pads": pads, "dilations": conv.dilations, "groups": conv.groups}
    write(draft, "Conv", node.inputs[0], node.outputs[0], weight, bias=conv.bias, **same)
    return draft.rewrite([node])


_TEXT = """g (float[1, 4, 6, 7] x) => (float[1, 6, h, w] y) {{
    y = ConvTranspose <{0}> (x, w, b)
}}"""
_WEIGHTS: dict[str, Any] = {"w": (4, 3, 3, 2), "b": (6,)}

RULE = Rule(
    name="transposed conv as conv",
    family="kernel",
    swap="transposed conv of stride 1 ⇒ conv with its kernel turned and its channels swapped",
    match=match,
    example=Example(_TEXT.format("group = 2, pads = [1, 0, 2, 1], dilations = [2, 1]"), _WEIGHTS),
    refused={
        "cuts off more": Example(_TEXT.format("group = 2, pads = [3, 0, 0, 0]"), _WEIGHTS),
        "output_padding": Example(_TEXT.format("group = 2, dilations = [2, 2], output_padding = [1, 1]"), _WEIGHTS),
    },
)
