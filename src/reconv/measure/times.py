"""What was measured of one contestant, and the ratio of two: medians, percentiles, spread, CPU seconds.

Ratios pair the same turn of both contestants, which drift of the machine hits alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import comb

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Ratio:
    """Time of one contestant over another's. `total` compares all frames, `median` is over turns, `low` and `high` are
    the quartiles over turns. Less than 1 means that the first is faster."""

    total: float
    median: float
    low: float
    high: float


def median_interval(values: Floats) -> tuple[float, float]:
    """Where the median lies with 95 % confidence, whatever the distribution: the k-th smallest and k-th largest of the
    N values, with the largest k for which P(Binomial(N, 1/2) < k) <= 2.5 %. Fewer than 6 give their extremes."""
    ordered, count = np.sort(values), len(values)
    below, rank = 0.0, 0
    while (below := below + comb(count, rank) / 2**count) <= 0.025:
        rank += 1
    rank = max(rank, 1)
    return float(ordered[rank - 1]), float(ordered[count - rank])


@dataclass(frozen=True)
class Times:
    """One contestant's measured frames, in order.

    seconds: (N,) wall-clock time of each frame; recomputed: (N,) share of the multiply-adds spent; turns: (T,) frames
    in each turn; cpu_seconds: (T,) of the whole process in each turn, up to its next one (a pool that spins on pays).
    """

    seconds: Floats
    recomputed: Floats
    turns: tuple[int, ...]
    cpu_seconds: Floats
    facts: Mapping[str, str | int] = field(default_factory=dict)

    @property
    def mean(self) -> float:
        return float(self.seconds.mean())

    @property
    def median(self) -> float:
        return float(np.median(self.seconds))

    def percentile(self, percent: float) -> float:
        return float(np.percentile(self.seconds, percent))

    @property
    def spread(self) -> float:
        """Distance of the quartiles over the median."""
        return (self.percentile(75) - self.percentile(25)) / self.median

    @property
    def cpu_seconds_per_frame(self) -> float:
        return float(self.cpu_seconds.sum() / len(self.seconds))

    @property
    def share(self) -> float:
        """Mean share of a dense run's multiply-adds that was recomputed."""
        return float(self.recomputed.mean())

    def per_turn(self) -> Floats:
        """(T,) mean seconds per frame of each turn."""
        return np.array([part.mean() for part in np.split(self.seconds, np.cumsum(self.turns)[:-1])])

    def over(self, other: Times) -> Ratio:
        """This contestant's time over the other's; both took the same turns."""
        if self.turns != other.turns:
            raise ValueError(f"turns {self.turns} and {other.turns}: only contestants of one run can be compared")
        ratios = self.per_turn() / other.per_turn()
        low, median, high = np.percentile(ratios, [25, 50, 75])
        return Ratio(self.mean / other.mean, float(median), float(low), float(high))

    def to_json(self) -> dict[str, object]:
        """Milliseconds and shares, rounded to what a measurement can know."""
        milliseconds = {
            "mean": self.mean,
            "p50": self.median,
            "p95": self.percentile(95),
            "p99": self.percentile(99),
            "cpu": self.cpu_seconds_per_frame,
        }
        return {
            "frames": len(self.seconds),
            "ms": {name: round(1e3 * value, 4) for name, value in milliseconds.items()},
            "spread": round(self.spread, 4),
            "recomputed": round(self.share, 5),
            **self.facts,
        }
