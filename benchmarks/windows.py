"""Windows of a clip scored one by one under profiles, and how much less work a profile needs than one tolerance for all
maps at equal agreement, with an interval: windows are drawn again with repetition, the same ones for all profiles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from reconv.engine.model import Model
from reconv.engine.tolerance import Profile
from reconv.engine.tuning import Player, Window
from reconv.engine.tuning.ladder import falling
from reconv.recipes import Recipe
from reconv.recipes.agree import Hits, box_hits

IOU = 0.75
HEADLINE = f"f1@{IOU:g}"
DRAWS, SEED, INTERVAL = 2000, 0, (2.5, 97.5)  # percentiles

Floats = npt.NDArray[np.float64]
Point = tuple[float, float]  # share, agreement


@dataclass(frozen=True)
class Scored:
    """What a profile gave in each window: frames that count, their mean share of the work, their boxes' hits."""

    frames: tuple[int, ...]
    shares: tuple[float, ...]
    hits: tuple[Hits, ...]

    def points(self, draws: npt.NDArray[np.int64]) -> list[Point]:
        """Share and F1 over all windows for each row of `draws` (D, windows): how often each window counts."""
        frames = draws @ np.array(self.frames, np.float64)
        shares = draws @ (np.array(self.frames, np.float64) * np.array(self.shares)) / frames
        return [(float(share), sum(self._times(row), Hits()).f1) for share, row in zip(shares, draws, strict=True)]

    def _times(self, row: npt.NDArray[np.int64]) -> list[Hits]:
        pairs = zip(row.tolist(), self.hits, strict=True)
        return [Hits(n * each.found, n * each.wanted, n * each.right, n * each.given) for n, each in pairs]

    @property
    def point(self) -> Point:
        """Share and F1 over all windows."""
        return self.points(np.ones((1, len(self.frames)), np.int64))[0]

    def to_json(self) -> dict[str, Any]:
        share, f1 = self.point
        return {"share": round(share, 5), "agreement": {HEADLINE: round(f1, 5)}}


class _Counted:
    """A recipe of boxes that keeps the hits it was asked about last."""

    def __init__(self, recipe: Recipe) -> None:
        self.feeds, self.decode_brief, self.drift = recipe.feeds, recipe.decode_brief, recipe.drift
        self.hits = Hits()

    def agreement(self, results: Sequence[Any], dense_results: Sequence[Any]) -> Mapping[str, float]:
        self.hits = box_hits(results, dense_results, IOU)
        return {HEADLINE: self.hits.f1}


class Windows:
    """Plays windows, each from a dense frame on; what is dense is run once."""

    def __init__(self, model: Model, recipe: Recipe, windows: Sequence[Window]) -> None:
        subjects = [_Counted(recipe) for _ in windows]
        self._players = [
            (Player(model, subject, [window]), subject, len(window.counted))
            for subject, window in zip(subjects, windows, strict=True)
        ]

    def play(self, profile: Profile) -> Scored:
        frames, shares, hits = [], [], []
        for player, subject, counted in self._players:
            shares.append(player.play(profile).share)
            frames.append(counted)
            hits.append(subject.hits)
        return Scored(tuple(frames), tuple(shares), tuple(hits))


def share_at(single: Sequence[Point], agreement: float) -> float:
    """The share that one tolerance for all maps needs for an agreement: on the falling curve through what was played,
    of a flat stretch its least share; its ends where the agreement lies outside."""
    least: dict[float, float] = {}
    order = sorted(single, key=lambda point: -point[0])
    for value, (share, _) in zip(falling([f1 for _, f1 in order]), order, strict=True):
        least[value] = share  # shares fall: the last one of a stretch stays
    points = sorted(least.items())
    return float(np.interp(agreement, [f1 for f1, _ in points], [share for _, share in points]))


def saved(point: Point, single: Sequence[Point]) -> float:
    """Work that a profile saves, as a share of what one tolerance needs at the profile's agreement. Where it agrees
    less than any single tolerance did, nobody knows how little one would need: it counts as nothing saved at best."""
    share, agreement = point
    less = 1 - share / share_at(single, agreement)
    # the curve's lower end, not the lowest figure: that one may be a dip which the curve has smoothed away
    lower_end = falling([f1 for _, f1 in sorted(single, key=lambda p: -p[0])])[-1]
    return min(less, 0.0) if agreement < lower_end else less


@dataclass(frozen=True)
class Saved:
    """Of each point, and the mean over points: as measured, and an interval of 95 %."""

    each: tuple[float, ...]
    intervals: tuple[tuple[float, float], ...]
    mean: float
    mean_interval: tuple[float, float]


def compare(points: Sequence[Scored], single: Sequence[Scored], draws: int = DRAWS) -> Saved:
    """How much less work `points` need than `single` tolerances at equal agreement, over the same windows."""
    windows = len(single[0].frames)
    drawn = np.random.default_rng(SEED).multinomial(windows, [1 / windows] * windows, draws)
    rows = np.concatenate([np.ones((1, windows), np.int64), drawn])  # first, as measured
    curves = list(zip(*(each.points(rows) for each in single), strict=True))
    table: Floats = np.array(
        [[saved(p, curve) for p, curve in zip(point.points(rows), curves, strict=True)] for point in points]
    )
    return Saved(
        tuple(table[:, 0].tolist()),
        tuple(_interval(row[1:]) for row in table),
        float(table[:, 0].mean()),
        _interval(table[:, 1:].mean(0)),
    )


def _interval(values: Floats) -> tuple[float, float]:
    low, high = np.percentile(values, INTERVAL)
    return float(low), float(high)
