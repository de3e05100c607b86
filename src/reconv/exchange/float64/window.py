"""Windows that slide over a map: pads and sizes as ONNX defines them for convolutions and poolings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reconv.exchange.float64.call import Call, text
from reconv.exchange.float64.value import Array

__all__ = ["Window", "padded", "read_window", "steps"]


@dataclass(frozen=True)
class Window:
    """Per axis of space. ``extra`` is what ceil_mode lets the last window stick out beyond the padding."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begins: tuple[int, ...]
    ends: tuple[int, ...]
    extra: tuple[int, ...]
    sizes: tuple[int, ...]

    @property
    def reach(self) -> tuple[int, ...]:
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))


def steps(call: Call, kernel: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Strides and dilations, both positive, with their defaults."""
    given = call.ints("kernel_shape")
    if given is not None and given != kernel:
        raise call.unknown(f"kernel_shape {given} and weights of {kernel}")
    ones = (1,) * len(kernel)
    strides, dilations = call.ints("strides") or ones, call.ints("dilations") or ones
    if min(*strides, *dilations, *kernel) < 1:
        raise call.unknown(f"strides {strides}, dilations {dilations} and a kernel of {kernel}")
    return strides, dilations


def read_window(call: Call, size: tuple[int, ...], kernel: tuple[int, ...]) -> Window:
    """The windows of a node over a map of this size."""
    strides, dilations = steps(call, kernel)
    pads = call.ints("pads") or (0,) * (2 * len(kernel))
    auto = text(call.get("auto_pad", "NOTSET"))
    ceil = bool(call.get("ceil_mode", 0))
    begins, ends, extra, sizes = [], [], [], []
    for axis, (n, k, s, d) in enumerate(zip(size, kernel, strides, dilations, strict=True)):
        reach = (k - 1) * d + 1
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            count = -(-n // s)
            total = max((count - 1) * s + reach - n, 0)
            begin = total // 2 if auto == "SAME_UPPER" else total - total // 2
            end, over = total - begin, 0
        else:
            begin, end = (0, 0) if auto == "VALID" else (pads[axis], pads[axis + len(kernel)])
            room = n + begin + end - reach
            count = (-(-room // s) if ceil else room // s) + 1
            if ceil and (count - 1) * s >= n + begin:  # a window has to start inside of the map or its left padding
                count -= 1
            over = max((count - 1) * s + reach - (n + begin + end), 0)
        if count < 1:
            raise call.unknown(f"a window of {reach} over {n} pixels")
        begins.append(begin)
        ends.append(end)
        extra.append(over)
        sizes.append(count)
    return Window(kernel, strides, dilations, tuple(begins), tuple(ends), tuple(extra), tuple(sizes))


def padded(x: Array, window: Window, fill: float) -> Array:
    """The map (N, C, size...) with its padding, negative padding cut off."""
    widths = [(b, e + over) for b, e, over in zip(window.begins, window.ends, window.extra, strict=True)]
    if any(min(pair) < 0 for pair in widths):
        cut = tuple(slice(max(-b, 0), n - max(-e, 0)) for (b, e), n in zip(widths, x.shape[2:], strict=True))
        x = x[(slice(None), slice(None), *cut)]
        widths = [(max(b, 0), max(e, 0)) for b, e in widths]
    if not any(any(pair) for pair in widths):
        return x
    shape = [n + b + e for n, (b, e) in zip(x.shape[2:], widths, strict=True)]
    out = np.full((*x.shape[:2], *shape), fill, x.dtype)
    inner = tuple(slice(b, b + n) for n, (b, _) in zip(x.shape[2:], widths, strict=True))
    out[(slice(None), slice(None), *inner)] = x
    return out
