"""ReduceMean, ReduceSum, ReduceMax and ReduceMin. The errors of a sum may be shared: standard deviations add up."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from reconv.exchange.float64.call import Call, Op
from reconv.exchange.float64.value import Array, Value, magnitude, noise_like, summed

__all__ = ["REDUCTIONS"]


def _axes(call: Call, axes_since: int, rank: int) -> tuple[int, ...]:
    """Axes are an attribute before the opset ``axes_since`` and an input since."""
    axes = call.ints("axes", 1 if call.opset >= axes_since else None)
    if not axes:
        return () if call.get("noop_with_empty_axes", 0) else tuple(range(rank))
    return tuple(axis % rank for axis in axes)


def _reduction(function: Callable[..., Array], axes_since: int, *, linear: bool) -> Op:
    def op(call: Call) -> tuple[Value, ...]:
        x = call.value(0)
        axes = _axes(call, axes_since, x.array.ndim)
        if not axes:
            return (x,)
        keep = bool(call.get("keepdims", 1))
        y = function(x.array, axis=axes, keepdims=keep)
        if not x.is_float:
            return (Value(np.asarray(y, x.array.dtype)),)
        y = np.asarray(y)
        terms = x.array.size // max(y.size, 1)
        error2 = None
        if x.error2 is not None:
            if linear:
                error2 = np.square(np.asarray(function(np.sqrt(x.error2), axis=axes, keepdims=keep)))
            else:
                error2 = np.asarray(x.error2.max(axis=axes, keepdims=keep))
        if linear:
            noise = function(noise_like(x) + summed(terms, magnitude(x.array)), axis=axes, keepdims=keep)
        else:
            noise = noise_like(x).max(axis=axes, keepdims=keep)
        return (Value(y, error2, np.asarray(noise)),)

    return op


REDUCTIONS: dict[str, Op] = {
    "ReduceMax": _reduction(np.max, 18, linear=False),
    "ReduceMean": _reduction(np.mean, 18, linear=True),
    "ReduceMin": _reduction(np.min, 18, linear=False),
    "ReduceSum": _reduction(np.sum, 13, linear=True),
}
