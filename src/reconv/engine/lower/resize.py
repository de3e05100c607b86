"""Resize and Upsample: nearest and linear, along height and width, as tables of two taps per output line.

https://onnx.ai/onnx/operators/onnx__Resize.html gives the coordinate transformations and the rounding modes. Cubic,
antialiased and cropping resizes are not lowered.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from reconv.engine.lower import draft as d
from reconv.engine.lower.builder import Builder, Result, Unsupported, ints, lookup
from reconv.graph import Node

__all__ = ["resize"]

Line = NDArray[np.float64]


def _align_corners(x: Line, scale: float, size: int, out: int) -> Line:
    return x * (size - 1) / (out - 1) if out > 1 else x * 0


def _half_pixel_symmetric(x: Line, scale: float, size: int, out: int) -> Line:
    adjustment = out / (scale * size)
    center = size / 2
    return center * (1 - adjustment) + (x + 0.5) / scale - 0.5


COORDINATES: dict[str, Callable[[Line, float, int, int], Line]] = {
    "half_pixel": lambda x, scale, size, out: (x + 0.5) / scale - 0.5,
    "pytorch_half_pixel": lambda x, scale, size, out: (x + 0.5) / scale - 0.5 if out > 1 else x * 0,
    "half_pixel_symmetric": _half_pixel_symmetric,
    "asymmetric": lambda x, scale, size, out: x / scale,
    "align_corners": _align_corners,
    "tf_half_pixel_for_nn": lambda x, scale, size, out: (x + 0.5) / scale,
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
        raise Unsupported(f"mode {mode}")
    if attributes.get("antialias", 0) and min(scales) < 1:
        raise Unsupported("antialias")
    if transform not in COORDINATES:
        raise Unsupported(f"coordinate_transformation_mode {transform}")
    if any(scale != 1 or new != old for scale, new, old in list(zip(scales, sizes, shape, strict=True))[:2]):
        raise Unsupported("a resize of the batch or of the channels")
    x = b.spatial(value)
    lines = []
    for axis in range(2, len(shape)):
        lines.append(taps(mode, transform, rounding, scales[axis], shape[axis], sizes[axis]))
    if x.rank == 3:
        lines.insert(0, taps("nearest", "asymmetric", "floor", 1.0, 1, 1))
    (y0, y1, wy), (x0, x1, wx) = lines
    out = b.new((len(y0), len(x0), x.geometry.channels))
    return [b.unspatial(b.add(d.Resize(x=x.map, out=out, y0=y0, y1=y1, wy=wy, x0=x0, x1=x1, wx=wx)), x.rank)]


def taps(
    mode: str, transform: str, rounding: str, scale: float, size: int, out: int
) -> tuple[d.Ints, d.Ints, d.Floats]:
    """First and second source line of every output line, and the weight of the second."""
    at = COORDINATES[transform](np.arange(out, dtype=np.float64), scale, size, out)
    if mode == "nearest":
        nearest = np.clip(ROUNDING[rounding](at), 0, size - 1).astype(np.int32)
        return nearest, nearest, np.zeros(out, np.float32)
    at = np.clip(at, 0, size - 1)
    first = np.minimum(np.floor(at), size - 1).astype(np.int32)
    second = np.minimum(first + 1, size - 1).astype(np.int32)
    return first, second, (at - first).astype(np.float32)


def _scales(b: Builder, node: Node, shape: tuple[int, ...]) -> tuple[list[float], list[int]]:
    """Scale and new size of every dimension, from whichever of the two the node gives."""
    attributes, rank = node.attributes, len(shape)
    if lookup(attributes, "keep_aspect_ratio_policy", "stretch") != "stretch":
        raise Unsupported("keep_aspect_ratio_policy")
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
        raise Unsupported("neither scales nor sizes")
    new = list(shape)
    for axis, size in zip(axes, sizes, strict=True):
        new[axis] = int(size)
    return [n / o for n, o in zip(new, shape, strict=True)], new
