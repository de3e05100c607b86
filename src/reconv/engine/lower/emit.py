"""Write a finished draft into a core plan.

Maps get their ids in the order of the ops; write views are made when the first op needs them; a transposed convolution
becomes one convolution per phase (below).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import gcd

import numpy as np

from reconv import _core
from reconv.engine.lower import draft as d
from reconv.engine.lower.builder import Array
from reconv.engine.lower.place import Placement

__all__ = ["Emitter", "phases"]


@dataclass(eq=False)
class Emitter:
    """``maps`` takes a map of the draft to its id in the plan, ``indices`` an op's place in the draft to the plan's."""

    draft: d.Draft
    placement: Placement
    plan: _core.Plan
    maps: dict[int, int] = field(default_factory=dict)

    def map(self, x: int) -> int:
        """The plan's id of a map of the draft, made now if it is new."""
        if x not in self.maps:
            height, width, channels = self.draft.maps[x]
            if x not in self.placement:
                self.maps[x] = self.plan.map(height, width, channels)
            else:
                parent, where = self.placement[x]
                if isinstance(where, d.Channels):
                    self.maps[x] = self.plan.part_of(self.map(parent), where.first, where.count)
                else:
                    self.maps[x] = self.plan.pixels_of(self.map(parent), where.first, where.height, where.width)
        return self.maps[x]

    def op(self, op: d.Op) -> list[int]:
        """Append one op; the plan's indices of what it became."""
        plan = self.plan
        if isinstance(op, d.View):
            self.maps[op.out] = plan.channels_of(self.map(op.x), op.first, self.draft.maps[op.out].channels)
            return []
        out = self.map(op.out)
        if isinstance(op, d.Assemble):
            plan.join(out, [self.map(part) for part, _ in op.parts])
            return []
        if isinstance(op, d.Transposed):
            return self._transposed(op, out)
        if isinstance(op, d.Binary):
            return [plan.binary(self.map(op.a), self.map(op.b), out, op.kind, op.activation)]
        x = self.map(op.reads[0])
        return [self._one(op, x, out)]

    def _one(self, op: d.Op, x: int, out: int) -> int:
        plan = self.plan
        match op:
            case d.Conv():
                return plan.conv(
                    x,
                    out,
                    op.weight,
                    op.bias,
                    op.strides,
                    op.pads,
                    op.dilations,
                    op.groups,
                    op.activation,
                    self.map(op.residual) if op.residual >= 0 else -1,
                    op.activation_after,
                    True,
                )
            case d.MaxPool():
                return plan.max_pool(x, out, op.kernel, op.strides, op.pads, op.dilations)
            case d.AveragePool():
                return plan.average_pool(
                    x, out, op.kernel, op.strides, op.pads, op.pads_end, op.dilations, op.count_include_pad
                )
            case d.GlobalPool():
                return plan.global_pool(x, out, op.kind, True)  # type: ignore[arg-type]  # one of the three
            case d.Unary():
                return plan.unary(x, out, op.activation)
            case d.Affine():
                return plan.affine(x, out, op.scale, op.shift, op.activation)
            case d.BinaryConstant():
                return plan.binary_constant(x, out, op.kind, op.constant, op.constant_first, op.activation)
            case d.Resize():
                return plan.resize(x, out, op.y0, op.y1, op.wy, op.x0, op.x1, op.wx)
            case d.Gather():
                return plan.gather(x, out, op.index, op.fill)
            case d.Pick() | d.Pad():
                index, fill = self._index(op)
                return plan.gather(x, out, index, fill)
            case d.Copy():
                return plan.copy(x, out)
            case d.Softmax():
                return plan.softmax(x, out)
        raise AssertionError(f"no such op: {op}")

    def _index(self, op: d.Pick | d.Pad) -> tuple[d.Ints, float]:
        source, target = self.draft.maps[op.x], self.draft.maps[op.out]
        numbers = np.arange(source.size, dtype=np.int32).reshape(source)
        if isinstance(op, d.Pick):
            rows = op.start[0] + op.steps[0] * np.arange(target.height)
            columns = op.start[1] + op.steps[1] * np.arange(target.width)
            return np.ascontiguousarray(numbers[rows[:, None], columns]), 0.0
        index = np.full(target, -1, np.int32)
        index[op.before[0] :, op.before[1] :][: source.height, : source.width] = numbers
        return index, op.fill

    def _transposed(self, op: d.Transposed, out: int) -> list[int]:
        height, width, _ = self.draft.maps[op.out]
        weight = _as_conv(op.weight, op.groups)
        found, parts = [], []
        axes = [
            list(phases(op.weight.shape[2 + i], op.strides[i], op.pads[i], op.dilations[i], (height, width)[i]))
            for i in range(2)
        ]
        single = len(axes[0]) * len(axes[1]) == 1
        for row in axes[0]:
            for column in axes[1]:
                view = out
                if not single:
                    view = self.plan.phase_of(out, op.strides, (row.phase, column.phase))
                    parts.append(view)
                part = np.zeros((*weight.shape[:2], max(1, len(row.taps)), max(1, len(column.taps))), np.float32)
                if len(row.taps) and len(column.taps):
                    part[:] = weight[:, :, row.taps][:, :, :, column.taps]
                index = self.plan.conv(
                    self.map(op.x),
                    view,
                    part,
                    op.bias,
                    (1, 1),
                    (row.pad, column.pad),
                    (row.dilation, column.dilation),
                    op.groups,
                    op.activation,
                    -1,
                    d.NONE,
                    True,
                )
                found.append(index)
        if not single:
            self.plan.join(out, parts)
        return found


@dataclass(frozen=True)
class Phase:
    """One phase of a transposed convolution along one axis: a plain convolution with these of the kernel's taps."""

    phase: int
    taps: list[int]
    pad: int
    dilation: int


def phases(kernel: int, stride: int, pad: int, dilation: int, out: int) -> Iterator[Phase]:
    """The phases along one axis.

    Output ``o = stride * i + dilation * k - pad``. For ``o = phase + stride * q`` the taps with
    ``(phase + pad - dilation * k) % stride == 0`` read ``i = q + (phase + pad - dilation * k) / stride``: a convolution
    over q, its taps in falling order of k, ``dilation / gcd(dilation, stride)`` apart.
    """
    for phase in range(min(stride, out)):
        taps = [k for k in range(kernel) if (phase + pad - dilation * k) % stride == 0][::-1]
        first = (phase + pad - dilation * taps[0]) // stride if taps else 0
        yield Phase(phase, taps, -first, dilation // gcd(dilation, stride))


def _as_conv(weight: Array, groups: int) -> Array:
    """(Cin, Cout / groups, kh, kw) -> (Cout, Cin / groups, kh, kw)."""
    inputs, columns, height, width = weight.shape
    grouped = weight.reshape(groups, inputs // groups, columns, height, width).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(grouped.reshape(groups * columns, inputs // groups, height, width))
