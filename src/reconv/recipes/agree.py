"""Measures of agreement between a run and the dense run of the same frames.

Detections: F1 of two recalls. What one side scores at `SURE` or more must be found on the other side among what is
scored at `LIKELY` or more: same class, intersection over union above a threshold, each partner taken once. The lower
bar on the other side keeps a score that wavers around the threshold from counting as a difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "LIKELY",
    "LOUDEST_DB",
    "QUIETEST_DB",
    "SURE",
    "Boxes",
    "Hits",
    "box_f1",
    "box_hits",
    "close_pixels",
    "equal_share",
    "finite_range",
    "psnr_db",
]

SURE, LIKELY = 0.3, 0.2
LOUDEST_DB = 200.0  # equal arrays have an infinite ratio, which JSON cannot say
QUIETEST_DB = -LOUDEST_DB  # and so has a number against a not-a-number or an infinity

AnyBoxes = TypeVar("AnyBoxes", bound="Boxes")


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes (N, 4) as x0, y0, x1, y1 in pixels, scores (N,), classes (N,); best first.

    `kinds` is how many classes the network tells apart, 0 where nobody said.
    """

    corners: NDArray[Any]
    scores: NDArray[Any]
    classes: NDArray[Any]
    kinds: int = 0

    def at_least(self: AnyBoxes, score: float) -> AnyBoxes:
        return self.where(self.scores >= score)

    def where(self: AnyBoxes, keep: NDArray[Any]) -> AnyBoxes:
        """Those that a mask or an index (N,) names."""
        return replace(self, corners=self.corners[keep], scores=self.scores[keep], classes=self.classes[keep])

    def __len__(self) -> int:
        return len(self.scores)


def _overlaps(box: NDArray[Any], others: NDArray[Any]) -> NDArray[Any]:
    """Intersection over union of one box (4,) with others (N, 4)."""
    sides = np.clip(np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2]), 0, None)
    inter = sides.prod(1)
    union = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(1) - inter
    return np.asarray(inter / np.maximum(union, 1e-9))


def _found(wanted: Boxes, among: Boxes, iou: float) -> int:
    """How many of `wanted` have a partner of their own in `among`: same class and an overlap above `iou`."""
    count, free = 0, np.ones(len(among), bool)
    for box, cls in zip(wanted.corners, wanted.classes, strict=True):
        overlap = np.where(free & (among.classes == cls), _overlaps(box, among.corners), 0.0)
        if overlap.size and overlap.max() > iou:
            count += 1
            free[int(overlap.argmax())] = False
    return count


@dataclass(frozen=True)
class Hits:
    """Counts of a comparison of boxes, which add up over frames: of the `wanted` sure boxes of the dense side `found`
    have a partner, of the `given` sure boxes of ours `right` do."""

    found: int = 0
    wanted: int = 0
    right: int = 0
    given: int = 0

    def __add__(self, other: Hits) -> Hits:
        return Hits(
            self.found + other.found,
            self.wanted + other.wanted,
            self.right + other.right,
            self.given + other.given,
        )

    @property
    def f1(self) -> float:
        """1 when neither side has anything."""
        if self.wanted == self.given == 0:
            return 1.0
        recall, precision = self.found / max(self.wanted, 1), self.right / max(self.given, 1)
        return 2 * recall * precision / max(recall + precision, 1e-9)


def box_hits(ours: Sequence[Boxes], dense: Sequence[Boxes], iou: float) -> Hits:
    """Counts over all frames. Boxes below `LIKELY` must not be left out of the lists."""
    hits = Hits()
    for mine, full in zip(ours, dense, strict=True):
        sure_mine, sure_full = mine.at_least(SURE), full.at_least(SURE)
        found, right = _found(sure_full, mine.at_least(LIKELY), iou), _found(sure_mine, full.at_least(LIKELY), iou)
        hits += Hits(found, len(sure_full), right, len(sure_mine))
    return hits


def box_f1(ours: Sequence[Boxes], dense: Sequence[Boxes], iou: float) -> float:
    """F1 over all frames, of `box_hits`; 1 when neither side has anything."""
    return box_hits(ours, dense, iou).f1


def equal_share(ours: Sequence[NDArray[Any]], dense: Sequence[NDArray[Any]]) -> float:
    """Share of equal elements over pairs of arrays of the same shape."""
    equal = sum(int(np.count_nonzero(a == b)) for a, b in zip(ours, dense, strict=True))
    return equal / max(sum(b.size for b in dense), 1)


def close_pixels(ours: Sequence[NDArray[Any]], dense: Sequence[NDArray[Any]], within: int) -> float:
    """Share of the pixels of pictures uint8 (H, W, 3) of which no channel differs by more than `within`; pictures of
    different sizes share none."""
    close = total = 0
    for a, b in zip(ours, dense, strict=True):
        total += b.shape[0] * b.shape[1]
        if a.shape == b.shape:
            close += int(np.count_nonzero((np.maximum(a, b) - np.minimum(a, b)).max(2, initial=0) <= within))
    return close / total if total else 1.0


def psnr_db(ours: Sequence[NDArray[Any]], dense: Sequence[NDArray[Any]], peak: float | None = None) -> float:
    """Peak signal-to-noise ratio in dB, `QUIETEST_DB` to `LOUDEST_DB`; None takes the range of the finite dense values
    for the peak.

    Equal infinities and two not-a-numbers in one place are no noise; one that stands alone is all noise.
    """
    squares = 0.0
    for a, b in zip(ours, dense, strict=True):
        differ = (a != b) & ~(np.isnan(a) & np.isnan(b))
        squares += float(np.square(a[differ].astype(np.float64) - b[differ]).sum())
    if squares == 0:
        return LOUDEST_DB
    if not np.isfinite(squares):
        return QUIETEST_DB
    size = max(sum(b.size for b in dense), 1)
    if peak is None:
        low, high = finite_range(dense)
        peak = high - low
    ratio = 10 * np.log10(max(peak, 1e-12) ** 2 * size / squares)
    return float(np.clip(ratio, QUIETEST_DB, LOUDEST_DB))


def finite_range(arrays: Sequence[NDArray[Any]]) -> tuple[float, float]:
    """Least and greatest finite value; (0, 0) where there is none."""
    finite = [array[np.isfinite(array)] for array in arrays]
    held = [values for values in finite if values.size]
    if not held:
        return 0.0, 0.0
    return min(float(values.min()) for values in held), max(float(values.max()) for values in held)
