"""The largest tolerance that agrees as asked: a ladder of tolerances, closed in around the bar.

Agreement does not fall evenly as the tolerance grows: a lucky large tolerance may meet the bar where smaller ones miss
it. So the bar is held against a curve that only falls, the least-squares one through everything tried (pool adjacent
violators; Barlow et al. 1972), and against what the tolerance itself gave.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

__all__ = ["Ladder", "falling"]

START, STEP, CLOSE = 0.1, 1.6, 1.12
SMALLEST, LARGEST = 0.01, 3.0


class _Figure(Protocol):
    @property
    def headline(self) -> float: ...


F = TypeVar("F", bound=_Figure)


class Ladder(Generic[F]):
    """Tolerances tried so far and what each gave."""

    def __init__(self, play: Callable[[float], F], asked: float) -> None:
        self._play, self._asked = play, asked
        self.tried: dict[float, F] = {}

    def at(self, tolerance: float) -> F:
        """What a tolerance gives; played once."""
        tolerance = _round(tolerance)
        if tolerance not in self.tried:
            self.tried[tolerance] = self._play(tolerance)
        return self.tried[tolerance]

    def kept(self, tolerance: float) -> bool:
        """Whether a tolerance gave what is asked for."""
        return self.at(tolerance).headline >= self._asked

    @property
    def best(self) -> float | None:
        """The largest tolerance tried that meets the bar, and where the falling curve does too; None: there is none."""
        order = sorted(self.tried)
        curve = falling([self.tried[t].headline for t in order])
        good = [t for t, smooth in zip(order, curve, strict=True) if min(smooth, self.tried[t].headline) >= self._asked]
        return max(good, default=None)

    def climb(self, start: float = START, step: float = STEP, close: float = CLOSE) -> float | None:
        """Go up or down from `start` by `step` until the bar lies between two rungs, then by smaller steps down to
        `close`; gives `best`."""
        low = high = start
        if self.kept(start):
            while high < LARGEST and self.kept(high):
                low, high = high, min(high * step, LARGEST)
        else:
            while low > SMALLEST and not self.kept(low):
                low, high = max(low / step, SMALLEST), low
            if not self.kept(low):
                return self.best
        while high / low > close:
            middle = (low * high) ** 0.5
            low, high = (middle, high) if self.kept(middle) else (low, middle)
        return self.best


def falling(values: Sequence[float]) -> list[float]:
    """The nearest sequence, in least squares, that never rises."""
    blocks: list[tuple[float, int]] = []
    for value in values:
        blocks.append((value, 1))
        while len(blocks) > 1 and blocks[-1][0] > blocks[-2][0]:
            (a, n), (b, m) = blocks[-2:]
            blocks[-2:] = [((a * n + b * m) / (n + m), n + m)]
    return [value for value, count in blocks for _ in range(count)]


def _round(tolerance: float) -> float:
    return float(f"{tolerance:.3g}")
