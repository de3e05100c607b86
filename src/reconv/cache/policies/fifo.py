"""First in, first out: what came longest ago leaves, however often it was asked for since.

Source: L. A. Belady, "A study of replacement algorithms for a virtual-storage computer", IBM Systems Journal 5 (1966).
"""

from __future__ import annotations

from collections import OrderedDict

from reconv.cache.policies.policy import Key, Policy

__all__ = ["FIFO"]


class FIFO(Policy):
    def __init__(self, capacity_bytes: int) -> None:
        super().__init__(capacity_bytes)
        self._order: OrderedDict[Key, None] = OrderedDict()  # oldest first

    def hit(self, key: Key) -> None:
        pass

    def inserted(self, key: Key, size: int, cost: float) -> None:
        self._order[key] = None

    def evict(self) -> Key:
        return self._order.popitem(last=False)[0]

    def removed(self, key: Key) -> None:
        del self._order[key]
