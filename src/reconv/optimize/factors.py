"""How far off which maps may be: a factor on the tolerance for each group of maps, chosen on real frames.

One tolerance for all maps spends work where the answer does not notice. Deep maps of coarse pixels move a lot and say
little of it, the last maps before a box's coordinates must be near. The search is a coordinate descent over groups of
neighbouring maps: a group's factor is multiplied or divided by a step as long as

    cost = share of the multiply-adds + rate · loss

falls, group after group, in a few rounds of smaller steps. ``rate`` says how much work a unit of loss is worth; what
tolerances without factors trade (`exchange_rate`) is a good one, for then a factor is taken when it buys more than
another tolerance would. The loss should be smooth: a count of boxes that jump over a threshold follows noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from reconv.engine.tolerance import MapProfile, Profile

__all__ = ["Factors", "Trial", "exchange_rate", "group_maps", "tune_factors"]

STEPS = (1.5, 1.28, 1.15)  # of the rounds
LEAST, MOST = 0.15, 8.0  # of a factor
GAIN = 5e-4  # in cost, below which a move is noise
MAPS_PER_GROUP = 8


@dataclass(frozen=True)
class Trial:
    """What a profile gave on the frames: share of the multiply-adds recomputed, and the loss (0: as a dense run)."""

    share: float
    loss: float


Groups = Sequence[tuple[str, ...]]


@dataclass(frozen=True)
class Factors:
    """Groups of maps and the factor of each; `trials` is how many profiles were tried, `trial` what this one gave."""

    groups: Groups
    factors: tuple[float, ...]
    trial: Trial
    trials: int = field(default=0)

    def profile(self, tolerance: float, model: str = "") -> Profile:
        """The profile of these factors at a tolerance, for the model of that digest."""
        return _profile(tolerance, self.groups, self.factors, model)


def group_maps(maps: Mapping[str, tuple[int, int]], most: int = MAPS_PER_GROUP) -> list[tuple[str, ...]]:
    """Names of neighbouring maps of one size (height, width), in the given order, at most `most` in a group.

    Neighbours of one size are a stage of a network: what is right for one of them is about right for the others.
    """
    groups: list[list[str]] = []
    before: tuple[int, int] | None = None
    for name, size in maps.items():
        if size != before or len(groups[-1]) >= most:
            groups.append([])
        groups[-1].append(name)
        before = size
    return [tuple(group) for group in groups]


def exchange_rate(trials: Sequence[Trial]) -> float:
    """Work that a unit of loss is worth when one tolerance serves all maps: from trials at several tolerances.

    Raises:
        ValueError: fewer than two trials, or none has a greater loss than the one with most work.
    """
    if len(trials) < 2:
        raise ValueError("the rate needs trials at two tolerances or more")
    near, far = max(trials, key=lambda t: t.share), min(trials, key=lambda t: t.share)
    if far.loss <= near.loss:
        raise ValueError("less work did not cost anything here: take a greater tolerance before tuning factors")
    return (near.share - far.share) / (far.loss - near.loss)


def tune_factors(
    trial: Callable[[Profile], Trial],
    groups: Groups,
    tolerance: float,
    rate: float,
    *,
    steps: Sequence[float] = STEPS,
    say: Callable[[str], None] = lambda _: None,
) -> Factors:
    """The search; ends in a profile that is never worse, by the cost, than one tolerance for all maps.

    Args:
        trial: runs the frames under a profile, the first of them dense.
        groups: of maps under cutoff, by name (`Stream.cut_maps`).
        rate: share of the multiply-adds that a unit of loss is worth.
        say: is told of every move, one line each.
    """
    tried: dict[tuple[float, ...], Trial] = {}

    def cost(factors: tuple[float, ...]) -> float:
        if factors not in tried:
            tried[factors] = trial(_profile(tolerance, groups, factors))
        return tried[factors].share + rate * tried[factors].loss

    best = (1.0,) * len(groups)
    for step in steps:
        for i in range(len(groups)):
            for change in (step, 1 / step):
                start, moved = best, _times(best, i, change)
                while LEAST <= moved[i] <= MOST and cost(moved) < cost(best) - GAIN:
                    best, moved = moved, _times(moved, i, change)
                if best != start:
                    say(f"{groups[i][0]} and {len(groups[i]) - 1} more: {best[i]:.2f}, {tried[best]}")
                    break
    cost(best)  # no groups, no moves
    return Factors(tuple(groups), best, tried[best], len(tried))


def _times(factors: tuple[float, ...], i: int, change: float) -> tuple[float, ...]:
    return (*factors[:i], round(factors[i] * change, 4), *factors[i + 1 :])


def _profile(tolerance: float, groups: Groups, factors: Sequence[float], model: str = "") -> Profile:
    maps = {
        name: MapProfile(factor=factor)
        for group, factor in zip(groups, factors, strict=True)
        if factor != 1.0
        for name in group
    }
    return Profile(tolerance, maps, model)
