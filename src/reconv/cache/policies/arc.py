"""ARC, the adaptive replacement cache: recency and frequency share the room, and their ghosts move the border.

- T1 holds who was asked for once, T2 who was asked for again, both least recently used first; B1 and B2 the names of
  who left them, the ghosts. `p` is the room that T1 is to have.
- A newcomer that is a ghost of B1 raises p, one of B2 lowers it, by its size times the ratio of the other ghosts to
  these (at least 1), before it stops being a ghost; it enters T2. All others enter T1.
- REPLACE takes T1's oldest when |T1| > p, or |T1| = p and the newcomer is a ghost of B2; else T2's. It becomes a ghost.

Source: N. Megiddo, D. S. Modha, "ARC: a self-tuning, low overhead replacement cache", FAST 2003. In bytes, its Case IV
reads: while |T1| + |B1| + size > c, B1's oldest is forgotten, or, when B1 is empty, T1's oldest leaves without a ghost.

Nothing depends on the unit of the sizes: p counts in the greatest common divisor of the capacity and all sizes so far,
so that the same numbers are added and compared when all of these are multiplied by one. With sizes of 1 this is the
paper.
"""

from __future__ import annotations

from math import gcd

from reconv.cache.policies.policy import Key, Policy
from reconv.cache.policies.queue import Queue

__all__ = ["ARC"]


class ARC(Policy):
    """After every operation |T1| + |T2| <= c, |T1| + |B1| <= c, all four together <= 2c, and 0 <= p <= c."""

    def __init__(self, capacity_bytes: int) -> None:
        super().__init__(capacity_bytes)
        self.t1, self.t2, self.b1, self.b2 = Queue(), Queue(), Queue(), Queue()
        self.p = 0.0  # in units
        self.unit = capacity_bytes  # bytes; divides the capacity and all sizes so far
        self._to_t1 = 0  # bytes of a newcomer that is about to enter T1
        self._was_ghost = self._was_in_b2 = False
        self._recent = self.t2.order  # one look-up less in every hit

    def hit(self, key: Key) -> None:
        if key in self._recent:
            self._recent.move_to_end(key)
        else:
            size = self.t1.order[key]
            self.t1.take(key)
            self.t2.push(key, size)

    def missing(self, key: Key, size: int, cost: float) -> None:
        if size % self.unit:
            self._refine(size)
        b1, b2 = self.b1, self.b2
        self._was_in_b2 = key in b2.order
        self._was_ghost = self._was_in_b2 or key in b1.order
        if self._was_in_b2:
            self.p = max(0.0, self.p - max(b1.bytes / b2.bytes, 1.0) * (size // self.unit))
            b2.take(key)
        elif self._was_ghost:
            most = float(self.capacity_bytes // self.unit)
            self.p = min(most, self.p + max(b2.bytes / b1.bytes, 1.0) * (size // self.unit))
            b1.take(key)
        else:
            self._to_t1 = size
            self._trim_b1()

    def inserted(self, key: Key, size: int, cost: float) -> None:
        queue = self.t2 if self._was_ghost else self.t1
        queue.push(key, size)
        self._to_t1, self._was_ghost, self._was_in_b2 = 0, False, False
        self._trim_b2()

    def evict(self) -> Key:
        t1 = self.t1
        if t1 and self._l1() > self.capacity_bytes:  # Case IV: B1 is empty by now
            return t1.pop()[0]
        recent = t1.bytes // self.unit
        if t1 and (recent > self.p or (recent == self.p and self._was_in_b2) or not self.t2):
            key, size = t1.pop()
            self.b1.push(key, size)
        else:
            key, size = self.t2.pop()
            self.b2.push(key, size)
            self._trim_b2()
        return key

    def removed(self, key: Key) -> None:
        if self.t1.take(key) is None:
            self.t2.take(key)

    def resized(self, capacity_bytes: int) -> None:
        super().resized(capacity_bytes)
        self._refine(capacity_bytes)
        self.p = min(self.p, float(capacity_bytes // self.unit))
        self._trim_b1()
        self._trim_b2()

    def _refine(self, size: int) -> None:
        """Count in a unit that divides this size too."""
        unit = gcd(self.unit, size)
        self.p *= self.unit // unit
        self.unit = unit

    def _l1(self) -> int:
        """|T1| + |B1| in bytes, with the newcomer that is about to enter T1."""
        return self.t1.bytes + self.b1.bytes + self._to_t1

    def _trim_b1(self) -> None:
        while self.b1 and self._l1() > self.capacity_bytes:
            self.b1.pop()

    def _trim_b2(self) -> None:
        while self.b2 and self._l1() + self.t2.bytes + self.b2.bytes > 2 * self.capacity_bytes:
            self.b2.pop()
