"""One transposed convolution for a nearest upsampling and the convolution after it.

With up(x)[u] = x[floor(u / s)] and a kernel w of k taps and padding p (one axis; the others alike),

    y[o] = Σ_t w[t] up(x)[o - p + t] = Σ_i x[i] W[o + (k - 1 - p) - s i],   W = flip(w) * (1, ..., 1)

(a convolution with s ones: k + s - 1 taps), which is ONNX's ConvTranspose with stride s and padding k - 1 - p. Each
pixel of x then costs the (k + s - 1) taps of W, instead of k taps at each of its s copies: 16 instead of 36 for a 3x3
convolution behind a doubling, and the large map is never written. Zeros outside of up(x) are zeros outside of x, so
that padding holds up to p = k - 1.

Only for whole factors, and where the rounding of coordinates is floor(u / s).
"""

from __future__ import annotations

import numpy as np

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules.convolution import Array, Convolution, Ints, read_convolution
from reconv.exchange.rules.draft import Draft, Weights, is_op, needed_beside
from reconv.exchange.rules.resizing import Resizing, read_resizing, whole_factors
from reconv.exchange.view import View
from reconv.graph import Node

__all__ = ["RULE"]


def match(view: View, node: Node) -> Answer:
    if not is_op(node, "Conv") or not is_op(view.producer(node.inputs[0]), "Resize", "Upsample"):
        return None
    conv = read_convolution(view, node)
    if not isinstance(conv, Convolution):
        return conv
    if set(conv.kernel) == {1}:
        return None
    resizing = read_resizing(view, view.producer(conv.x), int(conv.weight.shape[1]) * conv.groups)
    if not isinstance(resizing, Resizing):
        return resizing
    if not resizing.nearest:
        return Refusal("interpolation clamps at the border, a transposed convolution does not")
    factors = whole_factors(view, resizing)
    if factors is None:
        return Refusal("the upsampling does not repeat each pixel a whole number of times, or repeats the batch")
    if set(conv.strides) != {1} or set(conv.dilations) != {1}:
        return Refusal("the convolution strides or is dilated")
    pads = tuple(k - 1 - p for k, p in zip(conv.kernel * 2, conv.pads, strict=True))
    if min(pads) < 0:
        return Refusal("the convolution pads more than its kernel reaches")
    weight = _summed(conv, factors)
    draft = Draft(view)
    inputs = [resizing.x, draft.constant(f"{conv.y}/weight", weight), *conv.node.inputs[2:]]
    draft.node("ConvTranspose", inputs, conv.y, strides=factors, pads=pads, group=conv.groups)
    kept = (resizing.node,) if needed_beside(view, conv.x, node) else ()
    return draft.rewrite((resizing.node, node), kept)


def _summed(conv: Convolution, factors: Ints) -> Array:
    """The kernel W, laid out as ConvTranspose reads it: (Cin, Cout / groups, k + s - 1, ...)."""
    space = range(2, conv.weight.ndim)
    weight = np.flip(conv.weight.astype(np.float64), tuple(space))
    for axis, factor in zip(space, factors, strict=True):
        wide = np.zeros((*weight.shape[:axis], weight.shape[axis] + factor - 1, *weight.shape[axis + 1 :]))
        for shift in range(factor):
            at = [slice(None)] * weight.ndim
            at[axis] = slice(shift, shift + weight.shape[axis])
            wide[tuple(at)] += weight
        weight = wide
    outs, ins = weight.shape[:2]
    grouped = weight.reshape(conv.groups, outs // conv.groups, ins, *weight.shape[2:]).swapaxes(1, 2)
    return grouped.reshape(conv.groups * ins, outs // conv.groups, *weight.shape[2:])


_TEXT = """g (float[1, 4, 5, 6] x) => (float[n, c, h, w] y) {{
    u = Resize <mode = "{mode}"> (x, , scales)
    y = Conv {conv} (u, w, b)
}}"""
_WEIGHTS: Weights = {"w": (3, 4, 3, 3), "b": (3,), "scales": np.array([1, 1, 2, 2], np.float32)}

RULE = Rule(
    name="transposed conv for upsample and conv",
    family="layer",
    swap="nearest upsample → conv kxk ⇒ transposed conv",
    match=match,
    example=Example(_TEXT.format(mode="nearest", conv="<pads = [1, 1, 1, 1]>"), _WEIGHTS),
    refused={
        "clamps at the border": Example(_TEXT.format(mode="linear", conv=""), _WEIGHTS),
        "whole number": Example(
            _TEXT.format(mode="nearest", conv=""), {**_WEIGHTS, "scales": np.array([1, 1, 1.5, 2], np.float32)}
        ),
        "repeats the batch": Example(
            _TEXT.format(mode="nearest", conv=""), {**_WEIGHTS, "scales": np.array([2, 1, 2, 2], np.float32)}
        ),
        "strides": Example(_TEXT.format(mode="nearest", conv="<strides = [2, 2]>"), _WEIGHTS),
        "more than its kernel": Example(_TEXT.format(mode="nearest", conv="<pads = [3, 1, 1, 1]>"), _WEIGHTS),
    },
)
