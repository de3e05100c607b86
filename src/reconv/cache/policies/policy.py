"""What a policy is: the order in which entries leave a cache. It knows keys, sizes and costs, never values.

The store owns bytes and eviction and calls a few hooks. For a key that is held, `hit`. For a key that is not, in this
order: `missing`, `evict` until there is room, `inserted`. What the store then holds is what the policy was told of.
Policies are not thread-safe: the store calls them under its lock.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable

__all__ = ["Key", "Policy"]

Key = Hashable


class Policy(ABC):
    """Base of the table POLICIES. Sizes and the capacity are bytes, whole numbers above 0; costs are seconds."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes

    @abstractmethod
    def hit(self, key: Key) -> None:
        """A key that is held was asked for."""

    def missing(self, key: Key, size: int, cost: float) -> None:  # noqa: B027 (most need not know)
        """A key that is not held is about to be inserted; nothing has left for it yet. It fits into the cache."""

    @abstractmethod
    def inserted(self, key: Key, size: int, cost: float) -> None:
        """The key announced by `missing` is held from now on; there is room for it."""

    @abstractmethod
    def evict(self) -> Key:
        """Choose the entry that leaves and forget it (or keep its name as a ghost). Called only when one is held."""

    @abstractmethod
    def removed(self, key: Key) -> None:
        """A key that was held has been taken out by the user. It is not remembered."""

    def resized(self, capacity_bytes: int) -> None:
        """The limit changed; `evict` is called afterwards as long as more is held than that."""
        self.capacity_bytes = capacity_bytes
