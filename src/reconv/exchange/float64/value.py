"""A value of the float64 evaluator, with what is known of its error, and how errors pass through functions.

A rewrite's new constants were computed in double precision and rounded once to float32, so that each is off by an
independent relative error of at most u = 2^-24. To first order the error of a result is then a sum of independent
terms, whose variance adds up: ``error2`` holds it for every element, in units of u². How far such a sum strays from
zero is bounded with high probability by a small multiple λ of its standard deviation, where the worst case would grow
with the number of terms (Higham and Mary, A new approach to probabilistic rounding error analysis, SIAM J. Sci.
Comput. 41, 2019). λ is `SPREAD` = 8 here: an error is at most u and u/√3 on average, so that 8 u is 14 standard
deviations; what is left over covers errors that are not quite independent.

Errors that pixels share (those of a convolution's weights, which act on every pixel) add up without cancelling when
pixels are summed: sums over space add standard deviations, sums over channels add variances.

``noise`` bounds the float64 rounding of the evaluation itself: λ √n 2^-53 times the sum of the magnitudes for a sum of
n terms. It is an array that broadcasts to the value's shape: an element has its own, or all that a channel (axis 1)
holds have one, so that nothing large hides what is wrong in a small channel beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import sqrt
from typing import Any

import numpy as np

__all__ = [
    "DOUBLE",
    "SPREAD",
    "UNIT",
    "Array",
    "Value",
    "add_errors",
    "exact",
    "known",
    "magnitude",
    "noise_like",
    "per_channel",
    "rounded",
    "stepped",
    "summed",
]

Array = np.ndarray[Any, Any]

UNIT = 2.0**-24  # of float32: the largest relative error of one rounding
DOUBLE = 2.0**-53  # the same of float64
SPREAD = 8.0  # λ
_SMALLEST_NORMAL = 2.0**-126  # below it, rounding errors do not shrink any further


@dataclass(frozen=True, eq=False)
class Value:
    """``array`` in float64 (integers and booleans as they are), ``error2`` of its shape or None where it is exact.

    ``noise`` broadcasts to the shape of ``array``.
    """

    array: Array
    error2: Array | None = None
    noise: Array = field(default_factory=lambda: np.zeros(()))

    @property
    def is_float(self) -> bool:
        return bool(self.array.dtype.kind == "f")


def exact(array: Array) -> Value:
    """A given array: what it holds is what is meant."""
    array = np.asarray(array)
    return Value(array.astype(np.float64) if array.dtype.kind == "f" else array)


def rounded(array: Array) -> Value:
    """A constant that was rounded once to float32."""
    value = exact(array)
    if not value.is_float:
        return value
    return Value(value.array, np.square(np.maximum(np.abs(value.array), _SMALLEST_NORMAL)))


def known(value: Value) -> Array:
    """``error2``, zeros where there is none."""
    return np.zeros(value.array.shape) if value.error2 is None else value.error2


def magnitude(array: Array) -> Array:
    """|x| of every element, 0 for those that are not finite."""
    size = np.abs(array)
    return np.where(np.isfinite(size), size, 0.0)


def per_channel(array: Array) -> Array:
    """The largest of each channel (axis 1), of an array without NaN that is not negative: (1, C, 1, ...)."""
    if array.ndim < 2:
        return np.asarray(array.max(initial=0.0))
    axes = tuple(axis for axis in range(array.ndim) if axis != 1)
    return np.asarray(array.max(axis=axes, keepdims=True, initial=0.0))


def noise_like(value: Value) -> Array:
    """The noise in the shape of the value."""
    return np.broadcast_to(value.noise, value.array.shape)


def summed(terms: int, size: Array) -> Array:
    """Noise of a sum of so many terms whose magnitudes add up to ``size``."""
    return np.asarray(SPREAD * sqrt(max(terms, 1)) * DOUBLE * size)


def add_errors(*parts: Array | None) -> Array | None:
    """Variances of independent errors that add up; None where all parts are exact."""
    total: Array | None = None
    for part in parts:
        if part is not None:
            total = part if total is None else total + part
    return total


def stepped(function: Callable[[Array], Array], x: Value) -> Value:
    """An elementwise function of a value.

    The error is what the function does over the whole distance of λ standard deviations to both sides, not a
    derivative: that also holds at a kink, and at the zero of a root.
    """
    y = function(x.array)
    if not x.is_float or y.dtype.kind != "f":
        return Value(y)
    own = 4 * DOUBLE * (magnitude(y) + magnitude(x.array))  # what cancels in between is no larger than x, as in Gelu
    if x.error2 is None and not x.noise.any():
        return Value(y, None, own)
    distance = x.noise if x.error2 is None else SPREAD * UNIT * np.sqrt(x.error2) + x.noise
    change = np.fmax(np.abs(function(x.array + distance) - y), np.abs(function(x.array - distance) - y))
    if x.error2 is None:
        return Value(y, None, own + magnitude(change))
    return Value(y, np.square(change / (SPREAD * UNIT)), own)
