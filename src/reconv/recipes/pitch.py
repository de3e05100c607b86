"""The pitch of a sound, as networks tell it: one number in Hz and how sure of it they are, for one or more moments.

CREPE (Kim et al. 2018, arXiv 1802.06182) gives 360 activations of bins 20 cents apart, bin i at 1997.38 + 20 i cents
above 10 Hz (C1 is 32.70 Hz). The pitch is the mean of the bins around the greatest, weighted by their activations;
the greatest activation is how sure it is. SwiftF0 gives both itself, for each of its moments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["BINS", "Pitch", "of_bins", "of_pair", "pitch_agreement", "pitch_drift"]

BINS = 360
CENTS = 1997.3794084376191 + 20.0 * np.arange(BINS)
AROUND = 4  # bins on each side of the greatest that the mean is over
NEAR_CENTS = 50.0  # half a semitone, the usual bar
FAR = 0.5  # of a confidence

Outputs = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Pitch:
    """`hz`, `confidence` and `voiced` are (n,): one entry for each moment. `hz` is 0 where there is no number."""

    hz: NDArray[np.float64]
    confidence: NDArray[np.float64]
    voiced: NDArray[np.bool_]


def _pitch(hz: NDArray[Any], confidence: NDArray[Any], voiced: float) -> Pitch:
    hz, confidence = (np.nan_to_num(x.astype(np.float64), nan=0, posinf=0, neginf=0) for x in (hz, confidence))
    return Pitch(hz, confidence, (confidence >= voiced) & (hz > 0))


def of_bins(activations: NDArray[Any], voiced: float) -> Pitch:
    """From activations (n, 360). A moment is voiced where its greatest activation is `voiced` or more."""
    safe = np.nan_to_num(activations.astype(np.float64), nan=0, posinf=0, neginf=0)
    best = safe.argmax(1)
    near = np.abs(np.arange(BINS) - best[:, None]) <= AROUND
    weights = np.where(near, safe, 0)
    total = weights.sum(1)
    cents = (weights * CENTS).sum(1) / np.where(total > 0, total, 1)
    return _pitch(np.where(total > 0, 10 * 2 ** (cents / 1200), 0), safe.max(1), voiced)


def of_pair(hz: NDArray[Any], confidence: NDArray[Any], voiced: float) -> Pitch:
    """From pitches (1, n) in Hz and how sure they are, (1, n)."""
    return _pitch(hz[0], confidence[0], voiced)


def pitch_agreement(ours: Sequence[Pitch], dense: Sequence[Pitch]) -> dict[str, float]:
    """`pitch@50c`: share of the moments at which both are unvoiced, or both voiced and within 50 cents of each other;
    `voicing`: share at which both are voiced or both are not."""
    if not dense:
        return {"pitch@50c": 1.0, "voicing": 1.0}
    mine, full = (_joined(side) for side in (ours, dense))
    same = mine.voiced == full.voiced
    return {"pitch@50c": float((same & (_cents(mine, full) <= NEAR_CENTS)).mean()), "voicing": float(same.mean())}


def pitch_drift(ours: Pitch, dense: Pitch) -> float:
    """How far two results are apart, 0 to 1: the mean over the moments of (cents / 50)² + (confidence apart / 0.5)², at
    most 1; a moment that is voiced for one alone is 1."""
    apart = np.square(_cents(ours, dense) / NEAR_CENTS) + np.square((ours.confidence - dense.confidence) / FAR)
    return float(np.where(ours.voiced == dense.voiced, np.minimum(apart, 1), 1).mean())


def _cents(a: Pitch, b: Pitch) -> NDArray[np.float64]:
    """How far apart pitches are, 0 where one has none."""
    both = a.voiced & b.voiced
    return np.asarray(np.abs(1200 * np.log2(np.where(both, a.hz, 1) / np.where(both, b.hz, 1))))


def _joined(pitches: Sequence[Pitch]) -> Pitch:
    hz, confidence, voiced = (
        np.concatenate([getattr(p, name) for p in pitches]) for name in ("hz", "confidence", "voiced")
    )
    return Pitch(hz, confidence, voiced)
