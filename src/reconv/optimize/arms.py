"""Arms: ways to look for a better candidate, each of which proposes one at a time and goes by what became of the last.

- `Halving` tries recipes of quantization on a part of the samples, keeps the better half, tries those on more
  (successive halving, Jamieson and Talwalkar 2016), and hands the best ones on;
- `Frontier` looks for the fewest layers that have to stay float, most sensitive first: it doubles their number until
  the loss is within the limit, halves the stretch in between, then gives single layers back to 8 bits, largest first;
- `Ladder` climbs a method's settings, mildest first, for as long as the loss is within the limit, and hands the result
  on to be quantized as well.

What an arm does depends on the trials alone, so that a search that is resumed takes the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from reconv.optimize.trial import Candidate, Step, Trial

__all__ = ["Arm", "Frontier", "Halving", "Ladder", "Notes"]

RUNGS = (0.25, 0.5)  # shares of the samples
HANDED_ON = 2  # recipes
FASTER = 0.995  # of the time so far: less is noise
MISSES = 2  # settings that lose too much: one may have been a poor choice of its strength
GIVEN_UP = 6  # layers in a row that could not be given back to 8 bits
WORTH_TIME = 0.97  # of the original's: what a ladder has to reach to be quantized as well


class Arm(Protocol):
    """name: for progress and reports."""

    name: str

    def next(self) -> Candidate | None:
        """What to try now; None when there is nothing left. The same until `told`."""

    def told(self, trial: Trial) -> Sequence[Arm]:
        """What became of it; gives arms that are worth trying because of it."""


@dataclass
class Notes:
    """What arms tell one another. within: whether a trial's loss is within the limit; orders: the layers that can be
    quantized, most sensitive first, in several senses of it; work: multiply-adds by layer; recipe: the best settings
    of a quantization so far, and how many layers it left float."""

    within: Callable[[Trial], bool]
    orders: Mapping[str, Sequence[str]]
    work: Mapping[str, int]
    recipe: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)


class Halving:
    """Recipes of quantization for one target, all layers in 8 bits."""

    def __init__(self, notes: Notes, target: str, recipes: Sequence[Mapping[str, Any]]) -> None:
        self.name = f"recipes for {target}"
        self._notes, self._target = notes, target
        self._recipes = list(recipes)
        self._rung = 0
        self._done: list[Trial] = []

    def next(self) -> Candidate | None:
        if len(self._recipes) <= 1 or self._rung >= len(RUNGS):
            return None
        recipe = self._recipes[len(self._done)]
        return Candidate((Step("quantize", recipe),), self._target, RUNGS[self._rung])

    def told(self, trial: Trial) -> Sequence[Arm]:
        self._done.append(trial)
        if len(self._done) < len(self._recipes):
            return ()
        order = sorted(range(len(self._done)), key=lambda i: (self._done[i].loss, self._done[i].error, i))
        keep = max(HANDED_ON, (len(order) + 1) // 2) if self._rung + 1 < len(RUNGS) else HANDED_ON
        self._recipes = [self._recipes[i] for i in order[:keep] if not self._done[i].failed]
        self._done, self._rung = [], self._rung + 1
        return self.handed_on() if self.next() is None else ()

    def handed_on(self) -> list[Arm]:
        """The search for layers to leave float, in every order for the best recipe and in the first for the next."""
        arms: list[Arm] = []
        for place, recipe in enumerate(self._recipes[:HANDED_ON]):
            if place == 0:
                self._notes.recipe[self._target] = recipe
            for order in list(self._notes.orders)[: None if place == 0 else 1]:
                arms.append(Frontier(self._notes, self._target, recipe, order))
        return arms


class Frontier:
    """The fewest layers that stay float, for one recipe and one order of the layers."""

    def __init__(
        self,
        notes: Notes,
        target: str,
        recipe: Mapping[str, Any],
        order: str,
        *,
        before: Sequence[Step] = (),
        start: int = 0,
    ) -> None:
        """
        Args:
            before: steps that come before the quantization.
            start: how many layers are left float at first.
        """
        self.name = ", then ".join([*(step.method for step in before), f"layers left float by {order}, on {target}"])
        self._notes, self._target, self._recipe, self._before = notes, target, recipe, tuple(before)
        self._order = list(notes.orders[order])
        self._most = len(self._order) - 1  # all of them float is no quantization
        self._fails, self._holds = -1, self._most + 1  # numbers of float layers that are too few, and enough
        self._count = min(start, max(self._most, 0))
        self._best: Trial | None = None
        self._float: list[str] | None = None  # once the fewest are known: what is float now
        self._try: list[str] = []  # layers that may be given back, in order
        self._refused = 0
        self._over = self._most < 0

    def next(self) -> Candidate | None:
        if self._over:
            return None
        if self._float is None:
            return self._candidate(self._order[: self._count])
        return self._candidate([name for name in self._float if name != self._try[0]])

    def told(self, trial: Trial) -> Sequence[Arm]:
        if self._float is None:
            self._halve(trial)
        else:
            self._give_back(trial)
        return ()

    def _candidate(self, left: Sequence[str]) -> Candidate:
        recipe = {**self._recipe, "exclude": sorted(left)}
        return Candidate((*self._before, Step("quantize", recipe)), self._target)

    def _halve(self, trial: Trial) -> None:
        if trial.failed:
            self._over = True
            return
        if self._notes.within(trial):
            self._holds, self._best = self._count, trial
        else:
            self._fails = self._count
        if self._holds - self._fails <= 1:
            self._settle()
        elif self._holds > self._most:  # nothing held so far
            self._count = min(max(2 * self._count, 1), self._most)
        else:
            self._count = (self._holds + self._fails) // 2

    def _settle(self) -> None:
        if self._best is None or self._holds == 0:
            self._over = True
            if self._best is not None and not self._before:
                self._notes.left[self._target] = 0
            return
        if not self._before:
            known = self._notes.left.get(self._target, self._holds)
            self._notes.left[self._target] = min(known, self._holds)
        self._float = self._order[: self._holds]
        self._try = sorted(self._float[:-1], key=lambda name: (-self._notes.work.get(name, 0), name))
        self._over = not self._try

    def _give_back(self, trial: Trial) -> None:
        assert self._float is not None
        assert self._best is not None
        assert self._best.paired is not None
        layer = self._try.pop(0)
        faster = trial.paired is not None and trial.paired.ratio < FASTER * self._best.paired.ratio
        if faster and self._notes.within(trial):
            self._float = [name for name in self._float if name != layer]
            self._best, self._refused = trial, 0
        else:
            self._refused += 1
        self._over = not self._try or self._refused >= GIVEN_UP or len(self._float) < 1


class Ladder:
    """A method's settings on one target, mildest first."""

    def __init__(self, notes: Notes, target: str, method: str, settings: Sequence[Mapping[str, Any]]) -> None:
        self.name = f"{method}, on {target}"
        self._notes, self._target, self._method = notes, target, method
        self._settings = list(settings)
        self._place = self._misses = 0
        self._best: Trial | None = None
        self._ratio = float("inf")  # of its time to the original's

    def next(self) -> Candidate | None:
        if self._place >= len(self._settings):
            return None
        return Candidate((Step(self._method, self._settings[self._place]),), self._target)

    def told(self, trial: Trial) -> Sequence[Arm]:
        self._place += 1
        if not trial.failed and self._notes.within(trial):
            if trial.paired is not None and trial.paired.ratio < self._ratio:
                self._best, self._ratio = trial, trial.paired.ratio
        elif not trial.failed:
            self._misses += 1
            if self._misses == MISSES:
                self._place = len(self._settings)  # what is bolder loses more
        return self._quantized() if self.next() is None else ()

    def _quantized(self) -> list[Arm]:
        best, recipe = self._best, self._notes.recipe.get(self._target)
        if best is None or recipe is None or best.paired is None or best.paired.ratio > WORTH_TIME:
            return []
        order = next(iter(self._notes.orders))
        start = self._notes.left.get(self._target, 0)
        made: Arm = Frontier(self._notes, self._target, recipe, order, before=best.candidate.steps, start=start)
        return [made]
