"""Resize and Upsample: nearest and linear, along height and width, as tables of two taps per output line.

https://onnx.ai/onnx/operators/onnx__Resize.html gives the coordinate transformations and the rounding modes. Cubic,
antialiased and cropping resizes are not lowered.
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

Line = NDArray[np.float64]


@dataclass(frozen=True)
class Axis:
    """One axis of a resize: sizes before and after, and the scale that the coordinates are computed with."""

    scale: float
    size: int
    out: int


def _half_pixel_symmetric(x: Line, axis: Axis) -> Line:
    adjustment = axis.out / (axis.scale * axis.size)
    return axis.size / 2 * (1 - adjustment) + (x + 0.5) / axis.scale - 0.5


COORDINATES: dict[str, Callable[[Line, Axis], Line]] = {
    "half_pixel": lambda x, axis: (x + 0.5) / axis.scale - 0.5,
    "pytorch_half_pixel": lambda x, axis: (x + 0.5) / axis.scale - 0.5 if axis.out > 1 else x * 0,
    "half_pixel_symmetric": _half_pixel_symmetric,
    "asymmetric": lambda x, axis: x / axis.scale,
    "align_corners": lambda x, axis: x * (axis.size - 1) / (axis.out - 1) if axis.out > 1 else x * 0,
    "tf_half_pixel_for_nn": lambda x, axis: (x + 0.5) / axis.scale,
}
ROUNDING: dict[str, Callable[[Line], Line]] = {
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
    # Upsample and Resize of opset 10 round down
    rounding = lookup(attributes, "nearest_mode", "round_prefer_floor" if b.opset >= 11 else "floor")
    if mode not in ("nearest", "linear"):
        raise UnsupportedError(f"mode {mode}")
    if attributes.get("antialias", 0) and min(scales) < 1:
        raise UnsupportedError("antialias")
    if transform not in COORDINATES:
        raise UnsupportedError(f"coordinate_transformation_mode {transform}")
    if any(scale != 1 or new != old for scale, new, old in list(zip(scales, sizes, shape, strict=True))[:2]):
        raise UnsupportedError("a resize of the batch or of the channels")
    x = b.spatial(value)
    lines = []
    for axis in range(2, len(shape)):
        lines.append(taps(mode, transform, rounding, Axis(scales[axis], shape[axis], sizes[axis])))
    if x.rank == 3:
        lines.insert(0, taps("nearest", "asymmetric", "floor", Axis(1.0, 1, 1)))
    (y0, y1, wy), (x0, x1, wx) = lines
    out = b.new((len(y0), len(x0), x.geometry.channels))
    return [b.unspatial(b.add(d.Resize(x=x.map, out=out, y0=y0, y1=y1, wy=wy, x0=x0, x1=x1, wx=wx)), x.rank)]


def taps(mode: str, transform: str, rounding: str, axis: Axis) -> tuple[d.Ints, d.Ints, d.Floats]:
    """First and second source line of every output line, and the weight of the second."""
    at = COORDINATES[transform](np.arange(axis.out, dtype=np.float64), axis)
    if mode == "nearest":
        nearest = np.clip(ROUNDING[rounding](at), 0, axis.size - 1).astype(np.int32)
        return nearest, nearest, np.zeros(axis.out, np.float32)
    at = np.clip(at, 0, axis.size - 1)
    first = np.minimum(np.floor(at), axis.size - 1).astype(np.int32)
    second = np.minimum(first + 1, axis.size - 1).astype(np.int32)
    return first, second, (at - first).astype(np.float32)


def _scales(b: Builder, node: Node, shape: tuple[int, ...]) -> tuple[list[float], list[int]]:
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
        full = [1.0] * rank
        for axis, scale in zip(axes, scales, strict=True):
            full[axis] = float(np.float32(scale))
        return full, [int(np.floor(n * s)) for n, s in zip(shape, full, strict=True)]
    if sizes is None or not len(sizes):
        raise UnsupportedError("neither scales nor sizes")
    new = list(shape)
    for axis, size in zip(axes, sizes, strict=True):
        new[axis] = int(size)
    return [n / o for n, o in zip(new, shape, strict=True)], new
