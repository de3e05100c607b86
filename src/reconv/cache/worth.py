"""Whether looking at requests pays: a cache that cannot pay steps aside, and is back soon after hits return.

To look at a request (hash it, ask, copy) costs seconds; a hit saves seconds. Over the last requests

    saved = mean over all requests of what hits saved        cost = mean over those looked at of what looking took

and a cache with saved < cost steps aside. From then on it looks at two kinds of requests only, told apart by a mark, a
number that is made of a request far more cheaply than its key (equal requests have equal marks):

- a sample: one mark in `period`, the same ones for a while, and never more than twice that share of the requests. It
  costs about half a per cent of the computations, and each of the sample counts for all that it stands for;
- what bears a mark that came before: it may be a repetition. These are given up as long as they do not pay for
  themselves, because unequal requests may have equal marks (a screen on which only a cursor blinks).

Both tell what looking at everything would save, and the cache is back as soon as that is more than it would cost.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Look", "Worth"]

WINDOW = 64  # requests that `saved` is the mean of: those before count for about a third
SHORT_WINDOW = 8  # looks that the other means are of: there may be few of them
PATIENCE = 32  # requests looked at before the cache steps aside, at first and whenever it is back
TRUST = 16  # repetitions looked at before they are given up
OUTLIER = 4.0  # a look counts for at most so many times the mean: a stall of the disk is no reason to leave
SHORTEST, LONGEST = 16, 1024  # periods of the sample, powers of two
BUDGET = 0.005  # of the seconds of computing, for looking at the sample
MARKS = 1 << 14  # that are remembered
MOST_SAVED_UP = 4.0  # requests that the sample may have in a row
TERM = 1024  # requests after which the sample is of other marks: the popular ones may all be outside


class Look(NamedTuple):
    """A request to look at: for how many it stands, and whether its mark came before (told only while aside)."""

    stands_for: int = 1
    repeated: bool = False


EACH = Look()


class Worth:
    """The decision for one stream of requests. Knows no clock: seconds are handed in. Not for several threads at once.

    `aside` tells where it stands now, `times_aside` how often it stepped aside, `passed_by` how many requests were not
    looked at.
    """

    def __init__(self, may_step_aside: bool = True) -> None:
        self._may = may_step_aside
        self.aside = False
        self.times_aside = 0
        self.passed_by = 0
        self._saved = _Mean(WINDOW)  # per request
        self._cost = _Mean(SHORT_WINDOW)  # per request looked at
        self._ran = _Mean(SHORT_WINDOW)  # per computation
        self._gain = _Mean(SHORT_WINDOW)  # per repetition looked at while aside
        self._since = 0  # requests looked at since the cache is back
        self._repetitions = 0  # looked at since it stepped aside
        self._away = 0  # requests since it stepped aside
        self._period = SHORTEST  # of the sample
        self._allowance = 0.0  # requests of the sample that may be looked at now
        self._tries = 0.0  # and repetitions outside it that are not trusted
        self._seen = array("q", bytes(8 * MARKS))

    def weigh(self, count: int, marks: Sequence[int] | None = None) -> list[Look | None]:
        """Which of some requests to look at; None: pass it by.

        Args:
            count: how many requests.
            marks: one of each, whole numbers of 64 bits, of which the low ones are as good as random. Not read unless
                the cache is aside; without them all requests are looked at.
        """
        self._saved.age(count)
        if not self.aside or marks is None:
            return [EACH] * count
        repeated = self._repeated(marks)
        trusted = self._repetitions < TRUST or self._gain.value > 0
        period, term = self._period, self._away // TERM
        looks: list[Look | None] = []
        for mark in marks:
            again = mark in repeated
            self._allowance = min(self._allowance + 1.5 / period, MOST_SAVED_UP)
            self._tries = min(self._tries + 0.5 / period, MOST_SAVED_UP)
            if again and trusted:
                looks.append(Look(1, True))
            elif (mark ^ term) & (period - 1) == 0 and self._allowance >= 1:
                self._allowance -= 1
                looks.append(Look(period, again))
            elif again and self._tries >= 1:
                self._tries -= 1
                looks.append(Look(2 * period, True))
            else:
                looks.append(None)
                self.passed_by += 1
        if repeated:
            self._repetitions += sum(look is not None and look.repeated for look in looks)
        self._away += count
        return looks

    def looked(self, look: Look, spent: float, saved: float, ran: float | None = None) -> None:
        """What came of looking at one request; decides anew.

        Args:
            look: what `weigh` gave for it.
            spent: seconds of looking: without those of the computation, or of waiting for somebody else's.
            saved: seconds that were not spent on a computation; 0 for a miss.
            ran: seconds of its computation; None for a hit.
        """
        self._cost.add(min(spent, OUTLIER * self._cost.value) if self._cost.value else spent)
        self._saved.credit(look.stands_for * saved)
        if ran is not None:
            self._ran.add(ran)
        if look.repeated:
            self._gain.add(saved - spent)
        self._set_period()
        if self.aside:
            if self._saved.value > self._cost.value:
                self.aside, self._since = False, 0
            return
        self._since += 1
        if self._may and self._since >= PATIENCE and self._saved.value < self._cost.value:
            self.aside = True
            self.times_aside += 1
            self._gain, self._repetitions, self._away = _Mean(SHORT_WINDOW), 0, 0

    def _repeated(self, marks: Sequence[int]) -> set[int]:
        """Those of the marks that came before, or come twice here."""
        repeated = set()
        for mark in marks:
            place = mark % MARKS
            if self._seen[place] == mark:
                repeated.add(mark)
            self._seen[place] = mark
        return repeated

    def _set_period(self) -> None:
        cost, budget = self._cost.value, BUDGET * self._ran.value
        self._period = SHORTEST
        while self._period < LONGEST and cost > self._period * budget:
            self._period *= 2


class _Mean:
    """Of the last values, older ones count less; 0 before the first."""

    def __init__(self, window: int) -> None:
        self._keeps = 1 - 1 / window
        self._total = 0.0
        self._weight = 0.0

    @property
    def value(self) -> float:
        return self._total / self._weight if self._weight else 0.0

    def add(self, value: float) -> None:
        self.age(1)
        self.credit(value)

    def age(self, count: int) -> None:
        """Make room for so many values, each of them 0 until it is credited."""
        for _ in range(count):
            self._total *= self._keeps
            self._weight = self._weight * self._keeps + 1

    def credit(self, value: float) -> None:
        self._total += value
