"""Resize and Upsample: nearest and linear, along height and width, as tables of two taps per output line.

https://onnx.ai/onnx/operators/onnx__Resize.html gives the coordinate transformations and the rounding modes. Cubic,
antialiased and cropping resizes are not lowered. Sizes and coordinates are computed in float32 as ONNX Runtime does:
with a scale like 19/18 the last bit decides the size of the result, and which of two lines is the nearest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reconv.engine.lower import draft as d
from reconv.engine.lower.builder import Builder, Result, UnsupportedError, ints, lookup
from reconv.graph import Node

__all__ = ["resize"]

Line = NDArray[np.float32]
F32 = np.float32


@dataclass(frozen=True)
class Axis:
    """One axis of a resize: sizes before and after, and the scale that the coordinates are computed with."""

    scale: np.float32
    size: int
    out: int


def _half_pixel(x: Line, axis: Axis) -> Line:
    return (x + F32(0.5)) / axis.scale - F32(0.5)


def _half_pixel_symmetric(x: Line, axis: Axis) -> Line:
    adjustment = F32(axis.out) / (axis.scale * F32(axis.size))
    offset = F32(axis.size) / F32(2) * (F32(1) - adjustment)
    return offset + (x + F32(0.5)) / axis.scale - F32(0.5)


COORDINATES: dict[str, Callable[[Line, Axis], Line]] = {
    "half_pixel": _half_pixel,
    "pytorch_half_pixel": lambda x, axis: _half_pixel(x, axis) if axis.out > 1 else x * F32(0),
    "half_pixel_symmetric": _half_pixel_symmetric,
    "asymmetric": lambda x, axis: x / axis.scale,
    "align_corners": lambda x, axis: x * F32(axis.size - 1) / F32(axis.out - 1) if axis.out > 1 else x * F32(0),
    "tf_half_pixel_for_nn": lambda x, axis: (x + F32(0.5)) / axis.scale,
}
# in float64, where adding a half is exact
ROUNDING: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def resize(b: Builder, node: Node) -> list[Result]:
    value = b.value(node, 0)
    attributes, shape = node.attributes, value.shape
    scales, sizes = _scales(b, node, shape)
    mode = lookup(attributes, "mode", "nearest")
    transform = lookup(attributes, "coordinate_transformation_mode", "half_pixel" if b.opset >= 11 else "asymmetric")
    rounding = lookup(attributes, "nearest_mode", "round_prefer_floor") if b.opset >= 11 else "old"
    if mode not in ("nearest", "linear"):
        raise UnsupportedError(f"mode {mode}")
    if attributes.get("antialias", 0) and min(scales) < 1:
        raise UnsupportedError("antialias")
    if transform not in COORDINATES:
        raise UnsupportedError(f"coordinate_transformation_mode {transform}")
    if any(scale != 1 or new != old for scale, new, old in list(zip(scales, sizes, shape, strict=True))[:2]):
        raise UnsupportedError("a resize of the batch or of the channels")
    if min(sizes) < 1:
        raise UnsupportedError(f"a resize to {tuple(sizes)}")
    b.fits(sizes)
    x = b.spatial(value)
    lines = []
    for axis in range(2, len(shape)):
        lines.append(taps(mode, transform, rounding, Axis(scales[axis], shape[axis], sizes[axis])))
    if x.rank == 3:
        lines.insert(0, taps("nearest", "asymmetric", "floor", Axis(F32(1), 1, 1)))
    (y0, y1, wy), (x0, x1, wx) = lines
    out = b.new((len(y0), len(x0), x.geometry.channels))
    return [b.unspatial(b.add(d.Resize(x=x.map, out=out, y0=y0, y1=y1, wy=wy, x0=x0, x1=x1, wx=wx)), x.rank)]


def taps(mode: str, transform: str, rounding: str, axis: Axis) -> tuple[d.Ints, d.Ints, d.Floats]:
    """First and second source line of every output line, and the weight of the second."""
    if rounding == "old":  # Upsample and Resize of opset 10: ONNX does not say; ONNX Runtime does this
        rounding = "ceil" if axis.scale < 1 else "floor"
    lines = np.arange(axis.out, dtype=np.float32)
    at = lines if axis.scale == 1 else COORDINATES[transform](lines, axis)
    if mode == "nearest":
        _check_ties(at, rounding, axis)
        nearest = np.clip(ROUNDING[rounding](at.astype(np.float64)), 0, axis.size - 1).astype(np.int32)
        return nearest, nearest, np.zeros(axis.out, np.float32)
    at = np.clip(at, 0, axis.size - 1)
    first = np.minimum(np.floor(at), axis.size - 1).astype(np.int32)
    second = np.minimum(first + 1, axis.size - 1).astype(np.int32)
    return first, second, (at - first).astype(np.float32)


def _check_ties(at: Line, rounding: str, axis: Axis) -> None:
    """Refuse coordinates so near to where the nearest line changes that their last bits decide.

    With scales of few bits, like 2, 0.5 or 1.5, ties are exact, and every way of computing them agrees.
    """
    if float(axis.scale) * 1024 % 1 == 0:
        return
    near = 2.0**-20 * np.maximum(np.abs(at.astype(np.float64)), 1)
    low, high = (np.clip(ROUNDING[rounding](at + side), 0, axis.size - 1) for side in (-near, near))
    if (low != high).any():
        raise UnsupportedError("the nearest line hangs on rounding errors")


def _scales(b: Builder, node: Node, shape: tuple[int, ...]) -> tuple[list[np.float32], list[int]]:
    """Scale and new size of every dimension, from whichever of the two the node gives."""
    attributes, rank = node.attributes, len(shape)
    if lookup(attributes, "keep_aspect_ratio_policy", "stretch") != "stretch":
        raise UnsupportedError("keep_aspect_ratio_policy")
    scales = attributes.get("scales")
    sizes = None
    if scales is None:
        position = 1 if node.op_type == "Upsample" or b.opset < 11 else 2
        scales = b.optional(node, position)
        sizes = b.optional(node, 3) if position == 2 else None
    axes = [axis % rank for axis in ints(attributes.get("axes", range(rank)))]
    if scales is not None and len(scales):
        full = [F32(1)] * rank
        for axis, scale in zip(axes, scales, strict=True):
            full[axis] = F32(scale)
        return full, [int(np.floor(F32(n) * s)) for n, s in zip(shape, full, strict=True)]
    if sizes is None or not len(sizes):
        raise UnsupportedError("neither scales nor sizes")
    new = list(shape)
    for axis, size in zip(axes, sizes, strict=True):
        new[axis] = int(size)
    return [F32(n) / F32(o) for n, o in zip(new, shape, strict=True)], new
