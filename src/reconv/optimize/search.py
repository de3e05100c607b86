"""The search: arms take turns, and the next turn is that of the arm whose last trial points furthest.

An arm that was never tried comes first. After that an arm is worth what its last trial took of the original's time,
more where limits were missed, and more for every turn since it last brought something better. So time goes where the
results improve, and no arm that fell behind is given up for good.

Time is counted as the sum of what the trials took, which the journal holds: a search that was interrupted and is
resumed stops where it would have stopped without the interrupt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from reconv.optimize.arms import Arm
from reconv.optimize.limits import Limits, evidence, excess
from reconv.optimize.trial import Candidate, Trial

__all__ = ["Found", "search", "steady_ms"]

STALE = 0.05  # of the original's time, for every turn that brought nothing
BETTER = 0.995  # of the best time so far: less is noise
WORST = 5.0  # of limits missed: beyond, all is equally bad


@dataclass(frozen=True)
class Found:
    """trials: all, in their order; complete: False where the time was up with something left to try; turns: how many
    every arm had."""

    trials: tuple[Trial, ...]
    complete: bool
    turns: dict[str, int]

    def within(self, limits: Limits) -> list[Trial]:
        """Measured trials that keep all limits, the fastest first; of equally fast ones the smallest."""
        times = steady_ms(self.trials)
        kept = [trial for trial in self.trials if trial.paired is not None and excess(limits, trial.figures) == 0]
        return sorted(kept, key=lambda trial: (times[trial.candidate.key], trial.size_bytes))

    def nearest(self, limits: Limits) -> list[Trial]:
        """Measured trials, those that miss the fewest limits and these by the least first; among equals the fastest."""

        times = steady_ms(self.trials)

        def far(trial: Trial) -> tuple[float, ...]:
            missed = [each.over for each in evidence(limits, trial.figures, {}) if not each.met]
            return (len(missed), sum(missed), times[trial.candidate.key], trial.size_bytes)

        return sorted((trial for trial in self.trials if trial.paired is not None), key=far)


@dataclass
class _Turns:
    arm: Arm
    taken: int = 0
    stale: int = 0
    last: float = 0.0


def search(
    trial: Callable[[Candidate], Trial],
    firsts: Sequence[Candidate],
    arms: Sequence[Arm],
    limits: Limits,
    *,
    seconds: float,
    spent: float = 0.0,
) -> Found:
    """Try candidates until no arm has one or the time is up.

    Args:
        trial: tries a candidate, or knows what became of it.
        firsts: tried in any case.
        arms: that begin; those that they hand on follow.
        limits: what a candidate has to keep.
        seconds: for all, ``spent`` of which are gone.
    """
    trials = [trial(candidate) for candidate in firsts]
    spent += sum(done.seconds for done in trials)
    line = [_Turns(arm) for arm in arms]
    turns: dict[str, int] = {}
    best = _best(trials, limits)
    while line := [each for each in line if each.arm.next() is not None]:
        if spent >= seconds:
            return Found(tuple(trials), False, turns)
        each = min(line, key=lambda one: (one.taken > 0, one.last + STALE * one.stale))  # the first of equals
        candidate = each.arm.next()
        assert candidate is not None
        done = trial(candidate)
        trials.append(done)
        spent += done.seconds
        line += [_Turns(arm) for arm in each.arm.told(done)]
        now = _best(trials, limits)
        each.taken += 1
        each.stale = 0 if now[0] < best[0] or (now[0] == best[0] and now[1] < BETTER * best[1]) else each.stale + 1
        best = now
        if done.failed:
            each.last = 1.0 + WORST
        elif done.paired is not None:
            each.last = done.paired.ratio * (1 + min(excess(limits, done.figures), WORST))
        turns[each.arm.name] = turns.get(each.arm.name, 0) + 1
    return Found(tuple(trials), True, turns)


def steady_ms(trials: Sequence[Trial]) -> dict[str, float]:
    """Milliseconds by candidate with the drift of the machine taken out: the ratio to the original beside which it was
    measured, times what the original takes on that target (the median over all trials)."""
    before: dict[str, list[float]] = {}
    for done in trials:
        if done.paired is not None:
            before.setdefault(done.candidate.target, []).append(done.paired.before_ms)
    return {
        done.candidate.key: done.paired.ratio * median(before[done.candidate.target])
        for done in trials
        if done.paired is not None
    }


def _best(trials: Sequence[Trial], limits: Limits) -> tuple[float, float]:
    """How far the best so far misses the limits, and its time."""
    times = steady_ms(trials)
    measured = [done for done in trials if done.paired is not None]
    return min(((excess(limits, t.figures), times[t.candidate.key]) for t in measured), default=(float("inf"),) * 2)
