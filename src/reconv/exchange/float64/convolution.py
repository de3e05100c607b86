"""Conv and ConvTranspose of any number of axes, as matrix products over gathered windows.

With weights w and inputs x whose squared errors are e2(w) and e2(x), in units of u²:

    e2(y) = Σ x² e2(w) + K Σ w² e2(x) + e2(bias)

where K is the number of taps: channels have errors of their own, the taps of one channel may share theirs, and
(Σ_k a_k)² <= K Σ_k a_k². Noise is per output channel: from the largest magnitude of every input channel, and the sum of
the magnitudes of the weights between the two.
"""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from reconv.exchange.float64.call import Call, text
from reconv.exchange.float64.value import Array, Value, add_errors, magnitude, noise_like, per_channel, summed
from reconv.exchange.float64.window import Window, padded, read_window, steps

__all__ = ["conv", "conv_transpose"]


def conv(call: Call) -> tuple[Value, ...]:
    x, w = call.value(0), call.value(1)
    groups = int(call.get("group", 1))
    outer, inner, *kernel = w.array.shape
    if x.array.ndim != w.array.ndim or x.array.shape[1] != inner * groups or outer % groups:
        raise call.unknown(f"weights {w.array.shape} in {groups} groups over {x.array.shape}")
    window = read_window(call, x.array.shape[2:], tuple(kernel))
    y = _correlated(x.array, w.array, window, groups)
    of_weight = None if w.error2 is None else _correlated(np.square(x.array), w.error2, window, groups)
    of_input = None
    if x.error2 is not None:
        of_input = prod(kernel) * _correlated(x.error2, np.square(w.array), window, groups)
    parts = (a.reshape(groups, outer // groups, inner, -1).sum(axis=3) for a in (magnitude(w.array), noise_like(w)))
    noise = _noise(x, *parts, terms=inner * prod(kernel))
    return (_with_bias(call, Value(y, add_errors(of_weight, of_input), noise)),)


def conv_transpose(call: Call) -> tuple[Value, ...]:
    x, w = call.value(0), call.value(1)
    groups = int(call.get("group", 1))
    inner, outer, *kernel = w.array.shape
    if x.array.ndim != w.array.ndim or x.array.shape[1] != inner or inner % groups:
        raise call.unknown(f"weights {w.array.shape} in {groups} groups over {x.array.shape}")
    window, more = _transposed_window(call, x.array.shape[2:], tuple(kernel))

    def spread(maps: Array, weights: Array) -> Array:
        """Every input pixel times the whole kernel, added up where they land."""
        n, c, *size = maps.shape
        flat = weights.reshape(groups, inner // groups, outer * prod(kernel)).swapaxes(1, 2)
        taps = np.matmul(flat, maps.reshape(n, groups, c // groups, prod(size)))
        taps = taps.reshape(n, groups * outer, *kernel, *size)
        full = [
            max((count - 1) * s + reach + add, begin + out)
            for count, s, reach, add, begin, out in zip(
                size, window.strides, window.reach, more, window.begins, window.sizes, strict=True
            )
        ]
        total = np.zeros((n, groups * outer, *full))
        for tap in np.ndindex(*kernel):
            place = tuple(
                slice(t * d, t * d + (count - 1) * s + 1, s)
                for t, d, s, count in zip(tap, window.dilations, window.strides, size, strict=True)
            )
            total[(slice(None), slice(None), *place)] += taps[(slice(None), slice(None), *tap)]
        kept = tuple(slice(b, b + out) for b, out in zip(window.begins, window.sizes, strict=True))
        return total[(slice(None), slice(None), *kept)]

    y = spread(x.array, w.array)
    of_weight = None if w.error2 is None else spread(np.square(x.array), w.error2)
    of_input = None if x.error2 is None else prod(kernel) * spread(x.error2, np.square(w.array))
    split = (groups, inner // groups, outer, -1)
    parts = (a.reshape(split).sum(axis=3).swapaxes(1, 2) for a in (magnitude(w.array), noise_like(w)))
    noise = _noise(x, *parts, terms=inner // groups * prod(kernel))
    return (_with_bias(call, Value(y, add_errors(of_weight, of_input), noise)),)


def _noise(x: Value, weights: Array, noise: Array, *, terms: int) -> Array:
    """Noise of sums of so many terms, (1, Cout, 1, ...).

    weights, noise: (groups, Cout / groups, Cin / groups), magnitudes and noise of the weights summed over the kernel.
    """
    most = per_channel(magnitude(x.array)).reshape(weights.shape[0], -1, 1)
    each = per_channel(noise_like(x)).reshape(most.shape) + summed(terms, most)
    return np.asarray((weights @ each + noise @ most).reshape(1, -1, *(1,) * (x.array.ndim - 2)))


def _with_bias(call: Call, y: Value) -> Value:
    bias = call.optional(2)
    if bias is None:
        return y
    shape = (-1, *(1,) * (y.array.ndim - 2))
    error2 = y.error2
    if bias.error2 is not None:
        error2 = (0.0 if error2 is None else error2) + np.broadcast_to(bias.error2.reshape(shape), y.array.shape)
    array = y.array + bias.array.reshape(shape)
    noise = y.noise + noise_like(bias).reshape(shape) + summed(1, per_channel(magnitude(array)))
    return Value(array, error2, noise)


def _correlated(x: Array, weight: Array, window: Window, groups: int) -> Array:
    """The convolution itself: (N, C, size...) with (Cout, C / groups, k...) to (N, Cout, sizes...)."""
    n, c = x.shape[:2]
    outer, inner = weight.shape[:2]
    taps = _taps(x, window)
    if inner == 1 and groups > 1:  # a product per channel is too small for a matrix
        split = weight.reshape(1, groups, outer // groups, *window.kernel, *(1,) * len(window.sizes))
        total = np.zeros((n, groups, outer // groups, *window.sizes))
        for tap in np.ndindex(*window.kernel):
            total += split[(slice(None), slice(None), slice(None), *tap)] * taps[(slice(None), slice(None), None, *tap)]
        return total.reshape(n, outer, *window.sizes)
    columns = taps.reshape(n, groups, c // groups * prod(window.kernel), prod(window.sizes))
    rows = weight.reshape(groups, outer // groups, inner * prod(window.kernel))
    y: Array = np.matmul(rows, columns).reshape(n, outer, *window.sizes)
    return y


def _taps(x: Array, window: Window) -> Array:
    """(N, C, kernel..., sizes...): what every tap reads, as a view of the padded map."""
    x = padded(x, window, 0.0)
    axes = len(window.kernel)
    if prod(window.reach) > 1:
        x = sliding_window_view(x, window.reach, axis=tuple(range(2, x.ndim)))
    else:
        x = x.reshape(*x.shape, *window.kernel)
    steps = (slice(None, None, s) for s in window.strides)
    taps = (slice(None, None, d) for d in window.dilations)
    x = x[(slice(None), slice(None), *steps, *taps)]
    return x.transpose(0, 1, *range(2 + axes, 2 + 2 * axes), *range(2, 2 + axes))


def _transposed_window(call: Call, size: tuple[int, ...], kernel: tuple[int, ...]) -> tuple[Window, tuple[int, ...]]:
    """The windows of the convolution that this one transposes, ``sizes`` being its result's; and output_padding."""
    space = len(kernel)
    strides, dilations = steps(call, kernel)
    more = call.ints("output_padding") or (0,) * space
    pads = call.ints("pads") or (0,) * (2 * space)
    wanted = call.ints("output_shape")
    auto = text(call.get("auto_pad", "NOTSET"))
    begins, ends, sizes = [], [], []
    for axis, (n, k, s, d) in enumerate(zip(size, kernel, strides, dilations, strict=True)):
        full = (n - 1) * s + (k - 1) * d + 1 + more[axis]
        begin, end = (0, 0) if auto == "VALID" else (pads[axis], pads[axis + space])
        if wanted is not None or auto.startswith("SAME"):
            out = n * s if wanted is None else wanted[axis - space]
            total = max(full - out, 0)
            begin = total // 2 if auto == "SAME_UPPER" else total - total // 2
            end = total - begin
        else:
            out = full - begin - end
        if out < 1 or begin < 0:
            raise call.unknown(f"a result of {out} pixels")
        begins.append(begin)
        ends.append(end)
        sizes.append(out)
    window = Window(kernel, strides, dilations, tuple(begins), tuple(ends), (0,) * space, tuple(sizes))
    return window, more
