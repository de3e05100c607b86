"""The request loop: which keys are held, how many bytes they are, and who leaves to make room. No values, no threads.

The store keeps values beside it, replay runs it alone, and `auto` runs small ones as shadows: all decide alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from reconv.errors import CacheError

if TYPE_CHECKING:  # the policy `auto` runs ledgers itself
    from reconv.cache.admission import Admission
    from reconv.cache.policies.policy import Key, Policy

__all__ = ["Ledger"]


class Ledger:
    """Never holds more than its capacity, not even for a moment."""

    def __init__(
        self, capacity_bytes: int, policy: Callable[[int], Policy], admission: Admission | None = None
    ) -> None:
        """Raises CacheError when the capacity is not a whole number above 0."""
        self.capacity_bytes = _checked(capacity_bytes)
        self.policy = policy(self.capacity_bytes)
        self.admission = admission
        self.sizes: dict[Key, int] = {}
        self.costs: dict[Key, float] = {}
        self.bytes = 0

    def insert(self, key: Key, size: int, cost: float, *, admitted: bool = False) -> list[Key] | None:
        """Take in a key that is not held: the keys that left for it, or None when it is not taken in.

        An object larger than the cache is not taken in and evicts nothing. `admitted`: admission is not asked, since
        the key was held until now, with another size.
        """
        if size > self.capacity_bytes:
            return None
        if self.admission is not None and not admitted and not self.admission.admits(key, size, cost):
            return None
        policy, left = self.policy, []
        policy.missing(key, size, cost)
        while self.bytes + size > self.capacity_bytes:
            left.append(self._evict())
        self._enter(key, size, cost)
        return left

    def insert_beside(self, busy: Iterable[Key], key: Key, size: int, cost: float) -> list[Key] | None:
        """As `insert`, but the busy ones stay: None, and nobody leaves, when there is no room beside them.

        The policy is not told who is busy. Where it would have one of them leave, that one is as if it had come anew.
        """
        stay = {name: (self.sizes[name], self.costs[name]) for name in busy if name in self.sizes}
        room = self.capacity_bytes - size
        if sum(held for held, _ in stay.values()) > room:
            return None
        self.policy.missing(key, size, cost)
        left, spared, spared_bytes = [], [], 0
        while self.bytes + spared_bytes > room:
            name = self._evict()
            if name in stay:
                spared.append((name, *stay[name]))
                spared_bytes += stay[name][0]
            else:
                left.append(name)
        self._enter(key, size, cost)
        for name, held, seconds in spared:
            self.policy.missing(name, held, seconds)
            self._enter(name, held, seconds)
        return left

    def _enter(self, key: Key, size: int, cost: float) -> None:
        self.sizes[key] = size
        self.costs[key] = cost
        self.bytes += size
        self.policy.inserted(key, size, cost)

    def remove(self, key: Key) -> None:
        """Take out a key that is held."""
        self.policy.removed(key)
        self.bytes -= self.sizes.pop(key)
        del self.costs[key]

    def resize(self, capacity_bytes: int) -> list[Key]:
        """Change the limit: the keys that had to leave. Raises CacheError as the constructor does."""
        self.capacity_bytes = _checked(capacity_bytes)
        self.policy.resized(capacity_bytes)
        left = []
        while self.bytes > self.capacity_bytes:
            left.append(self._evict())
        return left

    def _evict(self) -> Key:
        key = self.policy.evict()
        self.bytes -= self.sizes.pop(key)
        del self.costs[key]
        return key


def _checked(capacity_bytes: int) -> int:
    if isinstance(capacity_bytes, bool) or not isinstance(capacity_bytes, int) or capacity_bytes < 1:
        raise CacheError(f"capacity_bytes is {capacity_bytes!r}, expected a whole number of bytes from 1 up")
    return capacity_bytes
