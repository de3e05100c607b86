"""The best few values for many: k-means in one dimension, by dynamic programming and without chance.

In one dimension clusters are intervals of the sorted values, so the best ones follow by dynamic programming over where
they end (Wang and Song 2011): with prefix sums the squared error of an interval is one subtraction. Ends are looked for
among some hundred places (half of them at equal distances, half at equal counts), then moved by Lloyd's steps on all
values until nothing moves. For large books, where that takes long, intervals are split in two instead, always the one
that gains most.

Measured on tensors of MobileNetV2, the squared error beside dynamic programming (geometric mean): k-means++ 1.07 at 16
values and 1.08 at 64, equal distances 1.26 and 3.1, equal counts 1.13 and 3.7, splitting 1.02, 1.07, and 1.04 at 256,
where it takes a twentieth of the time. Neither needs a seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["codebook", "nearest"]

Array = np.ndarray[Any, Any]
PLACES, FEW = 1024, 512  # where clusters may end, before Lloyd's steps: more than a book has entries; when planned
STEPS = 100
EXACT = 64  # entries of a book up to which it is planned whole


def codebook(values: Array, count: int, weights: Array | None = None) -> Array:
    """At most ``count`` float32 values, ascending, with a small sum of weight x (value - its nearest one)².

    Args:
        values: any shape, finite, at least one.
        count: at least 1.
        weights: of the values' errors, positive, of the same shape; None: all alike.
    """
    flat = np.asarray(values, np.float64).reshape(-1)
    different = np.unique(flat)
    if different.size <= count:
        return different.astype(np.float32)
    sums = _Sums.of(flat, np.ones_like(flat) if weights is None else np.asarray(weights, np.float64).reshape(-1))
    start = _planned(sums, count) if count <= EXACT else _split(sums, count)
    return np.unique(_polished(sums, start).astype(np.float32))


def nearest(book: Array, values: Array) -> Array:
    """Index of the nearest entry of an ascending book for each value, uint8."""
    middles = (book[1:].astype(np.float64) + book[:-1]) / 2
    return np.searchsorted(middles, values).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class _Sums:
    """Sorted values, and up to each place the sums of weights, weighted values and weighted squares."""

    values: Array
    weight: Array
    first: Array
    second: Array

    @staticmethod
    def of(values: Array, weights: Array) -> _Sums:
        order = np.argsort(values, kind="stable")
        x, w = values[order], weights[order]
        return _Sums(x, *(np.concatenate([[0.0], np.cumsum(part)]) for part in (w, w * x, w * x * x)))


def _places(sums: _Sums, most: int) -> Array:
    """Where intervals may end, ascending, from none to all of the values."""
    x, size, half = sums.values, sums.values.size, most // 2
    places = [np.searchsorted(x, np.linspace(x[0], x[-1], half)), np.linspace(0, size, half).astype(np.int64)]
    return np.unique(np.concatenate([*places, [0, size]]))


def _planned(sums: _Sums, count: int) -> Array:
    """The means of the best intervals that end at some places."""
    ends = _places(sums, FEW)
    weight, first, second = sums.weight[ends], sums.first[ends], sums.second[ends]
    span = weight[:, None] - weight[None]  # [end, begin]
    safe = np.where(span > 0, span, 1.0)
    cost = np.where(span > 0, second[:, None] - second[None] - (first[:, None] - first[None]) ** 2 / safe, np.inf)
    best, steps = cost[:, 0].copy(), []
    for _ in range(count - 1):
        total = best[None] + cost
        begin = np.argmin(total, axis=1)
        best = total[np.arange(ends.size), begin]
        steps.append(begin)
    place = ends.size - 1
    found = [place]
    for begin in reversed(steps):
        place = int(begin[place])
        found.append(place)
    return _means(weight, first, np.array([0, *found[::-1]]))


def _split(sums: _Sums, count: int) -> Array:
    """The means of intervals, each split in two where that gains most."""
    ends = _places(sums, PLACES)
    weight, first = sums.weight[ends], sums.first[ends]

    def best(begin: int, end: int) -> tuple[float, int, int, int]:
        """What splitting an interval gains, and where to split it."""
        at = np.arange(begin + 1, end)
        left, right = weight[at] - weight[begin], weight[end] - weight[at]
        if not at.size or not (inside := (left > 0) & (right > 0)).any():
            return 0.0, begin, begin, end
        at, left, right = at[inside], left[inside], right[inside]
        gains = (first[at] - first[begin]) ** 2 / left + (first[end] - first[at]) ** 2 / right
        place = int(np.argmax(gains))
        whole = (first[end] - first[begin]) ** 2 / (weight[end] - weight[begin])
        return float(gains[place] - whole), int(at[place]), begin, end

    parts = [best(0, ends.size - 1)]
    while len(parts) < count:
        number = max(range(len(parts)), key=lambda part: parts[part][0])
        gain, at, begin, end = parts[number]
        if gain <= 0:
            break
        parts[number : number + 1] = [best(begin, at), best(at, end)]
    return _means(weight, first, np.array([*(part[2] for part in parts), ends.size - 1]))


def _means(weight: Array, first: Array, cuts: Array) -> Array:
    """Of the intervals between cuts that are not empty."""
    spans, sums = np.diff(weight[cuts]), np.diff(first[cuts])
    return np.asarray(sums[spans > 0] / spans[spans > 0])


def _polished(sums: _Sums, book: Array) -> Array:
    """Lloyd's steps: every value to its nearest entry, every entry to the mean of its values."""
    for _ in range(STEPS):
        cuts = np.concatenate([[0], np.searchsorted(sums.values, (book[1:] + book[:-1]) / 2), [sums.values.size]])
        spans, sizes = np.diff(sums.weight[cuts]), np.diff(sums.first[cuts])
        moved = np.sort(np.where(spans > 0, sizes / np.where(spans > 0, spans, 1.0), book))
        if np.array_equal(moved, book):
            break
        book = moved
    return book
