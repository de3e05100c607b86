"""A convolution and the DepthToSpace after it as one transposed convolution of stride s.

The s² phases of the result are kernels of k taps each; laid into one another they are the kernel of s k taps of a
transposed convolution, which writes its result in place where the pair writes it, reads it and writes it again. With
the convolution's padding p, the transposed one's is s (k - 1 - p). It is `reconv.exchange.rules.transposed_as_subpixel`
read from right to left; the multiply-adds are the same, so that only a measurement tells which is faster.

All phases share one bias in a transposed convolution: others are refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules.convolution import Convolution, read_convolution
from reconv.exchange.rules.draft import Draft, attribute, is_op, needed_beside
from reconv.exchange.rules.kernels import swapped, write
from reconv.exchange.view import View
from reconv.graph import Node

__all__ = ["RULE"]


def match(view: View, node: Node) -> Answer:
    if not is_op(node, "DepthToSpace"):
        return None
    conv = read_convolution(view, view.producer(node.inputs[0]))
    if not isinstance(conv, Convolution):
        return conv
    s = int(node.attributes.get("blocksize", 1))
    if s == 1:
        return None
    if needed_beside(view, conv.y, node):
        return Refusal("the convolution's result is used elsewhere too")
    if set(conv.strides) != {1} or set(conv.dilations) != {1}:
        return Refusal("the convolution strides or is dilated")
    innermost = attribute(node, "mode", "DCR") == "CRD"
    outs = conv.weight.shape[0] // (s * s)
    if conv.groups > 1 and not (innermost and outs % conv.groups == 0):
        return Refusal("the phases of a channel lie in different groups")
    pads = tuple(s * (k - 1 - p) for k, p in zip(conv.kernel * 2, conv.pads, strict=True))
    if min(pads) < 0:
        return Refusal("it pads with more than its window, which a transposed convolution cannot")
    bias = conv.bias.reshape((outs, s * s) if innermost else (s * s, outs))
    bias = bias if innermost else bias.T
    if (bias != bias[:, :1]).any():
        return Refusal("a bias that differs from phase to phase")

    weight = swapped(conv.weight, conv.groups)  # (Cin, channels / groups, rows, columns)
    ins, _, rows, columns = weight.shape
    own = outs // conv.groups
    apart = weight.reshape(ins, own, s, s, rows, columns) if innermost else None
    if apart is None:
        apart = weight.reshape(ins, s, s, own, rows, columns).transpose(0, 3, 1, 2, 4, 5)
    whole = apart.transpose(0, 1, 4, 2, 5, 3).reshape(ins, own, rows * s, columns * s)
    draft = Draft(view)
    same: dict[str, Any] = {"strides": (s, s), "pads": pads, "groups": conv.groups}
    write(draft, "ConvTranspose", conv.x, node.outputs[0], whole, bias=np.ascontiguousarray(bias[:, 0]), **same)
    return draft.rewrite([conv.node, node])


_TEXT = """g (float[1, 4, 5, 6] x) => (float[1, 2, h, w] y{1}) {{
    c = Conv <group = 2, {0}> (x, w, b)
    y = DepthToSpace <blocksize = 2, mode = "CRD"> (c)
    {2}
}}"""
_WEIGHTS: dict[str, Any] = {"w": (8, 2, 3, 2), "b": np.repeat(np.array([0.5, -2], np.float32), 4)}

RULE = Rule(
    name="sub-pixel conv as transposed conv",
    family="kernel",
    swap="conv → DepthToSpace ⇒ transposed conv of stride s",
    match=match,
    example=Example(_TEXT.format("pads = [1, 0, 2, 1]", "", ""), _WEIGHTS),
    refused={
        "from phase to phase": Example(_TEXT.format("pads = [1, 0, 2, 1]", "", ""), {**_WEIGHTS, "b": (8,)}),
        "more than its window": Example(_TEXT.format("pads = [1, 2, 2, 1]", "", ""), _WEIGHTS),
        "strides": Example(_TEXT.format("strides = [2, 2]", "", ""), _WEIGHTS),
        "used elsewhere": Example(
            _TEXT.format("pads = [1, 0, 2, 1]", ", float[1, 8, h2, w2] z", "z = Relu (c)"), _WEIGHTS
        ),
    },
)
