"""What the channels are on samples: mean, mean square, and how they go together (covariance).

A channel that goes is stood in for by those that stay, pixel by pixel: by the linear combination of them, and the
constant, that is nearest to it on the samples (least squares, as in He et al. 2017 and Luo et al. 2017, with a ridge so
that few samples do not mislead). What stands in is then read by the same weights, so it folds into the weights and the
bias of whatever layer reads the channel, whatever its window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reconv.compress.forward import Feeds, Forward, values_of
from reconv.compress.prune.walk import Walk

__all__ = ["Moments", "moments"]

Array = np.ndarray[Any, Any]
WIDEST = 2048  # channels of a value whose covariance is kept
PIXELS = 2048  # of one sample that covariances are taken from, evenly spread: neighbours say the same
RIDGE = 1e-3  # of the mean variance


@dataclass(frozen=True, eq=False)
class Moments:
    """Of the channels of a value, over samples and pixels, float64: mean, mean square, covariance (None: not kept)."""

    mean: Array
    square: Array
    covariance: Array | None = None

    @property
    def variance(self) -> Array:
        return np.asarray(np.maximum(self.square - self.mean**2, 0.0))

    def stand_in(self, stays: Array) -> tuple[Array, Array]:
        """What stands in for the channels that go: factors (gone, staying) of those that stay, and constants (gone,).

        stays: which channels do.
        """
        gone = ~stays
        if self.covariance is None:
            return np.zeros((int(gone.sum()), int(stays.sum()))), self.mean[gone]
        among = self.covariance[np.ix_(stays, stays)]
        ridge = RIDGE * float(np.trace(self.covariance)) / len(stays)
        among = among + max(ridge, 1e-30) * np.eye(len(among))
        factors = np.linalg.solve(among, self.covariance[np.ix_(stays, gone)]).T
        return factors, self.mean[gone] - factors @ self.mean[stays]


def moments(walk: Walk, forward: Forward, samples: Sequence[Feeds], *, together: bool) -> dict[str, Moments]:
    """Of every value that a layer reads and that carries channels; one sample's values are in memory at a time.

    Args:
        walk: what is known of the graph's channels.
        forward: computes values inside of the graph.
        samples: inputs of the graph.
        together: keep covariances too, of values with at most `WIDEST` channels.

    Raises:
        InputError: there are no samples, or they do not fit.
    """
    names = [layer.node.inputs[0] for layer in walk.layers if layer.ins is not None and not layer.whole]
    sums = {name: _Sums(len(walk.carried[name].atoms), together) for name in dict.fromkeys(names)}
    for values in values_of(forward, walk.graph, list(sums), samples):
        for name, found in sums.items():
            found.take(np.moveaxis(values[name], walk.carried[name].axis, 0))
    return {name: found.moments() for name, found in sums.items()}


class _Sums:
    """Sums over pixels, of what a first look at the values is taken off: large means would hide small variances."""

    def __init__(self, channels: int, together: bool) -> None:
        self._count = 0
        self._base: Array | None = None
        self._sum = np.zeros(channels)
        self._square = np.zeros(channels)
        self._seen = 0  # pixels in the products
        self._seen_sum = np.zeros(channels)
        self._products = np.zeros((channels, channels)) if together and channels <= WIDEST else None

    def take(self, values: Array) -> None:
        """values: (channels, ...)."""
        rows = values.reshape(len(values), -1).astype(np.float32)
        if self._base is None:
            self._base = rows.mean(axis=1)
        rows = rows - self._base[:, None]
        self._count += rows.shape[1]
        self._sum += rows.sum(axis=1, dtype=np.float64)
        self._square += np.einsum("cp,cp->c", rows, rows, dtype=np.float64)
        if self._products is not None:
            some = rows[:, :: -(-rows.shape[1] // PIXELS) | 1]  # an odd step, so that columns of a map are not missed
            self._seen += some.shape[1]
            self._seen_sum += some.sum(axis=1, dtype=np.float64)
            self._products += some @ some.T

    def moments(self) -> Moments:
        base = np.zeros(len(self._sum)) if self._base is None else self._base.astype(np.float64)
        off = self._sum / self._count
        variance = np.maximum(self._square / self._count - off**2, 0.0)
        mean, square = base + off, variance + (base + off) ** 2
        if self._products is None:
            return Moments(mean, square)
        off = self._seen_sum / self._seen
        return Moments(mean, square, self._products / self._seen - np.outer(off, off))
