"""S3-FIFO: a small queue that most newcomers leave unasked, a main queue for the others, and a ghost queue of names.

- Newcomers enter the small queue (a tenth of the capacity), but the main queue when they are remembered as ghosts (up
  to 0.9 of the capacity).
- Out of the small queue, who was asked for at least twice goes to the main queue and starts there at 0, the others
  leave and become ghosts.
- Out of the main queue, who was asked for goes back to its end with one less of at most three; the others leave.
- The main queue is the one that gives when it is over nine tenths. Before the first eviction, a full small queue
  overflows straight into it.

All in bytes. Source: J. Yang, Y. Zhang, Z. Qiu, Y. Yue, K. V. Rashmi, "FIFO queues are all you need for cache
eviction", SOSP 2023, with the overflow and the threshold that its authors use since.
"""

from __future__ import annotations

from reconv.cache.policies.policy import Key, Policy
from reconv.cache.policies.queue import Queue

__all__ = ["S3FIFO"]

SMALL, GHOSTS = 0.1, 0.9  # of the capacity
PROMOTED = 2  # asked for so often in the small queue, an entry goes to the main queue
MOST = 3  # a count has two bits


class S3FIFO(Policy):
    def __init__(self, capacity_bytes: int) -> None:
        super().__init__(capacity_bytes)
        self._small, self._main, self._ghosts = Queue(), Queue(), Queue()
        self._asked: dict[Key, int] = {}  # since it entered its queue, 0 to MOST
        self._remembered = False  # the newcomer, as a ghost
        self._has_evicted = False
        self._set_limits()

    def _set_limits(self) -> None:
        self._small_bytes = int(self.capacity_bytes * SMALL)
        self._main_bytes = self.capacity_bytes - self._small_bytes
        self._ghost_bytes = int(self.capacity_bytes * GHOSTS)

    def hit(self, key: Key) -> None:
        asked = self._asked[key]
        if asked < MOST:
            self._asked[key] = asked + 1

    def missing(self, key: Key, size: int, cost: float) -> None:
        self._remembered = self._ghosts.take(key) is not None

    def inserted(self, key: Key, size: int, cost: float) -> None:
        overflows = not self._has_evicted and self._small.bytes >= self._small_bytes
        queue = self._main if self._remembered or overflows else self._small
        queue.push(key, size)
        self._asked[key] = 0

    def evict(self) -> Key:
        self._has_evicted = True
        if self._main.bytes <= self._main_bytes:
            while self._small:
                key, size = self._small.pop()
                if self._asked[key] < PROMOTED:
                    self._remember(key, size)
                    del self._asked[key]
                    return key
                self._main.push(key, size)
                self._asked[key] = 0
        return self._evict_main()

    def _evict_main(self) -> Key:
        while True:
            key, size = self._main.pop()
            asked = self._asked[key]
            if asked == 0:
                del self._asked[key]
                return key
            self._main.push(key, size)
            self._asked[key] = asked - 1

    def _remember(self, key: Key, size: int) -> None:
        if size <= self._ghost_bytes:
            self._ghosts.push(key, size)
            self._forget()

    def _forget(self) -> None:
        while self._ghosts.bytes > self._ghost_bytes:
            self._ghosts.pop()

    def removed(self, key: Key) -> None:
        if self._small.take(key) is None:
            self._main.take(key)
        del self._asked[key]

    def resized(self, capacity_bytes: int) -> None:
        super().resized(capacity_bytes)
        self._set_limits()
        self._forget()
