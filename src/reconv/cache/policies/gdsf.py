"""GDSF, greedy dual size frequency: what saves the fewest seconds per byte leaves, and with time everybody fades.

An entry's priority is L + frequency * cost / size, of its requests since it came, the seconds that computing it takes
and its bytes. The least priority leaves, among equals the one asked for longest ago, and L becomes that priority:
entries that are asked for again are counted from there on.

A cost of 0 is one that is not known: it counts as the mean of the known costs so far, and as long as there is none, all
count as equal.
Source: L. Cherkasova, "Improving WWW proxies performance with greedy-dual-size-frequency caching policy", HP Labs
technical report HPL-98-69R1 (1998).
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush, heapreplace

from reconv.cache.policies.policy import Key, Policy

__all__ = ["GDSF"]


class _Entry:
    __slots__ = ("asked", "frequency", "held", "key", "priority", "worth")

    def __init__(self, key: Key, worth: float, priority: float, asked: int) -> None:
        self.key = key
        self.worth = worth  # seconds per byte
        self.frequency = 1
        self.priority = priority
        self.asked = asked  # when last, by the count of requests
        self.held = True


class GDSF(Policy):
    """Priorities only rise, so the heap has each entry once, perhaps with an old one: put right when it is on top."""

    def __init__(self, capacity_bytes: int) -> None:
        super().__init__(capacity_bytes)
        self._held: dict[Key, _Entry] = {}
        self._heap: list[tuple[float, int, _Entry]] = []  # priority and `asked` at some time, entry
        self._floor = 0.0  # L
        self._now = 0
        self._known, self._mean_cost = 0, 1.0  # how many costs are known, and their mean in seconds

    def hit(self, key: Key) -> None:
        entry = self._held[key]
        entry.frequency += 1
        entry.priority = self._floor + entry.frequency * entry.worth
        self._now = entry.asked = self._now + 1

    def inserted(self, key: Key, size: int, cost: float) -> None:
        worth = self._assumed(cost) / size
        self._now += 1
        entry = self._held[key] = _Entry(key, worth, self._floor + worth, self._now)
        heappush(self._heap, (entry.priority, entry.asked, entry))

    def evict(self) -> Key:
        heap = self._heap
        while True:
            priority, asked, entry = heap[0]
            if not entry.held:
                heappop(heap)
            elif entry.asked != asked:
                heapreplace(heap, (entry.priority, entry.asked, entry))
            else:
                heappop(heap)
                del self._held[entry.key]
                self._floor = priority
                return entry.key

    def removed(self, key: Key) -> None:
        entry = self._held.pop(key)
        entry.held, entry.key = False, None
        if len(self._heap) > 2 * len(self._held) + 64:
            self._rebuild()

    def _rebuild(self) -> None:
        self._heap = [(entry.priority, entry.asked, entry) for entry in self._held.values()]
        heapify(self._heap)

    def _assumed(self, cost: float) -> float:
        if cost <= 0:
            return self._mean_cost
        if not self._known:  # those before counted as 1 each: from now on as this
            self._floor *= cost
            for entry in self._held.values():
                entry.worth *= cost
                entry.priority *= cost
            self._rebuild()
        self._known += 1
        self._mean_cost += (cost - self._mean_cost) / self._known  # the first replaces the 1
        return cost
