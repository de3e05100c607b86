"""Weights as signed codes of 8 bits: a scale per output channel (or one), and how far to clip.

    real = code * scale,    code = clamp(round(real / scale), -127, 127)

Clipping takes, per channel, the share of the largest weight that makes the squared error of rounding and clipping
smallest (Banner et al. 2019, arXiv 1810.05723): a lone large weight need not make all others coarse.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["LARGEST", "Weights", "quantized_weights"]

Array = np.ndarray[Any, Any]
LARGEST = 127  # -128 is left out, so that the codes are symmetric
_SHARES = np.linspace(1.0, 0.6, 41)


@dataclass(frozen=True, eq=False)
class Weights:
    """codes: int8, of the weight's shape; scale: float32 (channels,), or () where one serves all."""

    codes: Array
    scale: Array
    axis: int

    @property
    def reals(self) -> Array:
        """What the codes stand for, float32 of the weight's shape."""
        return np.asarray(self.codes * _along(self.scale, self.codes.ndim, self.axis), np.float32)

    @property
    def clipped(self) -> int:
        """How many weights lie at the ends of their channel's range."""
        return int(np.count_nonzero(np.abs(self.codes) == LARGEST))


def quantized_weights(
    weight: Array, axis: int, *, per_channel: bool, clip: bool, least: Array | float = 0.0
) -> Weights:
    """The codes of a weight.

    Args:
        weight: float32, with the output channels on ``axis``.
        axis: of the output channels.
        per_channel: whether each has a scale of its own.
        clip: whether to clip where that makes the error smaller.
        least: scale that a channel must not fall below, (channels,): so that its bias fits into 32 bits.
    """
    rows = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
    if not per_channel:
        rows, least = rows.reshape(1, -1), np.max(least)
    scale = _scales(rows, clip, np.broadcast_to(np.asarray(least, np.float64), rows.shape[:1]))
    scale = scale if per_channel else scale[0]
    codes = np.clip(np.rint(weight / _along(scale, weight.ndim, axis)), -LARGEST, LARGEST).astype(np.int8)
    return Weights(codes, scale, axis)


def _scales(rows: Array, clip: bool, least: Array) -> Array:
    full = np.abs(rows).max(1).astype(np.float64) / LARGEST
    full = np.where(full > 0, full, 1.0 / LARGEST)  # of a channel of zeros any scale will do
    best = np.maximum(full, least).astype(np.float32)
    if clip:
        least_error = _errors(rows, best)
        for share in _SHARES[1:]:
            tried = np.maximum(full * share, least).astype(np.float32)
            error = _errors(rows, tried)
            better = error < least_error
            best, least_error = np.where(better, tried, best), np.where(better, error, least_error)
    return best


def _errors(rows: Array, scale: Array) -> Array:
    codes = np.clip(np.rint(rows / scale[:, None]), -LARGEST, LARGEST)
    return np.asarray(np.square(codes * scale[:, None] - rows).sum(1, dtype=np.float64))


def _along(scale: Array, rank: int, axis: int) -> Array:
    return scale.reshape([-1 if i == axis else 1 for i in range(rank)]) if scale.ndim else scale
