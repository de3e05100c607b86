"""How far boxes drifted, as a smooth number: what a search for tolerances follows.

F1 counts boxes that jump over a bar, a few among hundreds, and a search that follows it follows noise. Here each box
tells how near it came to jumping, in squares, as independent small errors add:

    min(1, ((1 - overlap) / 0.35)² + ((score - its score) / (score - 0.15))²)

for each sure box of the dense run and the box of its class on our side that overlaps it most; 1 where there is none.
The first term is a half where F1 at an overlap of 0.75 lets go, the second about 1 where the score falls out of the
list. A sure box of ours counts likewise where its nearest dense one is not sure, and so was not counted yet.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reconv.recipes.agree import SURE, Boxes

__all__ = ["box_drift"]

OVERLAP, SCORE = 0.35, 0.15


def box_drift(ours: Boxes, dense: Boxes) -> float:
    """The sum over boxes: 0 for equal ones. Both lists go down to `agree.LIKELY`."""
    overlaps = _overlaps(ours, dense)
    drift, _ = _one_way(dense, ours, overlaps.T, dense.scores >= SURE)
    again, known = _one_way(ours, dense, overlaps, ours.scores >= SURE)
    return float(drift.sum() + again[~known].sum())


def _one_way(
    wanted: Boxes, among: Boxes, overlaps: NDArray[Any], sure: NDArray[np.bool_]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Of each of the sure boxes wanted how far it is from its nearest, and whether that one is sure."""
    if not len(among):
        return np.ones(int(sure.sum())), np.zeros(int(sure.sum()), bool)
    overlaps, scores = overlaps[sure], wanted.scores[sure]
    nearest = overlaps.argmax(1)
    overlap = overlaps[np.arange(len(overlaps)), nearest]
    away, change = (1 - overlap) / OVERLAP, (scores - among.scores[nearest]) / (scores - SCORE)
    return np.minimum(1, away**2 + change**2), (overlap > 0) & (among.scores[nearest] >= SURE)


def _overlaps(a: Boxes, b: Boxes) -> NDArray[np.float64]:
    """(N, M) intersection over union; 0 between classes."""
    first, second = a.corners[:, None, :].astype(np.float64), b.corners[None, :, :].astype(np.float64)
    sides = np.clip(np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2]), 0, None)
    both = sides.prod(-1)
    areas = [(boxes[..., 2:] - boxes[..., :2]).prod(-1) for boxes in (first, second)]
    share = both / np.maximum(areas[0] + areas[1] - both, 1e-9)
    return np.where(a.classes[:, None] == b.classes[None, :], share, 0.0)
