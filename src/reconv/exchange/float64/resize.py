"""Resize and Upsample: nearest, linear and cubic, each axis by itself.

Every pixel of the result is a sum of input pixels whose errors may be shared, so that standard deviations add up, with
the magnitudes of the weights. What lies outside of the map is its border again, or is left out of the sum
(``exclude_outside``); a reduction with ``antialias`` widens the kernel by the scale. ``tf_crop_and_resize`` and
``keep_aspect_ratio_policy`` are not known here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from reconv.exchange.float64.call import Call, text
from reconv.exchange.float64.value import DOUBLE, Array, Value, magnitude, noise_like, per_channel

__all__ = ["resize", "upsample"]


def _hat(at: Array, _: float) -> Array:
    return np.asarray(np.maximum(1 - np.abs(at), 0))


def _cubic(at: Array, a: float) -> Array:
    """Keys, Cubic convolution interpolation for digital image processing (1981)."""
    at = np.abs(at)
    near = ((a + 2) * at - (a + 3)) * at * at + 1
    far = a * (((at - 5) * at + 8) * at - 4)
    return np.where(at <= 1, near, np.where(at < 2, far, 0.0))


# half the width of a kernel, and the kernel; nearest has none
_KERNELS: dict[str, tuple[int, Callable[[Array, float], Array]] | None] = {
    "nearest": None,
    "linear": (1, _hat),
    "cubic": (2, _cubic),
}


@dataclass(frozen=True)
class _Mode:
    """How a node interpolates. ``rounding`` is what nearest does with a position, ``a`` the cubic's coefficient."""

    kernel: tuple[int, Callable[[Array, float], Array]] | None
    coordinates: str
    rounding: Callable[[Array], Array]
    a: float = -0.75
    antialias: bool = False
    exclude_outside: bool = False

    def position(self, n: int, count: int, factor: float) -> Array:
        """Where each of ``count`` pixels lies in a map of n pixels; ``factor`` is the scale as given."""
        at = np.arange(count, dtype=np.float64)
        if self.coordinates == "asymmetric":
            return at / factor
        if self.coordinates == "align_corners":
            return at * (n - 1) / max(count - 1, 1)
        centre: Array = (at + 0.5) / factor - 0.5
        if self.coordinates == "half_pixel_symmetric":
            return n / 2 * (1 - count / (factor * n)) + centre
        return 0.0 * at if self.coordinates == "pytorch_half_pixel" and count == 1 else centre

    def taps(self, n: int, count: int, factor: float) -> tuple[Array, Array]:
        """(count, taps): which pixels each pixel of the result reads, and their weights."""
        at = self.position(n, count, factor)
        if self.kernel is None:
            return np.clip(self.rounding(at), 0, n - 1).astype(np.int64)[:, None], np.ones((count, 1))
        half, kernel = self.kernel
        squeeze = min(factor, 1.0) if self.antialias else 1.0
        start = int(np.floor(-half / squeeze)) + 1
        pixels = np.floor(at).astype(np.int64)[:, None] + np.arange(start, 2 * half - start)
        weights = kernel((pixels - at[:, None]) * squeeze, self.a)
        if self.exclude_outside:
            weights = np.where((pixels >= 0) & (pixels < n), weights, 0.0)
        return np.clip(pixels, 0, n - 1), weights / weights.sum(axis=1, keepdims=True)


_COORDINATES = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric")
_ROUNDINGS: dict[str, Callable[[Array], Array]] = {
    "round_prefer_floor": lambda at: np.ceil(at - 0.5),
    "round_prefer_ceil": lambda at: np.floor(at + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def upsample(call: Call) -> tuple[Value, ...]:
    x = call.value(0)
    scales = call.array(1)
    if scales is None:
        scales = np.asarray(call.get("scales", ()), np.float64)
    sizes = [int(np.floor(n * s)) for n, s in zip(x.array.shape, scales, strict=True)]
    return (_resized(x, sizes, [float(s) for s in scales], _old_mode(call)),)


def resize(call: Call) -> tuple[Value, ...]:
    x = call.value(0)
    if text(call.get("keep_aspect_ratio_policy", "stretch")) != "stretch":
        raise call.unknown("keep_aspect_ratio_policy")
    rank = x.array.ndim
    scales, wanted = (call.array(1), None) if call.opset < 11 else (call.array(2), call.array(3))
    axes = [int(axis) % rank for axis in call.get("axes", range(rank))]
    sizes, factors = list(x.array.shape), [1.0] * rank
    if wanted is not None and wanted.size:
        for axis, size in zip(axes, wanted, strict=True):
            factors[axis], sizes[axis] = float(size) / x.array.shape[axis], int(size)
    elif scales is not None and scales.size:
        for axis, scale in zip(axes, scales, strict=True):
            factors[axis], sizes[axis] = float(scale), int(np.floor(x.array.shape[axis] * scale))
    else:
        raise call.unknown("neither scales nor sizes")
    return (_resized(x, sizes, factors, _old_mode(call) if call.opset < 11 else _new_mode(call)),)


def _old_mode(call: Call) -> _Mode:
    mode = text(call.get("mode", "nearest"))
    if mode not in ("nearest", "linear"):
        raise call.unknown(f"mode {mode}")
    return _Mode(_KERNELS[mode], "asymmetric", np.floor)


def _new_mode(call: Call) -> _Mode:
    mode = text(call.get("mode", "nearest"))
    coordinates = text(call.get("coordinate_transformation_mode", "half_pixel"))
    nearest = text(call.get("nearest_mode", "round_prefer_floor"))
    if mode not in _KERNELS or coordinates not in _COORDINATES or nearest not in _ROUNDINGS:
        raise call.unknown(f"mode {mode}, {coordinates}, {nearest}")
    return _Mode(
        _KERNELS[mode],
        coordinates,
        _ROUNDINGS[nearest],
        float(call.get("cubic_coeff_a", -0.75)),
        bool(call.get("antialias", 0)),
        bool(call.get("exclude_outside", 0)),
    )


def _resized(x: Value, sizes: list[int], factors: list[float], mode: _Mode) -> Value:
    y, deviation, noise = x.array, None if x.error2 is None else np.sqrt(x.error2), noise_like(x)
    for axis, (count, factor) in enumerate(zip(sizes, factors, strict=True)):
        n = x.array.shape[axis]
        if count == n and factor == 1.0:
            continue
        pixels, weights = mode.taps(n, count, factor)
        if axis > 1:
            noise, size = per_channel(noise), per_channel(magnitude(y))
        else:  # batches or channels are mixed
            noise, size = np.asarray(noise.max(initial=0.0)), np.asarray(magnitude(y).max(initial=0.0))
        y = _mixed(y, pixels, weights, axis)
        deviation = None if deviation is None else _mixed(deviation, pixels, np.abs(weights), axis)
        if mode.kernel is not None:  # a position is off by a few roundings of n, and a kernel is no steeper than 4
            reach = float(np.abs(weights).sum(axis=1).max(initial=1.0))
            noise = reach * (noise + 4 * pixels.shape[1] * (4 + n) * DOUBLE * size)
    return Value(y, None if deviation is None else np.square(deviation), np.asarray(noise))


def _mixed(x: Array, pixels: Array, weights: Array, axis: int) -> Array:
    """Each row of ``pixels`` along an axis, summed with its weights."""
    if pixels.shape[1] == 1:
        return np.take(x, pixels[:, 0], axis)
    total: Array = np.zeros(())
    for column in range(pixels.shape[1]):
        total = total + np.take(x, pixels[:, column], axis) * weights[:, column].reshape(
            -1, *(1,) * (x.ndim - axis - 1)
        )
    return total
