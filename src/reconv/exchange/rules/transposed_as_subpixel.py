"""A transposed convolution of stride s as a convolution of stride 1 and a DepthToSpace.

Pixel s q + r of the result (r < s), before the padding cuts its border off, gets the taps t = s j + r from input pixels
q - j. So each of the s² phases r is a convolution of its own with the kernel w[s j + r] turned around, all of them are
one convolution with s² times the channels, and DepthToSpace puts the phases side by side::

    y[s q + r - p] = conv(x)[phase r][q],   q from floor(p / s) on

A kernel that s does not divide is filled up with zeros; a border that s does not divide is cut off by a Slice. Kernel
and stride both s, as decoders have it, need neither: a 1x1 convolution and a DepthToSpace.
Shi et al., Real-Time Single Image and Video Super-Resolution (2016), arXiv 1609.05158.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules.draft import Draft
from reconv.exchange.rules.kernels import Transposed, cut, read_transposed, swapped, write
from reconv.exchange.view import View
from reconv.graph import Node

__all__ = ["RULE"]

MODES_OPSET = 11  # since then DepthToSpace has a mode, and phases may be the innermost channels


def match(view: View, node: Node) -> Answer:
    conv = read_transposed(view, node)
    if not isinstance(conv, Transposed):
        return conv
    s = max(conv.strides)
    if s == 1:
        return None
    if len(conv.kernel) != 2 or set(conv.strides) != {s}:
        return Refusal("DepthToSpace enlarges maps of two axes alike")
    if set(conv.dilations) != {1}:
        return Refusal("it is dilated")
    if view.opset < MODES_OPSET and conv.groups > 1:
        return Refusal("DepthToSpace keeps the channels of a group together since opset 11 only")
    taps = [-(-k // s) for k in conv.kernel]
    if s * s * taps[0] * taps[1] > 2 * conv.kernel[0] * conv.kernel[1]:
        return Refusal("more than half of the phases' kernels would be zeros")
    first = [p // s for p in conv.pads[:2]]  # the first row of phases that is not cut off altogether
    begin = [p % s for p in conv.pads[:2]]
    last = [k - 1 - p + more for k, p, more in zip(conv.kernel, conv.pads[2:], conv.output_padding, strict=True)]
    pads = (*(k - 1 - q for k, q in zip(taps, first, strict=True)), *(rest // s for rest in last))
    if min(pads) < 0:
        return Refusal("it cuts off whole input pixels, which a convolution cannot")
    end = [s - 1 - rest % s for rest in last]

    draft = Draft(view)
    y, x = node.outputs[0], node.inputs[0]
    crop = any((*begin, *end))
    deep = view.fresh(f"{y}/phases")
    weight, bias = _phases(conv, s, innermost=view.opset >= MODES_OPSET)
    write(draft, "Conv", x, deep, weight, bias=bias, strides=(1, 1), pads=pads, groups=conv.groups)
    mode = "CRD" if view.opset >= MODES_OPSET else None
    wide = draft.node("DepthToSpace", (deep,), view.fresh(f"{y}/whole") if crop else y, blocksize=s, mode=mode)
    if crop:
        cut(draft, wide, y, begin, end)
    return draft.rewrite([node])


def _phases(conv: Transposed, s: int, innermost: bool) -> tuple[np.ndarray, np.ndarray]:
    """Weights and bias of the convolution: its channels are (Cout, s, s) with phases innermost, else (s, s, Cout)."""
    ins, outs, height, width = conv.weight.shape
    rows, columns = -(-height // s), -(-width // s)
    whole = np.zeros((ins, outs, rows * s, columns * s), np.float32)
    whole[:, :, :height, :width] = conv.weight
    apart = whole.reshape(ins, outs, rows, s, columns, s)
    order = (0, 1, 3, 5, 2, 4) if innermost else (0, 3, 5, 1, 2, 4)
    weight = swapped(apart.transpose(order).reshape(ins, outs * s * s, rows, columns), conv.groups)
    return weight, np.repeat(conv.bias, s * s) if innermost else np.tile(conv.bias, s * s)


_TEXT = """g (float[1, 4, 5, 6] x) => (float[1, 6, h, w] y) {{
    y = ConvTranspose <{0}> (x, w, b)
}}"""
_WEIGHTS: dict[str, Any] = {"w": (4, 3, 3, 4), "b": (6,)}

RULE = Rule(
    name="transposed conv as sub-pixel conv",
    family="kernel",
    swap="transposed conv of stride s ⇒ conv → DepthToSpace",
    match=match,
    example=Example(
        _TEXT.format("group = 2, strides = [2, 2], pads = [1, 0, 1, 1], output_padding = [1, 0]"), _WEIGHTS
    ),
    refused={
        "cuts off whole": Example(_TEXT.format("group = 2, strides = [2, 2], pads = [4, 0, 0, 0]"), _WEIGHTS),
        "two axes alike": Example(_TEXT.format("group = 2, strides = [2, 1]"), _WEIGHTS),
        "dilated": Example(_TEXT.format("group = 2, strides = [2, 2], dilations = [2, 2]"), _WEIGHTS),
        "would be zeros": Example(_TEXT.format("group = 2, strides = [4, 4]"), {**_WEIGHTS, "w": (4, 3, 2, 3)}),
    },
)
