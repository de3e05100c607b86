"""Windows of convolutions and pools: attributes of one or two dimensions, normalised to two.

ONNX: ``auto_pad`` (SAME_UPPER, SAME_LOWER, VALID, NOTSET), ``pads`` (begins, then ends), ``strides``, ``dilations``,
``ceil_mode``. A 1-D window is a 2-D one of height 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reconv.engine.lower.builder import UnsupportedError, ints, lookup
from reconv.graph import Node

__all__ = ["Window", "bounded", "window"]

Pair = tuple[int, int]

LONGEST = 1 << 20  # kernel, stride, dilation or padding: beyond are damaged files


@dataclass(frozen=True)
class Window:
    """A window over a map and the size of what comes out."""

    kernel: Pair
    strides: Pair
    dilations: Pair
    pads: Pair  # top, left
    pads_end: Pair  # bottom, right
    out: Pair


def pair(values: tuple[int, ...], rank: int, missing: int) -> Pair:
    """One attribute of the spatial dimensions as (vertical, horizontal)."""
    if len(values) != rank - 2:
        raise UnsupportedError(f"{len(values)} window sizes for a tensor of rank {rank}")
    return (values[0], values[1]) if rank == 4 else (missing, values[0])


def bounded(*pairs: Sequence[int]) -> None:
    """Refuse sizes of windows that nobody means, which the core's numbers could not hold."""
    worst = max((abs(size) for pair in pairs for size in pair), default=0)
    if worst > LONGEST:
        raise UnsupportedError(f"a window with a size of {worst}, more than {LONGEST}")


def window(node: Node, size: Pair, kernel: Pair, rank: int) -> Window:
    """The node's window over a map of ``size``; ``kernel`` as the caller knows it."""
    attributes = node.attributes
    ones = (1,) * (rank - 2)
    strides = pair(ints(attributes.get("strides", ones)), rank, 1)
    dilations = pair(ints(attributes.get("dilations", ones)), rank, 1)
    if min(*kernel, *strides, *dilations) < 1:
        raise UnsupportedError(f"a kernel {kernel}, strides {strides}, dilations {dilations}: each is 1 or more")
    bounded(kernel, strides, dilations)
    reach = (dilations[0] * (kernel[0] - 1) + 1, dilations[1] * (kernel[1] - 1) + 1)
    auto = lookup(attributes, "auto_pad", "NOTSET") or "NOTSET"
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        out = tuple(-(-n // s) for n, s in zip(size, strides, strict=True))
        total = [max((o - 1) * s + r - n, 0) for o, s, r, n in zip(out, strides, reach, size, strict=True)]
        small, large = [t // 2 for t in total], [t - t // 2 for t in total]
        begin, end = (small, large) if auto == "SAME_UPPER" else (large, small)
    elif auto in ("NOTSET", "VALID"):
        flat = ints(attributes.get("pads", (0,) * (2 * (rank - 2)))) if auto == "NOTSET" else (0,) * (2 * (rank - 2))
        begin, end = list(pair(flat[: rank - 2], rank, 0)), list(pair(flat[rank - 2 :], rank, 0))
        up = bool(attributes.get("ceil_mode", 0))
        out = tuple(
            _count((n, r, s), (p, q), up) for n, r, s, p, q in zip(size, reach, strides, begin, end, strict=True)
        )
    else:
        raise UnsupportedError(f"auto_pad {auto}")
    bounded(begin, end)
    if min(out) < 1:
        raise UnsupportedError(f"the window {reach} is larger than the map {size}")
    return Window(kernel, strides, dilations, (begin[0], begin[1]), (end[0], end[1]), (out[0], out[1]))


def _count(line: tuple[int, int, int], pads: Pair, up: bool) -> int:
    """Windows along one axis of (size, reach, stride)."""
    (size, reach, stride), (begin, end) = line, pads
    room = size + begin + end - reach
    if not up:
        return room // stride + 1
    count = -(-room // stride) + 1
    # a window that would begin in the padding behind the map is left out
    return count - 1 if (count - 1) * stride >= size + begin else count
