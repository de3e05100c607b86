"""Write a finished draft into a core plan.

Maps get their ids in the order of the ops; write views are made when the first op needs them; a transposed convolution
becomes one convolution per phase, or one for all phases with a pixel shuffle behind it (below).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import gcd

import numpy as np

from reconv import _core
from reconv.engine.lower import draft as d
from reconv.engine.lower import draft_codes as c
from reconv.engine.lower import emit_codes
from reconv.engine.lower.builder import Array
from reconv.engine.lower.place import Placement

__all__ = ["Emitter", "as_conv", "phases", "together_is_cheaper", "union"]


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
            if x not in self.placement and x in self.draft.codes:
                self.maps[x] = self.plan.map8(height, width, channels, self.draft.codes[x].zero)
            elif x not in self.placement:
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
            return [plan.join(out, [self.map(part) for part, _ in op.parts])]
        if isinstance(op, d.Transposed):
            return self._transposed(op, out)
        if isinstance(op, (d.Transposed, c.Transposed8)):
            return self._transposed(op, out)
        if isinstance(op, emit_codes.OPS):
            return [
                emit_codes.append(self.plan, op, [self.map(x) for x in op.reads], out, self.draft.codes.get(op.out))
            ]
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

    def _transposed(self, op: d.Transposed | c.Transposed8, out: int) -> list[int]:
        height, width, _ = self.draft.maps[op.out]
        weight = as_conv(op.weight, op.groups) if isinstance(op, d.Transposed) else op.weight
        rows, columns = (
            list(phases(weight.shape[2 + i], op.strides[i], op.pads[i], op.dilations[i], (height, width)[i]))
            for i in range(2)
        )
        if (
            isinstance(op, d.Transposed)
            and op.groups == 1
            and together_is_cheaper(rows, columns, weight.shape[0], weight.shape[1])
        ):
            return self._together(op, out, weight, rows, columns)
        found, parts = [], []
        single = len(rows) * len(columns) == 1
        for row in rows:
            for column in columns:
                view = out
                if not single:
                    view = self.plan.phase_of(out, op.strides, (row.phase, column.phase))
                    parts.append(view)
                part = np.zeros((*weight.shape[:2], max(1, len(row.taps)), max(1, len(column.taps))), weight.dtype)
                if len(row.taps) and len(column.taps):
                    part[:] = weight[:, :, row.taps][:, :, :, column.taps]
                pads, dilations = (row.pad, column.pad), (row.dilation, column.dilation)
                found.append(self._phase(op, view, part, pads, dilations))
        if not single:
            found.append(self.plan.join(out, parts))
        return found

    def _phase(self, op: d.Transposed | c.Transposed8, out: int, weight: Array, pads: d.Pair, dilations: d.Pair) -> int:
        """A plain convolution for one phase."""
        x, ones = self.map(op.x), (1, 1)
        if isinstance(op, d.Transposed):
            return self.plan.conv(x, out, weight, op.bias, ones, pads, dilations, op.groups, op.activation)
        plain = replace(op, weight=weight, strides=ones, pads=pads, dilations=dilations)
        return emit_codes.append(self.plan, plain, [x], out, self.draft.codes.get(op.out))

    def _together(
        self, op: d.Transposed, out: int, weight: Array, rows: list[Phase], columns: list[Phase]
    ) -> list[int]:
        """All phases as the channels of one convolution over the union of their windows, and a pixel shuffle.

        It counts as the multiply-adds of the transposed convolution: the zeros where a phase has no tap do not count.
        """
        height, width, channels = self.draft.maps[op.out]
        (top, tall), (left, wide) = union(rows), union(columns)
        count = len(rows) * len(columns)
        whole = np.zeros((count, channels, weight.shape[1], tall, wide), np.float32)
        for i, row in enumerate(rows):
            for j, column in enumerate(columns):
                for tap_y, at_y in zip(row.taps, row.reads, strict=True):
                    for tap_x, at_x in zip(column.taps, column.reads, strict=True):
                        whole[i * len(columns) + j, :, :, at_y - top, at_x - left] = weight[:, :, tap_y, tap_x]
        blocks = (-(-height // len(rows)), -(-width // len(columns)))
        shuffled = self.plan.map(*blocks, count * channels)
        kind, *arguments = op.activation
        done = self.plan.conv(
            self.map(op.x),
            shuffled,
            whole.reshape(count * channels, weight.shape[1], tall, wide),
            None if op.bias is None else np.tile(op.bias, count),
            (1, 1),
            (-top, -left),
            (1, 1),
            1,
            (kind, np.tile(arguments[0], count)) if kind == "prelu" else op.activation,
            macs=int(weight.size),
        )
        numbers = np.arange(blocks[0] * blocks[1] * count * channels, dtype=np.int32)
        index = numbers.reshape(*blocks, len(rows), len(columns), channels).transpose(0, 2, 1, 3, 4)
        index = index.reshape(blocks[0] * len(rows), blocks[1] * len(columns), channels)[:height, :width]
        return [done, self.plan.gather(shuffled, out, np.ascontiguousarray(index), 0.0)]


@dataclass(frozen=True)
class Phase:
    """One phase of a transposed convolution along one axis: a plain convolution with these of the kernel's taps."""

    phase: int
    taps: list[int]
    pad: int
    dilation: int

    @property
    def reads(self) -> list[int]:
        """What each tap reads, relative to the output's place in the phase."""
        return [self.dilation * i - self.pad for i in range(len(self.taps))]


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


def union(line: list[Phase]) -> tuple[int, int]:
    """First place and length of the window that holds the windows of all phases."""
    reads = [at for phase in line for at in phase.reads] or [0]
    return min(reads), max(reads) - min(reads) + 1


def together_is_cheaper(rows: list[Phase], columns: list[Phase], channels: int, inputs: int) -> bool:
    """Whether one convolution for all phases costs less than one for each, in vectors of 16 output channels.

    With few channels most of each vector is idle in a phase of its own; zeros where a phase has no tap and the pixel
    shuffle are what it costs.
    """
    count = len(rows) * len(columns)
    apart = sum(max(1, len(row.taps)) * max(1, len(column.taps)) for row in rows for column in columns)
    together = union(rows)[1] * union(columns)[1]
    shuffle = count * channels
    return inputs * together * -(-count * channels // 16) + shuffle < inputs * apart * -(-channels // 16)


def as_conv(weight: Array, groups: int) -> Array:
    """(Cin, Cout / groups, kh, kw) -> (Cout, Cin / groups, kh, kw)."""
    inputs, columns, height, width = weight.shape
    grouped = weight.reshape(groups, inputs // groups, columns, height, width).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(grouped.reshape(groups * columns, inputs // groups, height, width))
