"""Least recently used: what was asked for longest ago leaves."""

from __future__ import annotations

from collections import OrderedDict

from reconv.cache.policies.policy import Key, Policy

__all__ = ["LRU"]


class LRU(Policy):
    def __init__(self, capacity_bytes: int) -> None:
        super().__init__(capacity_bytes)
        self._order: OrderedDict[Key, None] = OrderedDict()  # oldest first
        self.hit = self._order.move_to_end  # type: ignore[method-assign]  # one call less in every hit

    def hit(self, key: Key) -> None:
        self._order.move_to_end(key)

    def inserted(self, key: Key, size: int, cost: float) -> None:
        self._order[key] = None

    def evict(self) -> Key:
        return self._order.popitem(last=False)[0]

    def removed(self, key: Key) -> None:
        del self._order[key]
