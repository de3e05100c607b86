"""Gemm and MatMul. Variances add up along the summed axis: e2(y) = Σ x² e2(w) + Σ e2(x) w²."""

from __future__ import annotations

import numpy as np

from reconv.exchange.float64.call import Call
from reconv.exchange.float64.elementwise import plus
from reconv.exchange.float64.value import Value, add_errors, magnitude, noise_like, summed

__all__ = ["gemm", "matmul"]


def matmul(call: Call) -> tuple[Value, ...]:
    return (_product(call.value(0), call.value(1)),)


def gemm(call: Call) -> tuple[Value, ...]:
    a, b = call.value(0), call.value(1)
    a = _transposed(a) if call.get("transA", 0) else a
    b = _transposed(b) if call.get("transB", 0) else b
    y = _scaled(_product(a, b), float(call.get("alpha", 1.0)))
    bias = call.optional(2)
    return (y if bias is None else plus(y, _scaled(bias, float(call.get("beta", 1.0)))),)


def _product(a: Value, b: Value) -> Value:
    y = np.matmul(a.array, b.array)
    if not a.is_float:
        return Value(y)
    of_a = None if a.error2 is None else np.matmul(a.error2, np.square(b.array))
    of_b = None if b.error2 is None else np.matmul(np.square(a.array), b.error2)
    terms = a.array.shape[-1]
    size_a, size_b = magnitude(a.array), magnitude(b.array)
    noise = np.matmul(size_a, noise_like(b) + summed(terms, size_b))
    if a.noise.any():
        noise = noise + np.matmul(noise_like(a), size_b)
    return Value(y, add_errors(of_a, of_b), noise)


def _transposed(x: Value) -> Value:
    return Value(x.array.T, None if x.error2 is None else x.error2.T, noise_like(x).T)


def _scaled(x: Value, factor: float) -> Value:
    if factor == 1.0:
        return x
    error2 = None if x.error2 is None else x.error2 * factor**2
    return Value(x.array * factor, error2, abs(factor) * (x.noise + summed(1, magnitude(x.array))))
