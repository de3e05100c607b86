"""When a stream's step runs plain: dense, without lists and comparisons, in the time of `Model.run`.

A step with lists costs more than a dense one where most is stale: pixels are compared, listed and gathered only to be
computed nearly all. It pays below a recomputed share of about `LIMIT`. What goes beyond it is a debt:

    debt = max(0, debt + share - LIMIT)           of every step with lists

and at `DEBT` the stream turns plain: after 2 steps of noise, after 3 at a share of 0.85, never after a single cut. A
plain stream looks at a few rows of its inputs now and then (see `reconv.engine.glance`): when much less of them moves
than did when lists did not pay, and every so often in any case, it goes back to lists. Whenever it finds that it went
back too early it waits twice as long for the next time. All of this is counted, nothing is timed: what a stream with a
tolerance gives does not depend on how busy the machine is.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["DEBT", "LIMIT", "LONGEST", "LOOK", "SHORTEST", "Pace"]

LIMIT = 0.7  # share of the multiply-adds at which a step with lists takes as long as a dense one
DEBT = 0.4
CALMER = 0.25  # of what moved when lists did not pay: worth a try
LOOK = 8  # plain steps from one look at the inputs to the next
SHORTEST, LONGEST = 64, 512  # plain steps until lists are tried whatever moves
EARLIEST = 4  # a look may bring lists back after that part of the wait
GAIN = 2.0  # dense runs saved by lists until the wait is the shortest again


class Pace:
    """Counts of one item of a stream, and what follows from them."""

    def __init__(self) -> None:
        self.plain = False
        self._debt = self._gain = 0.0
        self._wait = SHORTEST // 2
        self._steps = 0  # plain ones since lists were last used
        self._moved = 1.0  # share of the inputs' pixels that moved when lists did not pay

    def listed(self, share: float, moved: Callable[[], float]) -> None:
        """After a step with lists that recomputed `share`; `moved`: the share of the inputs' pixels that were stale."""
        self._debt = max(0.0, self._debt + share - LIMIT)
        self._gain += max(0.0, LIMIT - share)
        if self._gain >= GAIN:
            self._wait = SHORTEST // 2
        if self._debt >= DEBT:
            self.plain = True
            self._steps, self._moved = 0, moved()
            self._debt, self._gain = DEBT / 2, 0.0  # the next try is given up sooner
            self._wait = min(2 * self._wait, LONGEST)

    @property
    def keeps(self) -> bool:
        """Whether the frame of this plain step is the one that the next is compared with."""
        return self._steps % LOOK == LOOK - 2

    @property
    def looks(self) -> bool:
        """Whether this plain step's frame is compared with the one before."""
        return self._steps % LOOK == LOOK - 1

    def returns(self, moved: float | None) -> bool:
        """Whether this step has lists again. `moved`: what a look saw; None where there was none."""
        calm = moved is not None and self._steps >= self._wait // EARLIEST and moved <= CALMER * self._moved
        self.plain = not (calm or self._steps >= self._wait)
        self._steps += self.plain
        return not self.plain
