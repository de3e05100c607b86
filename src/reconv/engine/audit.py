"""The self-audit of a stream: now and then a frame is run dense as well, and the tolerance follows what that shows.

An audited step runs the frame as always and then dense; the caller gets the dense outputs, and the stream goes on from
them. The dense run is paid from a budget: all audits together cost at most `budget` of the stream's own work so far,
counted in multiply-adds. One audit is held back for when something changes (the recomputed share leaves what it was at
the last audit) and while there are few samples.

A sample is an agreement a_i at a tolerance t_i. The loss is taken to grow with the tolerance, 1 - a = c t, and c is the
mean over samples, recent ones first, and over `PRIOR` samples' worth of trust in the tolerance that the user gave:

    c = (PRIOR (1 - target) / t_user + sum_i w_i (1 - a_i) / t_i) / (PRIOR + sum_i w_i)

The tolerance goes to (1 - target) / c, if that is more than `DEAD` away, in bounded steps, never above the user's.
What was learnt before something changed counts for little afterwards.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite, sqrt
from typing import Any

import numpy as np

from reconv.errors import InputError, ProfileError

__all__ = ["TARGET", "Agreement", "Audit", "AuditPlan", "Auditor"]

Agreement = Callable[[Mapping[str, Any], Mapping[str, Any]], float]

TARGET = 0.98
PRIOR = 2.0  # samples
FORGET, CHANGED = 0.9, 0.25  # what older samples count for after each sample, and after a change
DEAD = 0.1  # a tolerance this close to the one wanted stays
LEAST, MOST = 1 / 8, 1.0  # of the tolerance that the user gave: a quiet scene does not tell what a busy one allows
DOWN, UP = 0.4, 1.3  # of the tolerance, in one audit
SETTLED = 8  # steps after a dense one until a frame tells what the stream usually gives; fewer where it is refreshed
FEW = 3  # samples below which none is held back
KEPT = 64  # samples
MOSTLY = 0.9  # a step that recomputed this much is as good as dense
RATE, RATIO, FLOOR = 0.1, 1.5, 0.01  # of the running mean of shares; how far it has to go to be a change


@dataclass(frozen=True)
class AuditPlan:
    """How a stream audits itself.

    every: an audit at most every so many steps. target: the agreement with dense outputs to stay at, above 0 and below
    1. agreement: (outputs, dense outputs of the same frame) -> 0..1; None is 1 - `relative_error`. budget: extra work
    allowed, as a share of the stream's own.

    Raises:
        ProfileError: a number that does not make sense.
    """

    every: int
    target: float = TARGET
    agreement: Agreement | None = None
    budget: float = 0.05

    def __post_init__(self) -> None:
        if not isinstance(self.every, int) or isinstance(self.every, bool) or self.every < 1:
            raise ProfileError(f"audit_every is {self.every!r}, expected a number of steps from 1 up")
        if not _number(self.target) or not 0 < self.target < 1:
            raise ProfileError(f"target is {self.target!r}, expected an agreement above 0 and below 1, 0.98 say")
        if not _number(self.budget) or not 0 < self.budget <= 1:
            raise ProfileError(f"audit_budget is {self.budget!r}, expected a share of the work above 0, up to 1")


@dataclass(frozen=True)
class Audit:
    """What a stream's audits have shown so far.

    samples: audits made. agreement, error: running means over the recent ones (None before the first), of the frames
    just before they were refreshed, and their standard deviations between frames (None of fewer than two); error is
    `relative_error` of the raw outputs. tolerance: now. extra_work: of the audits, as a share of the stream's own.
    """

    samples: int
    target: float
    agreement: float | None
    agreement_spread: float | None
    error: float | None
    error_spread: float | None
    tolerance: float
    extra_work: float


@dataclass
class _Sample:
    agreement: float
    error: float
    tolerance: float
    weight: float = 1.0


class Auditor:
    """Counts of one stream, when to audit, and the tolerance that follows. Work is in dense runs."""

    def __init__(self, plan: AuditPlan, tolerance: float, refresh_every: int | None = None) -> None:
        """`refresh_every`: every so many steps, from 2 up, the stream makes one dense by itself."""
        self.plan = plan
        self._settled = SETTLED if refresh_every is None else min(SETTLED, refresh_every - 1)
        self._samples: deque[_Sample] = deque(maxlen=KEPT)
        self._count = 0
        self._own = self._extra = 0.0
        self._since_audit = self._since_dense = 0
        self._activity: float | None = None  # running mean of shares
        self._audited: float | None = None  # what it was at the last audit
        self.restart(tolerance)

    def restart(self, tolerance: float) -> None:
        """The user gives a tolerance: trust it anew.

        Raises:
            ProfileError: it is 0.
        """
        if tolerance == 0:
            raise ProfileError("a stream at tolerance 0 is exact, nothing to audit: start from a tolerance, 0.1 say")
        self._given = self.tolerance = tolerance
        self._samples.clear()

    def note(self, share: float, *, dense: bool) -> None:
        """A step of the stream that recomputed `share`."""
        self._own += share
        self._since_audit += 1
        if dense or share >= MOSTLY:
            self._since_dense = 0
            return
        self._since_dense += 1
        self._activity = share if self._activity is None else self._activity + RATE * (share - self._activity)

    @property
    def due(self) -> bool:
        """Whether the frame of the step just noted is to be run dense."""
        if self._since_audit < self.plan.every or self._since_dense < self._settled:
            return False
        urgent = self._changed or len(self._samples) < FEW
        return self.plan.budget * self._own - self._extra >= (1 if urgent else 2)

    def learn(self, agreement: float, error: float) -> float:
        """An audit's sample; the tolerance to go on with, for a stream that has just run dense.

        Raises:
            InputError: the agreement is not a number from 0 to 1.
        """
        if not _number(agreement) or not 0 <= agreement <= 1:
            raise InputError(f"the agreement of an audit is {agreement!r}, expected a number from 0 to 1")
        kept = FORGET * (CHANGED if self._changed else 1.0)
        for sample in self._samples:
            sample.weight *= kept
        self._samples.append(_Sample(float(agreement), error, self.tolerance))
        self._count += 1
        self._extra += 1
        self._since_audit = self._since_dense = 0
        self._audited = self._activity
        self.tolerance = self._wanted()
        return self.tolerance

    @property
    def report(self) -> Audit:
        """What was found so far."""
        samples = list(self._samples)  # the stream may step meanwhile
        agreement, error = (self._running(samples, [getattr(s, n) for s in samples]) for n in ("agreement", "error"))
        extra = self._extra / self._own if self._own else 0.0
        return Audit(self._count, self.plan.target, *agreement, *error, self.tolerance, extra)

    @property
    def _changed(self) -> bool:
        if self._activity is None or self._audited is None:
            return True
        now, then = self._activity + FLOOR, self._audited + FLOOR
        return not 1 / RATIO <= now / then <= RATIO

    def _wanted(self) -> float:
        allowed = 1 - self.plan.target
        losses = sum(s.weight * (1 - s.agreement) / s.tolerance for s in self._samples)
        rate = (PRIOR * allowed / self._given + losses) / (PRIOR + sum(s.weight for s in self._samples))
        wanted = allowed / rate
        if abs(wanted / self.tolerance - 1) <= DEAD:
            return self.tolerance
        stepped = min(max(wanted, DOWN * self.tolerance), UP * self.tolerance)
        return min(max(stepped, LEAST * self._given), MOST * self._given)

    @staticmethod
    def _running(samples: list[_Sample], values: list[float]) -> tuple[float | None, float | None]:
        if not values:
            return None, None
        weights = [s.weight for s in samples]
        total = sum(weights)
        mean = sum(w * v for w, v in zip(weights, values, strict=True)) / total
        left = total - sum(w * w for w in weights) / total
        if len(values) < 2 or left <= 0:
            return mean, None
        squares = sum(w * (v - mean) ** 2 for w, v in zip(weights, values, strict=True))
        return mean, sqrt(squares / left)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float, np.floating, np.integer)) and not isinstance(value, bool) and isfinite(value)
