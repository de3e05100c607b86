"""Fusion rules: what becomes of dequantize -> op -> quantize when the op can work on the codes.

A convolution of codes sums whole numbers in 32 bits, which is exact; what follows it up to the next quantization - an
activation, a residual - is done on those sums as floats. Everything else that takes one code to one code is a table.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from reconv.engine.lower import draft as d
from reconv.engine.lower import draft_codes as c
from reconv.engine.lower.emit import as_conv
from reconv.engine.lower.quantized import whole
from reconv.engine.lower.tables import dequantized, origin, quantized, worked_out

__all__ = ["added", "averaged", "binary", "composed", "conv", "finished", "looked_up", "rescaled", "table", "why_float"]

SAME_STEP = 2.0**-20  # relative: the steps of a bias and those of its sums, apart by roundings only


def why_float(draft: d.Draft, op: d.Op) -> str:
    """Why a product does not work on codes; "" where it can, and for all other ops."""
    if not isinstance(op, (d.Conv, d.Transposed)):
        return ""
    below = draft.made_by(op.x, c.Dequantize, alone=False)
    if below is None:
        return "its input is not quantized"
    if draft.codes[below.x].zero != below.x_codes.zero:
        return "its input is read with another zero point than it was written with"
    if op.grid is None:
        return "its weights are not quantized, or not per output channel"
    numbers = whole(_weight(op), op.grid.scale)
    if numbers is None or numbers.min() < -128 or numbers.max() > 127:
        return "its weights need more than 8 bits"
    return "" if _fits(numbers, None, 0) else "its sums need more than 32 bits"


def _weight(op: d.Conv | d.Transposed) -> d.Floats:
    """(Cout, Cin / groups, kh, kw)"""
    return op.weight if isinstance(op, d.Conv) else as_conv(op.weight, op.groups)


def _fits(numbers: np.ndarray[tuple[int, ...], np.dtype[np.float64]], bias: d.Ints | None, zero: int) -> bool:
    """Whether no sum, in whatever order, leaves 32 bits."""
    flat = numbers.reshape(len(numbers), -1)
    start = -zero * flat.sum(1) + (0 if bias is None else bias.astype(np.float64))
    return bool((np.abs(start) + 255 * np.abs(flat).sum(1)).max() < 2**31)


def conv(draft: d.Draft, op: d.Op) -> bool:
    """conv(dequantize(x)) -> conv8(x), its sums as floats; a residual of codes stays in it, one of floats is added."""
    if not isinstance(op, (d.Conv, d.Transposed)) or why_float(draft, op):
        return False
    below = draft.made_by(op.x, c.Dequantize, alone=False)
    assert below is not None  # `why_float` has seen them
    assert op.grid is not None
    numbers = whole(_weight(op), op.grid.scale)
    assert numbers is not None
    codes = below.x_codes
    bias, shift = op.grid.bias, op.bias
    sums = np.float32(codes.scale) * op.grid.scale
    if bias is not None and (
        op.grid.bias_scale is None
        or not np.allclose(op.grid.bias_scale, sums, rtol=SAME_STEP, atol=0)
        or not _fits(numbers, bias, codes.zero)
    ):
        bias = None
    new = (c.Conv8 if isinstance(op, d.Conv) else c.Transposed8)(
        x=below.x,
        x_codes=codes,
        out=op.out,
        weight=numbers.astype(np.int8),
        bias=bias,
        weight_scale=op.grid.scale,
        shift=None if bias is not None or shift is None else np.ascontiguousarray(shift, np.float32),
        strides=op.strides,
        pads=op.pads,
        dilations=op.dilations,
        groups=op.groups,
        activation=op.activation,
        nodes=op.nodes,
    )
    made: list[d.Op] = [new]
    if isinstance(op, d.Conv) and op.residual >= 0:
        other = draft.made_by(op.residual, c.Dequantize, alone=False)
        if other is not None:
            new.residual, new.residual_codes, new.activation_after = other.x, other.x_codes, op.activation_after
        else:
            new.out = draft.map(draft.maps[op.out])
            after = op.activation_after
            made.append(d.Binary(a=new.out, b=op.residual, out=op.out, kind="add", activation=after, nodes=op.nodes))
    draft.put([op], made)
    draft.sweep()
    return True


def finished(draft: d.Draft, op: d.Op) -> bool:
    """quantize(conv8(x)) -> conv8 that gives codes."""
    below = draft.made_by(op.x, c.Product8) if isinstance(op, c.Quantize) else None
    if below is None or below.out in draft.codes:
        return False
    draft.swap([below, op], replace(below, out=op.out))
    return True


def rescaled(draft: d.Draft, op: d.Op) -> bool:
    """quantize(conv8(x) * s) -> conv8 of other steps, s above 0 for each channel.

    What keeps its shape under a factor is done after it, so that the factor is in the steps. A clip in between goes
    where codes have that limit by themselves, or where it is at 0. All else is multiplied when it is done.
    """
    factor = draft.made_by(op.x, d.Affine) if isinstance(op, c.Quantize) else None
    below = None if factor is None else draft.made_by(factor.x, c.Product8)
    if factor is None or below is None or below.out in draft.codes:
        return False
    if factor.activation != d.NONE or factor.shift.any() or factor.scale.min() <= 0:
        return False
    after = None if below.residual >= 0 else _under_factor(below.activation, factor.scale, draft.codes[op.out])
    if after is None:
        draft.swap([below, factor, op], replace(below, out=op.out, factor=factor.scale))
        return True
    shift = below.shift
    if below.bias is not None:
        shift = below.bias.astype(np.float32) * np.float32(below.x_codes.scale) * below.weight_scale
    new = replace(
        below,
        out=op.out,
        weight_scale=below.weight_scale * factor.scale,
        bias=None,
        shift=None if shift is None else shift * factor.scale,
        activation=after,
    )
    draft.swap([below, factor, op], new)
    return True


def _under_factor(activation: d.Activation, factor: d.Floats, codes: d.Codes) -> d.Activation | None:
    """What an activation before codes is after a factor per channel; None where it is another for each."""
    kind, *limits = activation
    if kind != "clip":
        return activation if kind in ("none", "relu", "leaky") else None
    steps, zero = factor / np.float32(codes.scale), codes.zero
    if (limits[1] * steps).min() + zero < 255 or (limits[0] != 0 and (limits[0] * steps).max() + zero > 0):
        return None
    return ("relu",) if limits[0] == 0 else d.NONE


def composed(draft: d.Draft, op: d.Op) -> bool:
    """table(table(x)), requantize(table(x)) and table(requantize(x)) -> one table."""
    if not isinstance(op, (c.Table8, c.Requantize)):
        return False
    below = draft.producer.get(op.x)
    if not isinstance(below, (c.Table8, c.Requantize)) or draft.uses[op.x] != 1:
        return False
    draft.swap([below, op], c.Table8(x=below.x, out=op.out, table=_as_table(draft, op)[_as_table(draft, below)]))
    return True


def _as_table(draft: d.Draft, op: c.Table8 | c.Requantize) -> c.Bytes:
    if isinstance(op, c.Table8):
        return op.table
    return quantized(dequantized(np.arange(256, dtype=np.uint8), op.x_codes), draft.codes[op.out])


def looked_up(draft: d.Draft, op: d.Op) -> bool:
    """table(conv8(x)), requantize(conv8(x)) -> conv8 that looks its codes up."""
    if not isinstance(op, (c.Table8, c.Requantize)):
        return False
    below = draft.made_by(op.x, c.Product8)
    if below is None or below.table is not None or below.out not in draft.codes:
        return False
    draft.swap([below, op], replace(below, out=op.out, table=_as_table(draft, op), rounded=draft.codes[below.out]))
    return True


def binary(draft: d.Draft, op: d.Op) -> bool:
    """quantize(dequantize(a) + dequantize(b)) -> binary8(a, b), for any arithmetic."""
    below = draft.made_by(op.x, d.Binary) if isinstance(op, c.Quantize) else None
    if below is None:
        return False
    a, b = (draft.made_by(x, c.Dequantize, alone=False) for x in (below.a, below.b))
    if a is None or b is None or draft.maps[a.x] != draft.maps[below.out]:
        if below.kind not in ("add", "mul") or a is None or b is None or draft.maps[b.x] != draft.maps[below.out]:
            return False
        a, b = b, a  # the whole map first
    full, part = draft.maps[a.x], draft.maps[b.x]
    if part.channels != full.channels or not all(n in (1, m) for n, m in zip(part[:2], full[:2], strict=True)):
        return False
    new = c.Binary8(
        a=a.x, b=b.x, a_codes=a.x_codes, b_codes=b.x_codes, out=op.out, kind=below.kind, activation=below.activation
    )
    draft.swap([below, op], new)
    draft.sweep()
    return True


def added(draft: d.Draft, op: d.Op) -> bool:
    """binary8(conv8(x), y) that adds -> conv8 with a residual, its own result rounded to codes in between."""
    if not isinstance(op, c.Binary8) or op.kind != "add" or op.a == op.b:
        return False
    if draft.maps[op.a] != draft.maps[op.b]:
        return False
    candidates = []
    for x, codes, other, other_codes in ((op.a, op.a_codes, op.b, op.b_codes), (op.b, op.b_codes, op.a, op.a_codes)):
        below = draft.made_by(x, c.Conv8)
        if (
            below is not None
            and below.residual < 0
            and below.table is None
            and below.factor is None
            and draft.codes[x] == codes
        ):
            candidates.append((draft.ops.index(below), below, codes, other, other_codes))
    if not candidates:
        return False
    _, below, codes, other, other_codes = max(candidates, key=lambda candidate: candidate[0])
    new = replace(
        below,
        out=op.out,
        residual=other,
        residual_codes=other_codes,
        between=codes,
        activation_after=op.activation,
    )
    draft.swap([below, op], new)
    return True


def averaged(draft: d.Draft, op: d.Op) -> bool:
    """quantize(mean(dequantize(x))) -> mean of codes."""
    below = draft.producer.get(op.x) if isinstance(op, c.Quantize) else None
    if not isinstance(below, (d.AveragePool, d.GlobalPool)) or draft.uses[below.out] != 1:
        return False
    first = draft.made_by(below.x, c.Dequantize, alone=False)
    if first is None or (isinstance(below, d.GlobalPool) and below.kind != "avg"):
        return False
    whole_map = draft.maps[below.x]
    pixels = whole_map.height * whole_map.width if isinstance(below, d.GlobalPool) else prod(below.kernel)
    if 255 * pixels >= 2**31:
        return False  # sums of more than 32 bits
    new: d.Op
    if isinstance(below, d.GlobalPool):
        new = c.GlobalPool8(x=first.x, x_codes=first.x_codes, out=op.out)
    else:
        new = c.AveragePool8(
            x=first.x,
            x_codes=first.x_codes,
            out=op.out,
            kernel=below.kernel,
            strides=below.strides,
            pads=below.pads,
            pads_end=below.pads_end,
            dilations=below.dilations,
            count_include_pad=below.count_include_pad,
        )
    draft.swap([below, op], new)
    draft.sweep()
    return True


def table(draft: d.Draft, op: d.Op) -> bool:
    """quantize(f(dequantize(x))) -> a table of 256 codes, f any function of one element."""
    found = origin(draft, op) if isinstance(op, c.Quantize) else None
    if found is None:
        return False
    x, gone = found
    new = c.Table8(x=x, out=op.out, table=worked_out(draft, op.out, x, gone), nodes=op.nodes)
    alone = [below for below in gone if isinstance(below, (d.Unary, d.Affine, d.Binary, d.BinaryConstant))]
    new.nodes = new.nodes.union(*(below.nodes for below in alone))
    draft.put([op], [new])
    draft.sweep()
    return True
