"""SIEVE: a queue in the order of arrival and a hand that moves along it from tail to head, spares who was asked for
since it last came by, and evicts the first who was not. The hand stays there; who comes new enters at the head.

Source: Y. Zhang, J. Yang, Y. Yue, Y. Vigfusson, K. V. Rashmi, "SIEVE is simpler than LRU", NSDI 2024.
"""

from __future__ import annotations

from collections import OrderedDict

from reconv.cache.policies.policy import Key, Policy

__all__ = ["SIEVE"]


class SIEVE(Policy):
    """The queue from tail to head is `_behind` the hand and then `_ahead` of it, whose first entry the hand points at.

    So moving the hand is taking the first of one and adding it to the other, and at the head they change places.
    """

    def __init__(self, capacity_bytes: int) -> None:
        super().__init__(capacity_bytes)
        self._behind: OrderedDict[Key, None] = OrderedDict()
        self._ahead: OrderedDict[Key, None] = OrderedDict()
        self._visited: set[Key] = set()
        self.hit = self._visited.add  # type: ignore[assignment,method-assign]  # one call less in every hit

    def hit(self, key: Key) -> None:
        self._visited.add(key)

    def inserted(self, key: Key, size: int, cost: float) -> None:
        self._ahead[key] = None

    def evict(self) -> Key:
        visited = self._visited
        while True:
            key, _ = self._ahead.popitem(last=False)
            spared = key in visited
            if spared:
                visited.remove(key)
                self._behind[key] = None
            self._turn()
            if not spared:
                return key

    def removed(self, key: Key) -> None:
        if key in self._behind:
            del self._behind[key]
        else:
            del self._ahead[key]
            self._turn()
        self._visited.discard(key)

    def _turn(self) -> None:
        """Past the head the hand is at the tail again, at once: who comes next enters behind its back."""
        if not self._ahead:
            self._ahead, self._behind = self._behind, self._ahead
