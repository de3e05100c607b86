"""The slow core with maps of 8-bit codes: codes are floats that hold whole numbers, ops are those of the reference."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.oracle import quantized_reference as q
from tests.oracle.slow_core import ARITHMETIC, Array, Op, Pair, State, Threads, Window, _any, activate
from tests.oracle.slow_core import Plan as FloatPlan

__all__ = ["Plan", "State", "Threads"]

NONE = ("none",)


@dataclass
class Plan(FloatPlan):
    zeros: dict[int, int] = field(default_factory=dict)  # of the maps of codes that are no views

    def size(self, x: int) -> tuple[int, int, int]:
        return self.maps[x].size

    def map8(self, height: int, width: int, channels: int, zero: int) -> int:
        x = self.map(height, width, channels)
        self.zeros[x] = zero
        return x

    def _zero(self, x: int) -> int | None:
        """The zero of a map of codes, None of a map of floats."""
        return self.zeros.get(x) if self.maps[x].parent < 0 else self._zero(self.maps[x].parent)

    def quantize(self, x: int, out: int, scale: float, zero: int) -> int:
        assert self._zero(x) is None
        assert self._zero(out) == zero
        return self._local(out, (x,), lambda a: q.quantize(a, (scale, zero)))

    def dequantize(self, x: int, out: int, scale: float, zero: int) -> int:
        assert self._zero(x) is not None
        assert self._zero(out) is None
        return self._local(out, (x,), lambda a: q.dequantize(a, (scale, zero)))

    def requantize(self, x: int, out: int, x_scale: float, x_zero: int, out_scale: float, out_zero: int) -> int:  # noqa: PLR0917
        assert self._zero(out) == out_zero
        return self._local(out, (x,), lambda a: q.quantize(q.dequantize(a, (x_scale, x_zero)), (out_scale, out_zero)))

    def table8(self, x: int, out: int, table: Array) -> int:
        assert table.shape == (256,)
        assert table.dtype == np.uint8
        return self._local(out, (x,), lambda a: table[a.astype(np.int64)])

    def binary8(self, a: int, b: int, out: int, kind: str, *scales: Any) -> int:
        *numbers, activation = scales
        first, second, result = (tuple(numbers[i : i + 2]) for i in (0, 2, 4))
        assert self._zero(out) == result[1]

        def compute(x: Array, y: Array) -> Array:
            real = ARITHMETIC[kind](q.dequantize(x, first), q.dequantize(y, second))
            return q.quantize(activate(real, activation), result)

        return self._local(out, (a, b), compute)

    def conv8(  # noqa: PLR0917
        self,
        x: int,
        out: int,
        weight: Array,
        bias: Array | None,
        weight_scale: Array,
        x_scale: float,
        x_zero: int,
        out_scale: float,
        out_zero: int,
        strides: Pair,
        pads: Pair,
        dilations: Pair,
        groups: int,
        activation: tuple[Any, ...] = NONE,
        shift: Array | None = None,
        residual: int = -1,
        residual_scale: float = 1.0,
        residual_zero: int = 0,
        sum_scale: float = 0.0,
        sum_zero: int = 0,
        activation_after: tuple[Any, ...] = NONE,
        cut: bool = True,
        macs: int = 0,
        table: Array | None = None,
        factor: Array | None = None,
    ) -> int:
        size = self.maps[out].size
        assert self._zero(x) == x_zero
        assert weight.dtype == np.int8
        assert size[2] == len(weight) == len(weight_scale)
        assert residual < 0 or self.maps[residual].size == size
        window = Window(weight.shape[2:], strides, pads, dilations)
        coded = self._zero(out) is not None

        def compute(a: Array, *rest: Array) -> Array:
            total = q.sums(a, x_zero, weight, size[:2], strides=strides, pads=pads, dilations=dilations, groups=groups)
            scales = np.float32(x_scale) * weight_scale
            real = activate(q.reals(total if bias is None else total + bias, scales, shift), activation)
            if rest:
                if sum_scale > 0:
                    between = (sum_scale, sum_zero)
                    real = q.dequantize(q.quantize(real, between), between)
                real = activate(real + q.dequantize(rest[0], (residual_scale, residual_zero)), activation_after)
            if not coded:
                return real
            if factor is not None:
                real = (real * factor).astype(np.float32)
            codes = q.quantize(real, (out_scale, out_zero))
            return codes if table is None else table[codes]

        def spread(stale: Array, *rest: Array) -> Array:
            return _any([tap for _, _, tap in window.taps(stale, size[:2], False)] + list(rest))

        inputs = (x,) if residual < 0 else (x, residual)
        return self._add(Op(out, inputs, compute, spread, cut, size[0] * size[1] * (macs or weight.size)))

    def average_pool8(  # noqa: PLR0917
        self,
        x: int,
        out: int,
        kernel: Pair,
        strides: Pair,
        pads: Pair,
        pads_end: Pair,
        dilations: Pair,
        count_include_pad: bool,
        *scales: Any,
    ) -> int:
        x_scale, x_zero, out_scale, out_zero = scales
        window, size = Window(kernel, strides, pads, dilations), self.maps[out].size[:2]
        height, width, _ = self.maps[x].size
        padded = (
            (height + pads[0] + pads_end[0], width + pads[1] + pads_end[1]) if count_include_pad else (height, width)
        )
        counted = Window(kernel, strides, (0, 0) if count_include_pad else pads, dilations)
        count = np.sum([t for *_, t in counted.taps(np.ones(padded), size, 0.0)], 0)[:, :, None]

        def compute(a: Array) -> Array:
            total = np.sum([t for *_, t in window.taps(a.astype(np.int64) - x_zero, size, 0)], 0)
            return q.quantize(q.mean_real(total, count, x_scale), (out_scale, out_zero))

        return self._add(Op(out, (x,), compute, lambda s: _any([t for *_, t in window.taps(s, size, False)]), True))

    def global_pool8(self, x: int, out: int, *scales: Any) -> int:
        x_scale, x_zero, out_scale, out_zero = scales

        def compute(a: Array) -> Array:
            total = (a.astype(np.int64) - x_zero).sum((0, 1), keepdims=True)
            return q.quantize(q.mean_real(total, a.shape[0] * a.shape[1], x_scale), (out_scale, out_zero))

        return self._add(Op(out, (x,), compute, lambda s: s.any(keepdims=True), True))
