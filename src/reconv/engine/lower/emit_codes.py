"""Write the ops on codes of a finished draft into a core plan: one method of the plan for each."""

from __future__ import annotations

from reconv import _core
from reconv.engine.lower import draft as d
from reconv.engine.lower import draft_codes as c

__all__ = ["OPS", "append"]

OPS = (
    c.AveragePool8,
    c.Binary8,
    c.Dequantize,
    c.GlobalPool8,
    c.Product8,
    c.Quantize,
    c.Requantize,
    c.Table8,
)


def append(plan: _core.Plan, op: d.Op, reads: list[int], out: int, codes: d.Codes | None) -> int:
    """Append one op; ``reads`` are the plan's maps, ``codes`` what the result stands for, None where it is floats."""
    x = reads[0]
    if isinstance(op, c.Product8):
        return _conv(plan, op, reads, out, codes)
    if isinstance(op, c.Dequantize):
        return plan.dequantize(x, out, *op.x_codes)
    if isinstance(op, c.Table8):
        return plan.table8(x, out, op.table)
    assert codes is not None  # only the two above may give floats, or need not know
    match op:
        case c.Quantize():
            return plan.quantize(x, out, *codes)
        case c.Requantize():
            return plan.requantize(x, out, *op.x_codes, *codes)
        case c.GlobalPool8():
            return plan.global_pool8(x, out, *op.x_codes, *codes)
        case c.AveragePool8():
            window = op.kernel, op.strides, op.pads, op.pads_end, op.dilations, op.count_include_pad
            return plan.average_pool8(x, out, *window, *op.x_codes, *codes)
        case c.Binary8():
            scales = *op.a_codes, *op.b_codes, *codes
            return plan.binary8(x, reads[1], out, op.kind, *scales, op.activation)
    raise AssertionError(f"no such op: {op}")


def _conv(plan: _core.Plan, op: c.Product8, reads: list[int], out: int, codes: d.Codes | None) -> int:
    out_codes = op.rounded or codes or d.Codes(1.0, 0)
    between = op.between or d.Codes(0.0, 0)
    return plan.conv8(
        reads[0],
        out,
        op.weight,
        op.bias,
        op.weight_scale,
        op.x_codes.scale,
        op.x_codes.zero,
        out_codes.scale,
        out_codes.zero,
        op.strides,
        op.pads,
        op.dilations,
        op.groups,
        activation=op.activation,
        shift=op.shift,
        residual=reads[1] if op.residual >= 0 else -1,
        residual_scale=op.residual_codes.scale,
        residual_zero=op.residual_codes.zero,
        sum_scale=between.scale,
        sum_zero=between.zero,
        activation_after=op.activation_after,
        table=op.table,
        factor=op.factor,
    )
