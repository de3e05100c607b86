"""A queue of keys that knows its bytes: what the policies of several lists are made of."""

from __future__ import annotations

from collections import OrderedDict

from reconv.cache.policies.policy import Key

__all__ = ["Queue"]


class Queue:
    """Keys and their sizes in order, oldest first. Every operation takes constant time.

    order: the sizes by key; to be read, and reordered with `move_to_end`, by its owner. bytes: the sum of the sizes.
    """

    __slots__ = ("bytes", "order")

    def __init__(self) -> None:
        self.order: OrderedDict[Key, int] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self.order)

    def push(self, key: Key, size: int) -> None:
        """Add a key that is not in it as the youngest."""
        self.order[key] = size
        self.bytes += size

    def pop(self) -> tuple[Key, int]:
        """Take out the oldest; it must not be empty."""
        key, size = self.order.popitem(last=False)
        self.bytes -= size
        return key, size

    def oldest(self) -> Key:
        """The one that `pop` would take; it must not be empty."""
        return next(iter(self.order))

    def take(self, key: Key) -> int | None:
        """Take a key out: its size, or None when it is not in it."""
        size = self.order.pop(key, None)
        if size is not None:
            self.bytes -= size
        return size
