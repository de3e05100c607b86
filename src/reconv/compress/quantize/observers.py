"""Ranges of activations from streamed histograms, in constant memory.

A bin is [i 2^k, (i+1) 2^k): its width is a power of two and its edges are multiples of it. When a value falls outside,
k grows and bins are added up in pairs, which is exact: the histogram of chunks is the histogram of all values at once,
in whatever order they come, and histograms of several values can be added. Exact zeros (what a ReLU leaves) are
counted apart, since they cost nothing whatever the scale is.

Of a histogram a range is chosen by

- minmax: everything is inside;
- percentile: a share of (100 - p) % lies outside on either side that has values;
- mse: the squared error of rounding and clipping is smallest (Banner et al. 2019, arXiv 1810.05723, without a model of
  the distribution);
- entropy: the Kullback-Leibler divergence of the clipped distribution from its 8-bit rendering is smallest (Migacz
  2017, the calibration of TensorRT), for ranges that need not be symmetric.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from reconv.compress.quantize.scheme import Codes

__all__ = ["BINS", "Histogram", "Range", "choose"]

Array = np.ndarray[Any, Any]
Range = tuple[float, float]
BINS = 4096  # on either side of zero: at least 8 bins for every code of the full range
_STEPS = np.linspace(1.0, 0.1, 91)  # shares of the full range that are tried
_PER_BIN = 32  # values in a bin, in the mean, for an entropy to say something
_MOST_CLIPPED = 0.05  # of the values, by the entropy
_LEAST = -149  # 2^k of the least float32


class Histogram:
    """Counts of the finite values seen so far; ``count`` of them, ``zeros`` among them exactly zero."""

    def __init__(self) -> None:
        self.exponent: int | None = None  # None: nothing but zeros so far
        self.counts = np.zeros(2 * BINS, np.int64)
        self.zeros = 0
        self.count = 0
        self.low, self.high = np.inf, -np.inf

    def add(self, values: Array) -> None:
        """Count these values too."""
        flat = np.asarray(values, np.float32).reshape(-1)
        if not flat.size:
            return
        low, high = float(flat.min()), float(flat.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            flat = flat[np.isfinite(flat)]
            if not flat.size:
                return
            low, high = float(flat.min()), float(flat.max())
        self.count += flat.size
        self.low, self.high = min(self.low, low), max(self.high, high)
        nonzero = flat[flat != 0] if low * high <= 0 else flat
        self.zeros += flat.size - nonzero.size
        if nonzero.size:
            exponent = self._reach(max(-low, high))
            bins = np.floor(np.ldexp(nonzero, -exponent)).astype(np.int32)
            if low < 0:
                bins[(bins == 0) & (nonzero < 0)] = -1  # so small that ldexp has made them zero
            self.counts += np.bincount(bins + BINS, minlength=2 * BINS)

    def merge(self, other: Histogram) -> None:
        """Count what another histogram has counted too."""
        self.count, self.zeros = self.count + other.count, self.zeros + other.zeros
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        if other.exponent is None:
            return
        self._grow(other.exponent)
        more = other.counts
        assert self.exponent is not None
        for _ in range(self.exponent - other.exponent):
            more = _halved(more)
        self.counts = self.counts + more

    def bins(self) -> tuple[Array, Array]:
        """Centres and counts of the bins that are not empty, zeros left out; float64."""
        (at,) = np.nonzero(self.counts)
        centres = np.ldexp(at - BINS + 0.5, self.exponent or 0)
        return np.clip(centres, self.low, self.high), self.counts[at].astype(np.float64)

    def widen(self) -> None:
        """Bins of twice the width."""
        self._grow((self.exponent or 0) + 1)

    def _reach(self, magnitude: float) -> int:
        """Grow until the magnitude is inside; the exponent then."""
        self._grow(max(int(np.frexp(magnitude)[1]) - BINS.bit_length() + 1, _LEAST))
        assert self.exponent is not None
        return self.exponent

    def _grow(self, exponent: int) -> None:
        if self.exponent is None:
            self.exponent = exponent
        while self.exponent < exponent:
            self.counts = _halved(self.counts)
            self.exponent += 1


def _halved(counts: Array) -> Array:
    """The counts for bins of twice the width."""
    found = np.zeros_like(counts)
    found[BINS // 2 : BINS // 2 + BINS] = counts.reshape(-1, 2).sum(1)
    return found


def choose(histogram: Histogram, calibration: str, percentile: float, *, symmetric: bool = False) -> Range:
    """The range (low, high) of a histogram by one of the calibrations; (0, 0) where there is nothing but zeros."""
    if histogram.exponent is None:
        return 0.0, 0.0
    return _CHOICES[calibration](histogram, percentile, symmetric)


def _minmax(histogram: Histogram, percentile: float, symmetric: bool) -> Range:  # noqa: ARG001
    return histogram.low, histogram.high


def _percentile(histogram: Histogram, percentile: float, symmetric: bool) -> Range:  # noqa: ARG001
    centres, counts = histogram.bins()
    at = int(np.searchsorted(centres, 0.0))
    centres, counts = np.insert(centres, at, 0.0), np.insert(counts, at, float(histogram.zeros))
    before = np.cumsum(counts)
    outside = before[-1] * (1 - percentile / 100)
    low = centres[np.searchsorted(before, outside, side="right")] if histogram.low < 0 else 0.0
    high = centres[np.searchsorted(before, before[-1] - outside, side="left")] if histogram.high > 0 else 0.0
    if percentile == 100:
        return histogram.low, histogram.high
    return float(low), float(high)


def _mse(histogram: Histogram, percentile: float, symmetric: bool) -> Range:  # noqa: ARG001
    centres, counts = histogram.bins()

    def cost(codes: Codes) -> float:
        return float(counts @ np.square(codes.rounded(centres) - centres))

    return _least(histogram, cost, symmetric)


def _entropy(histogram: Histogram, percentile: float, symmetric: bool) -> Range:  # noqa: ARG001
    coarse = Histogram()
    coarse.merge(histogram)
    while (filled := coarse.counts[coarse.counts > 0]).size > 2 and filled.mean() < _PER_BIN:
        coarse.widen()  # few values in a bin differ by chance alone
    centres, counts = coarse.bins()

    def cost(codes: Codes) -> float:
        code = np.rint(centres / codes.scale).astype(np.int64) + codes.zero
        inside = (code >= 0) & (code <= 255)
        if counts[inside].sum() < (1 - _MOST_CLIPPED) * counts.sum():
            return np.inf  # what is left may look like itself though little of the whole is in it
        code, kept = code[inside], counts[inside]
        real = kept.copy()
        real[0] += counts[: int(inside.argmax())].sum()  # what is clipped counts at the edges
        real[-1] += counts[int(inside.size - inside[::-1].argmax()) :].sum()
        sums, sizes = np.bincount(code, kept, 256), np.bincount(code, minlength=256)
        seen = (sums / np.maximum(sizes, 1))[code]
        p, q = real / real.sum(), seen / seen.sum()
        return float(p @ np.log(p / q))

    return _least(histogram, cost, symmetric)


def _least(histogram: Histogram, cost: Callable[[Codes], float], symmetric: bool) -> Range:
    """The range of least cost: both ends drawn in together, then each by itself."""
    low, high = min(histogram.low, 0.0), max(histogram.high, 0.0)

    def tried(pairs: Iterator[Range]) -> Range:
        found = [(cost(Codes.covering(a, b, symmetric=symmetric)), (a, b)) for a, b in pairs]
        return min(found, key=lambda item: item[0])[1]

    best = tried((low * s, high * s) for s in _STEPS)
    if low < 0 < high and not symmetric:
        for _ in range(2):
            best = tried((best[0], high * s) for s in _STEPS)
            best = tried((low * s, best[1]) for s in _STEPS)
    return best


_CHOICES: Mapping[str, Callable[[Histogram, float, bool], Range]] = {
    "minmax": _minmax,
    "percentile": _percentile,
    "mse": _mse,
    "entropy": _entropy,
}
