"""The policy that saves most on the traffic at hand: small shadows of several run beside, the cache follows the best.

A shadow is a cache of names only, of a sample of the keys and as large as that sample's part of the capacity; a key is
always in the sample or never, so a shadow sees whole histories (spatial sampling, Waldspurger et al., "Efficient MRC
Construction with SHARDS", 2015, and "Cache Modeling and Optimization using Miniature Simulations", 2017). Each is
credited with the seconds that its hits would have saved, and forgets old credit, so that a change of the traffic shows.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping

from reconv.cache.ledger import Ledger
from reconv.cache.policies.policy import Key, Policy
from reconv.cache.policies.spread import spread

__all__ = ["Auto"]

SHADOW_ENTRIES = 512  # of a shadow, from which on a sample of the keys is enough
ROUND = 128  # sampled requests between two looks at the scores
MEMORY = 8  # scores live for about so many times as many sampled requests as a shadow has entries, but at least
LEAST_MEMORY = 2048
LEAD = 1.01  # by which another must be ahead, two looks in a row
KNOWN_HITS = 15  # of an entry, told to a policy that takes over
_BITS = 24  # of a key's place in the sample


class Auto(Policy):
    """Decides as the candidate does that is ahead; `choice` is its name.

    As long as the sample is all keys, the leading shadow itself decides: what it no longer holds leaves first, and a
    change of the lead loses nothing of what the new one remembers. In larger caches a policy of its own decides,
    and one that takes over is told of what is held.
    """

    def __init__(self, capacity_bytes: int, candidates: Mapping[str, Callable[[int], Policy]], first: str) -> None:
        super().__init__(capacity_bytes)
        self._candidates = candidates
        self.choice = first
        self.changes = 0
        self._held: OrderedDict[Key, _Entry] = OrderedDict()  # least recently used first
        self._coming = _Entry(0, 0.0, 0)  # what `missing` told of
        self._live: Policy | None = None  # None: the shadow that leads decides
        self._surplus: OrderedDict[Key, None] = OrderedDict()  # held, but not by that shadow
        self._halvings = 0  # the sample is one key in 2**halvings
        self._limit = 1 << _BITS
        self._shadows = {name: Ledger(capacity_bytes, make) for name, make in candidates.items()}
        self._scores = dict.fromkeys(candidates, 0.0)
        self._until_look = ROUND
        self._ahead = ""

    def hit(self, key: Key) -> None:
        self._held.move_to_end(key)
        entry = self._held[key]
        entry.hits += 1
        if self._live is not None:
            self._live.hit(key)
        if entry.place < self._limit:
            self._sampled(key, entry)

    def missing(self, key: Key, size: int, cost: float) -> None:
        self._coming = entry = _Entry(size, cost, _place(key))
        if entry.place < self._limit:
            self._sampled(key, entry)  # may change the policy, which then hears of the key like any other
        if self._live is not None:
            self._live.missing(key, size, cost)

    def inserted(self, key: Key, size: int, cost: float) -> None:
        if self._live is not None:
            self._live.inserted(key, size, cost)
        self._held[key] = self._coming

    def evict(self) -> Key:
        if self._live is not None:
            key = self._live.evict()
        elif self._surplus:
            key = self._surplus.popitem(last=False)[0]
        else:  # more has to leave than the shadow made room for: some may not leave just now
            key = next(iter(self._held))
            self._shadows[self.choice].remove(key)
        del self._held[key]
        return key

    def removed(self, key: Key) -> None:
        if self._live is not None:
            self._live.removed(key)
        self._surplus.pop(key, None)
        del self._held[key]
        for shadow in self._shadows.values():
            if key in shadow.sizes:
                shadow.remove(key)

    def resized(self, capacity_bytes: int) -> None:
        super().resized(capacity_bytes)
        if self._live is not None:
            self._live.resized(capacity_bytes)
        self._resize_shadows()

    # --- the shadows ---

    def _sampled(self, key: Key, entry: _Entry) -> None:
        size, cost = entry.size, entry.cost
        scores = self._scores
        for name, shadow in self._shadows.items():
            held = shadow.sizes.get(key)
            if held == size:
                scores[name] += cost or 1e-9  # where nothing has a cost, hits count
                shadow.policy.hit(key)
                continue
            if held is not None:
                shadow.remove(key)
            left = shadow.insert(key, size, cost)
            if self._live is None and name == self.choice:
                self._surplus.pop(key, None)
                self._surplus.update((old, None) for old in left or () if old in self._held)
        self._until_look -= 1
        if self._until_look == 0:
            self._look()

    def _look(self) -> None:
        self._until_look = ROUND
        best = max(self._scores, key=self._scores.__getitem__)
        leads = best != self.choice and self._scores[best] > LEAD * self._scores[self.choice]
        before, self._ahead = self._ahead, best if leads else ""
        if leads and before == best:
            self._follow(best)
        entries = max(len(shadow.sizes) for shadow in self._shadows.values())
        kept = 1 - ROUND / max(LEAST_MEMORY, MEMORY * entries)
        for name in self._scores:
            self._scores[name] *= kept
        if entries > 2 * SHADOW_ENTRIES:
            self._sample(self._halvings + 1)
        elif self._halvings > 1 and entries < SHADOW_ENTRIES // 2:
            self._sample(self._halvings - 1)

    def _follow(self, name: str) -> None:
        """Another policy decides from now on."""
        self.choice, self._ahead = name, ""
        self.changes += 1
        if self._live is None:
            sizes = self._shadows[name].sizes
            self._surplus = OrderedDict.fromkeys(key for key in self._held if key not in sizes)
        else:
            self._live = self._told(name)

    def _told(self, name: str) -> Policy:
        """A new policy that hears of what is held, oldest first, and then of the hits."""
        live = self._candidates[name](self.capacity_bytes)
        for key, entry in self._held.items():
            live.missing(key, entry.size, entry.cost)
            live.inserted(key, entry.size, entry.cost)
        for key, entry in self._held.items():
            for _ in range(min(entry.hits, KNOWN_HITS)):
                live.hit(key)
        return live

    def _sample(self, halvings: int) -> None:
        """One key in 2**halvings from now on; what a shadow knows of the others is forgotten."""
        if self._live is None:
            self._live = self._told(self.choice)
            self._surplus.clear()
        self._halvings = halvings
        self._limit = (1 << _BITS) >> halvings
        for shadow in self._shadows.values():
            for key in [key for key in shadow.sizes if _place(key) >= self._limit]:
                shadow.remove(key)
        self._resize_shadows()

    def _resize_shadows(self) -> None:
        for name, shadow in self._shadows.items():
            left = shadow.resize(max(self.capacity_bytes >> self._halvings, 1))
            if self._live is None and name == self.choice:
                self._surplus.update((old, None) for old in left if old in self._held)


class _Entry:
    """What is known of a key that is held: its hits since it came, and its place among all keys, 0 to 2**24 - 1."""

    __slots__ = ("cost", "hits", "place", "size")

    def __init__(self, size: int, cost: float, place: int) -> None:
        self.size, self.cost, self.place, self.hits = size, cost, place, 0


def _place(key: Key) -> int:
    """Where a key falls in the sample: the same in every process, also for text, whose `hash` is not."""
    return spread(key) >> (64 - _BITS)
