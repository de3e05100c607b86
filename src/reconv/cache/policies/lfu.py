"""Least frequently used: what was asked for least often since it came leaves; of equals, who reached the count first.

The counts are of entries that are held: who leaves starts again at 1. Every operation takes constant time, with a list
of buckets, one for each count that occurs.
Source: K. Shah, A. Mitra, D. Matani, "An O(1) algorithm for implementing the LFU cache eviction scheme" (2010).
"""

from __future__ import annotations

from collections import OrderedDict

from reconv.cache.policies.policy import Key, Policy

__all__ = ["LFU"]


class _Bucket:
    """The keys of one count, in the order in which they reached it; its neighbours are the next lower and higher."""

    __slots__ = ("count", "keys", "less", "more")

    def __init__(self, count: int) -> None:
        self.count = count
        self.keys: OrderedDict[Key, None] = OrderedDict()
        self.less = self.more = self

    def follow(self, less: _Bucket) -> None:
        """Link it in behind another."""
        self.less, self.more = less, less.more
        less.more.less = less.more = self

    def leave(self) -> None:
        self.less.more, self.more.less = self.more, self.less


class LFU(Policy):
    def __init__(self, capacity_bytes: int) -> None:
        super().__init__(capacity_bytes)
        self._of: dict[Key, _Bucket] = {}
        self._root = _Bucket(0)  # always empty: before the least count and behind the largest

    def hit(self, key: Key) -> None:
        bucket = self._of[key]
        count, following = bucket.count + 1, bucket.more
        if following.count != count:
            if len(bucket.keys) == 1:  # alone: the bucket moves, not the key
                bucket.count = count
                return
            following = _Bucket(count)
            following.follow(bucket)
        following.keys[key] = None
        self._of[key] = following
        del bucket.keys[key]
        if not bucket.keys:
            bucket.leave()

    def inserted(self, key: Key, size: int, cost: float) -> None:
        first = self._root.more
        if first.count != 1:
            first = _Bucket(1)
            first.follow(self._root)
        first.keys[key] = None
        self._of[key] = first

    def evict(self) -> Key:
        bucket = self._root.more
        key, _ = bucket.keys.popitem(last=False)
        if not bucket.keys:
            bucket.leave()
        del self._of[key]
        return key

    def removed(self, key: Key) -> None:
        bucket = self._of.pop(key)
        del bucket.keys[key]
        if not bucket.keys:
            bucket.leave()
