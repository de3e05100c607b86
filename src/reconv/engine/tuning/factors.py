"""How far off which maps may be: a factor on the tolerance for each group of maps, chosen on real frames.

One tolerance for all maps spends work where the answer does not notice. Each group is made looser by a probe, the
others left as they are, which tells what it saves and what it costs. Errors of different maps are about independent, so
the drift is about a sum of squares, Σ a_g f_g², and the work about Σ s_g / f_g. Least work at an equal drift is where

    s_g / f_g = λ a_g f_g²        so each group moves by      (saved_g / cost_g)^(1/3)

apart from one factor for all, which the tolerance makes up for. What a probe costs is known from few frames and is
noisy; it is mixed with what it would cost if all groups were worth the same (normal prior and noise, the noise from the
stretches of the clip), so a group moves only as far as the frames can tell. Then a step of that direction, half or
twice of it, whichever lowers

    cost = share of the multiply-adds + rate · drift

most, and the same again from there. ``rate`` says how much work a unit of drift is worth: what tolerances without
factors trade (`exchange_rate`), for then factors are taken when they buy more than another tolerance would.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from reconv.engine.tolerance import MapProfile, Profile

__all__ = ["Factors", "Groups", "Trial", "exchange_rate", "tune_factors"]

PROBE = 1.6  # how much looser a group is made
LEAST, MOST = 0.15, 8.0  # of a factor
FURTHEST = 2.5  # of one move
ROUNDS = 3
GAIN = 5e-3  # of the cost, below which another round is not worth its trials
FLOOR = 0.1  # of what a probe would cost if all groups were worth the same: less is not believed
FEWEST = 3  # stretches, from which noise can be told

Groups = Sequence[tuple[str, ...]]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Trial:
    """What a profile gave on the frames: share of the multiply-adds recomputed, and the drift (0: as a dense run); of
    all frames, and `parts` of them (the drift of each stretch of a clip) where the noise is to be told."""

    share: float
    loss: float
    parts: tuple[float, ...] = ()


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
    rounds: int = ROUNDS,
    say: Callable[[str], None] = lambda _: None,
    found: Callable[[Factors], None] = lambda _: None,
) -> Factors:
    """The search; ends in a profile that is never worse, by the cost, than one tolerance for all maps.

    Args:
        trial: runs the frames under a profile, each stretch of them from a dense frame on.
        groups: of maps under cutoff, by name (`Stream.cut_maps`, `group_maps`).
        tolerance: that the factors multiply.
        rate: share of the multiply-adds that a unit of loss is worth.
        rounds: of probing all groups, at most.
        say: is told what is found, one line each.
        found: is handed the best so far whenever it changed, for a search that is cut short.
    """
    tried: dict[tuple[float, ...], Trial] = {}

    def cost(factors: tuple[float, ...]) -> float:
        if factors not in tried:
            tried[factors] = trial(_profile(tolerance, groups, factors))
        return tried[factors].share + rate * tried[factors].loss

    def so_far() -> Factors:
        return Factors(tuple(groups), best, tried[best], len(tried))

    best = (1.0,) * len(groups)
    before = cost(best)
    for number in range(rounds if groups else 0):
        probes = []
        for i, factor in enumerate(best):
            change = PROBE if factor * PROBE <= MOST else 1 / PROBE
            probed = _times(best, i, change)
            cost(probed)
            probes.append((change, tried[probed]))
            say(f"round {number + 1}: {groups[i][0]} and {len(groups[i]) - 1} more, {i + 1} of {len(groups)} groups")
        move = proposed(tried[best], probes)
        start = best
        for scale in (1.0, None):
            # twice as far where the move was right, half-way where it was not
            power = scale or (2.0 if best != start else 0.5)
            moved = tuple(round(float(np.clip(f * m**power, LEAST, MOST)), 4) for f, m in zip(start, move, strict=True))
            if cost(moved) < cost(best):
                best = moved
                say(f"factors {min(best):.2f} to {max(best):.2f}: {tried[best].share:.1%} of the work")
                found(so_far())
        if before - cost(best) < GAIN * before:
            break
        before = cost(best)
    return so_far()


def proposed(now: Trial, probes: Sequence[tuple[float, Trial]]) -> Floats:
    """How much each group moves: its factor is to be multiplied by (G,), from a probe (change, trial) of each."""
    saved = np.array([max((now.share - t.share) / (1 - 1 / change), 0.0) for change, t in probes])
    scale = np.array([change**2 - 1 for change, _ in probes])
    costs = np.array([t.loss - now.loss for _, t in probes]) / scale
    level = float(np.maximum(costs, 0).sum())
    if saved.sum() <= 0 or level <= 0:
        return np.ones(len(probes))
    even = saved * (level / saved.sum())
    noise = np.abs(np.array([_noise(now, t) for _, t in probes]) / scale)
    doubt = even + even.mean() / 4  # of the prior: as much as it says
    sure = doubt**2 / (doubt**2 + noise**2)
    mixed = np.maximum(sure * costs + (1 - sure) * even, FLOOR * even)
    move = np.where(mixed > 0, (even / np.maximum(mixed, 1e-300)) ** (1 / 3), 1.0)
    return np.asarray(np.clip(move, 1 / FURTHEST, FURTHEST))


def _noise(now: Trial, probe: Trial) -> float:
    """Standard error of how much the loss changed, from how the stretches differ in it."""
    if len(now.parts) != len(probe.parts) or len(now.parts) < FEWEST:
        return 0.0
    change = np.subtract(probe.parts, now.parts)
    return float(change.std(ddof=1) / np.sqrt(len(change)))


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
