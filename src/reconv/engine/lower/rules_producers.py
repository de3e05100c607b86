"""Fusion rules: what goes into the op that makes its operand - scales, activations, residuals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from reconv.engine.lower import draft as d
from reconv.engine.lower.draft_codes import Dequantize

__all__ = ["activate", "per_channel", "residual", "scaled_input", "scaled_weights"]


def per_channel(draft: d.Draft, op: d.Op) -> bool:
    """x + c, x - c, c - x, x * c, x / c with one c per channel -> x * scale + shift."""
    if (
        not isinstance(op, d.BinaryConstant)
        or op.constant.shape[:2] != (1, 1)
        or draft.maps[op.x] != draft.maps[op.out]
    ):
        return False
    constant = np.ascontiguousarray(np.broadcast_to(op.constant.ravel(), (draft.maps[op.out].channels,)))
    ones, zeros = np.ones_like(constant), np.zeros_like(constant)
    if op.kind == "add":
        scale, shift = ones, constant
    elif op.kind == "sub":
        scale, shift = (-ones, constant) if op.constant_first else (ones, -constant)
    elif op.kind == "mul":
        scale, shift = constant, zeros
    elif op.kind == "div" and not op.constant_first:
        with np.errstate(all="ignore"):
            scale, shift = (ones / constant).astype(np.float32), zeros
        normal = np.abs(scale) >= np.finfo(np.float32).tiny
        if not (np.isfinite(scale) & normal).all():
            return False
    else:
        return False
    if not (np.isfinite(scale).all() and np.isfinite(shift).all()):
        return False
    new = d.Affine(x=op.x, out=op.out, scale=scale, shift=shift, activation=op.activation)
    draft.swap([op], new)
    return True


def scaled_weights(draft: d.Draft, op: d.Op) -> bool:
    """affine(conv(x)), affine(affine(x)) -> one of them with other weights."""
    if not isinstance(op, d.Affine):
        return False
    scale, shift = op.scale.astype(np.float64), op.shift.astype(np.float64)
    below = draft.producer.get(op.x)
    if draft.uses[op.x] != 1 or not isinstance(below, (d.Conv, d.Transposed, d.Affine)) or below.activation != d.NONE:
        return False
    new: d.Op
    if isinstance(below, d.Affine):
        moved = (below.shift * scale + shift).astype(np.float32)
        new = replace(
            below, out=op.out, scale=(below.scale * scale).astype(np.float32), shift=moved, activation=op.activation
        )
    else:
        if isinstance(below, d.Conv) and (below.residual >= 0 or below.activation_after != d.NONE):
            return False
        bias = 0.0 if below.bias is None else below.bias
        moved = (bias * scale + shift).astype(np.float32)
        weight = below.weight.astype(np.float64)
        grid = below.grid
        if grid is not None:  # the same whole numbers, but for their sign, of other steps
            grid = d.Grid((grid.scale * np.abs(scale)).astype(np.float32))
        if isinstance(below, d.Conv):
            weight = weight * scale[:, None, None, None]
        else:  # (Cin, Cout / groups, kh, kw), output channel = group * (Cout / groups) + column
            inputs, columns = below.weight.shape[:2]
            groups = below.groups
            weight = weight.reshape(groups, inputs // groups, columns, -1) * scale.reshape(groups, 1, columns, 1)
            weight = weight.reshape(below.weight.shape)
        new = replace(
            below,
            out=op.out,
            weight=np.ascontiguousarray(weight, np.float32),
            bias=moved,
            activation=op.activation,
            grid=grid,
        )
    draft.swap([below, op], new)
    return True


def scaled_input(draft: d.Draft, op: d.Op) -> bool:
    """conv(affine(x)) -> conv(x) with other weights and bias, where the window never meets the border of zeros.

    Of codes with a scale per channel, every convolution that reads them takes the scales in.
    """
    if not isinstance(op, d.Conv):
        return False
    below = draft.made_by(op.x, d.Affine, alone=False)
    if below is not None and draft.uses[below.out] > 1 and draft.made_by(below.x, Dequantize) is None:
        return False
    if (
        below is None
        or below.activation != d.NONE
        or op.residual == op.x
        or (_overhangs(draft, op) and below.shift.any())
    ):
        return False
    outputs, inputs = op.weight.shape[:2]
    grouped = op.weight.reshape(op.groups, outputs // op.groups, inputs, -1).astype(np.float64)
    scale, shift = (c.astype(np.float64).reshape(op.groups, 1, inputs, 1) for c in (below.scale, below.shift))
    weight = np.ascontiguousarray((grouped * scale).reshape(op.weight.shape), np.float32)
    bias = (grouped * shift).sum((2, 3)).ravel() + (0.0 if op.bias is None else op.bias)
    grid = None
    if op.grid is not None and inputs == 1 and not below.shift.any():  # one channel, one factor for each output
        factors = np.repeat(np.abs(below.scale), outputs // op.groups)
        grid = replace(op.grid, scale=(op.grid.scale * factors).astype(np.float32))
    gone = [below, op] if draft.uses[below.out] == 1 else [op]
    draft.swap(gone, replace(op, x=below.x, weight=weight, bias=bias.astype(np.float32), grid=grid))
    return True


def _overhangs(draft: d.Draft, op: d.Conv) -> bool:
    """Whether some window of the convolution reaches over the border of its map."""
    sizes = zip(draft.maps[op.x][:2], draft.maps[op.out][:2], op.weight.shape[2:], strict=True)
    lines = zip(sizes, op.strides, op.pads, op.dilations, strict=True)
    return any(
        pad > 0 or (out - 1) * stride - pad + (kernel - 1) * dilation >= size
        for (size, out, kernel), stride, pad, dilation in lines
    )


def activate(draft: d.Draft, op: d.Op) -> bool:
    """activation(conv | transposed | affine | binary) -> the producer with the activation in it."""
    if not isinstance(op, d.Unary) or draft.uses[op.x] != 1:
        return False
    below = draft.producer.get(op.x)
    if isinstance(below, d.Conv) and below.residual >= 0:
        if below.activation_after != d.NONE:
            return False
        draft.swap([below, op], replace(below, out=op.out, activation_after=op.activation))
        return True
    if (
        not isinstance(below, (d.Conv, d.Transposed, d.Affine, d.Binary, d.BinaryConstant))
        or below.activation != d.NONE
    ):
        return False
    draft.swap([below, op], replace(below, out=op.out, activation=op.activation))
    return True


def residual(draft: d.Draft, op: d.Op) -> bool:
    """conv(x) + y -> conv with a residual: the convolution that comes last, where both operands are one."""
    if not (isinstance(op, d.Binary) and op.kind == "add") or op.a == op.b:
        return False
    candidates = []
    for x, other in ((op.a, op.b), (op.b, op.a)):
        conv = draft.made_by(x, d.Conv)
        plain = conv is not None and conv.residual < 0 and conv.activation_after == d.NONE
        if conv is not None and plain and draft.maps[x] == draft.maps[other] == draft.maps[op.out]:
            candidates.append((draft.ops.index(conv), conv, other))
    if not candidates:
        return False
    _, conv, other = max(candidates, key=lambda candidate: candidate[0])
    draft.swap([conv, op], replace(conv, out=op.out, residual=other, activation_after=op.activation))
    return True
