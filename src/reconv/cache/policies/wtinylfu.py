"""W-TinyLFU: newcomers pass through a small window; behind it only who is asked for more often than its victim stays.

- The window (a hundredth of the capacity, or one entry that is larger) is an LRU.
- The main part is a segmented LRU: who comes out of the window is on probation, who is asked for there is protected, up
  to 80 % of the main part; what exceeds that goes back on probation.
- When room is needed and the window overflows with the newcomer, its oldest meets the oldest on probation: the one that
  was asked for less often lately (`sketch.py`) leaves, on a tie the one out of the window.

All in bytes. A newcomer itself is never refused: who is taken in at all is the matter of admission.
Source: G. Einziger, R. Friedman, B. Manes, "TinyLFU: a highly efficient cache admission policy", ACM ToS 13 (2017).
"""

from __future__ import annotations

from reconv.cache.policies.policy import Key, Policy
from reconv.cache.policies.queue import Queue
from reconv.cache.policies.sketch import Sketch
from reconv.cache.policies.spread import spread

__all__ = ["WTinyLFU"]

WINDOW, PROTECTED = 0.01, 0.8  # of the capacity, and of the rest of it


class WTinyLFU(Policy):
    def __init__(self, capacity_bytes: int) -> None:
        super().__init__(capacity_bytes)
        self._window, self._probation, self._protected = Queue(), Queue(), Queue()
        self._sketch = Sketch()
        self._bits: dict[Key, int] = {}  # `spread` of who is held
        self._newcomer_bits = 0
        self._newcomer_bytes = 0
        self._set_limits()

    def _set_limits(self) -> None:
        self._window_bytes = max(int(self.capacity_bytes * WINDOW), 1)
        self._protected_bytes = int((self.capacity_bytes - self._window_bytes) * PROTECTED)

    def hit(self, key: Key) -> None:
        self._sketch.add(self._bits[key])
        if key in self._protected.order:
            self._protected.order.move_to_end(key)
        elif key in self._window.order:
            self._window.order.move_to_end(key)
        else:
            self._protected.push(key, self._probation.order[key])
            self._probation.take(key)
            self._demote()

    def missing(self, key: Key, size: int, cost: float) -> None:
        self._newcomer_bits = spread(key)
        self._newcomer_bytes = size
        self._sketch.add(self._newcomer_bits)

    def inserted(self, key: Key, size: int, cost: float) -> None:
        self._newcomer_bytes = 0
        self._window.push(key, size)
        self._bits[key] = self._newcomer_bits
        if len(self._bits) > self._sketch.entries:
            self._sketch.grow()
        self._overflow()

    def evict(self) -> Key:
        key = self._loser()
        del self._bits[key]
        return key

    def _loser(self) -> Key:
        window, main = self._window, self._probation or self._protected
        if not main:
            return window.pop()[0]
        if window and window.bytes + self._newcomer_bytes > self._window_bytes:
            key, size = window.pop()
            if self._estimate(key) <= self._estimate(main.oldest()):
                return key
            loser, _ = main.pop()
            self._probation.push(key, size)
            return loser
        return main.pop()[0]

    def _estimate(self, key: Key) -> int:
        return self._sketch.estimate(self._bits[key])

    def removed(self, key: Key) -> None:
        for queue in (self._window, self._probation, self._protected):
            if queue.take(key) is not None:
                break
        del self._bits[key]

    def resized(self, capacity_bytes: int) -> None:
        super().resized(capacity_bytes)
        self._set_limits()
        self._demote()

    def _overflow(self) -> None:
        """There is room for all: who does not fit into the window goes on without a contest."""
        while self._window.bytes > self._window_bytes and len(self._window) > 1:
            self._probation.push(*self._window.pop())

    def _demote(self) -> None:
        while self._protected.bytes > self._protected_bytes:
            self._probation.push(*self._protected.pop())
