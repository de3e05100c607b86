"""MaxPool, AveragePool and their global forms, one axis at a time.

A maximum is off by no more than the largest error in its window. A mean's errors may be shared by its pixels: standard
deviations add up.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from reconv.exchange.float64.call import Call
from reconv.exchange.float64.value import Array, Value, magnitude, noise_like, per_channel, summed
from reconv.exchange.float64.window import Window, padded, read_window

__all__ = ["average_pool", "global_average_pool", "global_max_pool", "max_pool"]


def max_pool(call: Call) -> tuple[Value, ...]:
    x = call.value(0)
    if len([name for name in call.node.outputs if name]) > 1:
        raise call.unknown("indices")
    if not x.is_float:
        raise call.unknown(f"elements of type {x.array.dtype}")
    window = _window(call, x.array.shape[2:])
    y = _slid(padded(x.array, window, -np.inf), window, np.maximum)
    error2 = None if x.error2 is None else _slid(padded(x.error2, window, 0.0), window, np.maximum)
    return (Value(y, error2, per_channel(noise_like(x))),)


def average_pool(call: Call) -> tuple[Value, ...]:
    x = call.value(0)
    window = _window(call, x.array.shape[2:])
    counts = _counts(window, x.array.shape[2:], bool(call.get("count_include_pad", 0)))
    y = _slid(padded(x.array, window, 0.0), window, np.add) / counts
    error2 = None
    if x.error2 is not None:
        error2 = np.square(_slid(padded(np.sqrt(x.error2), window, 0.0), window, np.add) / counts)
    return (Value(y, error2, _mean_noise(x, prod(window.kernel))),)


def global_average_pool(call: Call) -> tuple[Value, ...]:
    x = call.value(0)
    space = tuple(range(2, x.array.ndim))
    y = x.array.mean(axis=space, keepdims=True)
    error2 = None if x.error2 is None else np.square(np.sqrt(x.error2).mean(axis=space, keepdims=True))
    return (Value(y, error2, _mean_noise(x, prod(x.array.shape[2:]))),)


def global_max_pool(call: Call) -> tuple[Value, ...]:
    x = call.value(0)
    space = tuple(range(2, x.array.ndim))
    error2 = None if x.error2 is None else x.error2.max(axis=space, keepdims=True)
    return (Value(x.array.max(axis=space, keepdims=True), error2, per_channel(noise_like(x))),)


def _mean_noise(x: Value, terms: int) -> Array:
    """Of means of so many pixels of one channel."""
    return per_channel(noise_like(x)) + summed(terms, per_channel(magnitude(x.array)))


def _window(call: Call, size: tuple[int, ...]) -> Window:
    window = read_window(call, size, call.ints("kernel_shape") or ())
    if any(max(b, e) >= n for b, e, n in zip(window.begins, window.ends, window.reach, strict=True)):
        raise call.unknown("a window that sees only padding")
    return window


def _slid(x: Array, window: Window, join: Callable[[Array, Array], Array]) -> Array:
    """Every window's taps joined: along one axis, then along the next."""
    for axis, (kernel, s, d, count) in enumerate(
        zip(window.kernel, window.strides, window.dilations, window.sizes, strict=True), start=2
    ):
        whole = (slice(None),) * axis
        taps = [x[(*whole, slice(k * d, k * d + (count - 1) * s + 1, s))] for k in range(kernel)]
        joined = taps[0]
        for tap in taps[1:]:
            joined = join(joined, tap)
        x = joined
    return x


def _counts(window: Window, size: tuple[int, ...], with_padding: bool) -> Array:
    """How many pixels each window counts: those of the map, or also those of its padding."""
    counts = np.ones(())
    for axis, n in enumerate(size):
        at = np.arange(window.sizes[axis])[:, None] * window.strides[axis] - window.begins[axis]
        at = at + np.arange(window.kernel[axis]) * window.dilations[axis]
        low, high = (-window.begins[axis], n + window.ends[axis]) if with_padding else (0, n)
        counts = np.multiply.outer(counts, ((at >= low) & (at < high)).sum(axis=1))
    return counts
