"""The contract of eviction policies: every line of POLICIES keeps it, and every check catches a policy that does not.

The hooks are called by the real loop, `Ledger`, with a witness in between that knows what is held.
"""

from __future__ import annotations

import gc
import random
import sys
from collections.abc import Callable, Iterator
from types import FunctionType, ModuleType
from typing import Any
from weakref import WeakSet

import pytest

from reconv.cache.ledger import Ledger
from reconv.cache.policies import POLICIES, Key, Policy
from reconv.cache.policies.lru import LRU

Make = Callable[[int], Policy]


class Name:
    """A key that can be watched: whether anybody still refers to it."""

    __slots__ = ("__weakref__", "number")

    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        return hash(self.number)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Name) and self.number == other.number


class Witness(Policy):
    """Stands before a policy and knows what is held."""

    def __init__(self, inner: Policy) -> None:
        super().__init__(inner.capacity_bytes)
        self.inner = inner
        self.held: set[Key] = set()

    def hit(self, key: Key) -> None:
        assert key in self.held
        self.inner.hit(key)

    def missing(self, key: Key, size: int, cost: float) -> None:
        assert key not in self.held
        self.inner.missing(key, size, cost)

    def inserted(self, key: Key, size: int, cost: float) -> None:
        self.inner.inserted(key, size, cost)
        self.held.add(key)

    def evict(self) -> Key:
        assert self.held, "asked to evict where nothing is held"
        key = self.inner.evict()
        assert key in self.held, "evicted a key that is not held"
        self.held.remove(key)
        return key

    def removed(self, key: Key) -> None:
        self.inner.removed(key)
        self.held.remove(key)

    def resized(self, capacity_bytes: int) -> None:
        self.inner.resized(capacity_bytes)
        assert self.inner.capacity_bytes == capacity_bytes, "does not know its capacity"


def watched(make: Make, capacity_bytes: int) -> Ledger:
    return Ledger(capacity_bytes, lambda capacity: Witness(make(capacity)))


def ask(ledger: Ledger, key: Key, size: int = 1, cost: float = 0.0) -> list[Key]:
    """One request; who left for it."""
    if key in ledger.sizes:
        ledger.policy.hit(key)
        return []
    left = ledger.insert(key, size, cost)
    assert left is not None
    return left


def requests(count: int, seed: int = 0) -> Iterator[tuple[int, int, float]]:
    """Keys of which some are asked for often, some in a loop and some once, with sizes and costs of their own."""
    rng = random.Random(seed)
    for at in range(count):
        kind = rng.random()
        number = int(40 * rng.random() ** 3) if kind < 0.6 else 1000 + at % 60 if kind < 0.85 else 10_000 + at
        own = random.Random(number)
        yield number, own.randint(1, 20), own.choice([0.0, 0.001, 1.0])


def drain(ledger: Ledger) -> list[Key]:
    """Everybody, in the order in which they leave; the ledger is empty afterwards."""
    left = ledger.insert("as large as the cache", ledger.capacity_bytes, 0.0)
    assert left is not None
    ledger.remove("as large as the cache")
    return left


def deep_size(root: object) -> int:
    """Bytes of all that an object refers to, code apart."""
    seen: dict[int, object] = {}
    todo = [root]
    while todo:
        item = todo.pop()
        if id(item) not in seen and not isinstance(item, (type, ModuleType, FunctionType)):
            seen[id(item)] = item
            todo.extend(gc.get_referents(item))
    return sum(map(sys.getsizeof, seen.values()))


# --- the contract ---


def check_evicts_only_what_it_holds(make: Make) -> None:
    ledger = watched(make, 200)
    rng = random.Random(1)
    for number, size, cost in requests(3000):
        ask(ledger, number, size, cost)
        if rng.random() < 0.1:
            ledger.remove(rng.choice(list(ledger.sizes)))
    assert isinstance(ledger.policy, Witness)
    assert ledger.policy.held == ledger.sizes.keys()


def check_evicts_everything_when_asked(make: Make) -> None:
    ledger = watched(make, 100)
    for _ in range(3):  # and is as good as new afterwards
        for number in [*range(70), 3, 3, 3, 7, 69]:
            assert ask(ledger, number) == []
        assert set(drain(ledger)) == set(range(70))


def check_forgets_what_is_removed(make: Make) -> None:
    ledger = watched(make, 50)
    for number in range(200):  # full, with whatever it remembers of those that left
        ask(ledger, number % 30 if number % 3 else number)
    names: WeakSet[Name] = WeakSet()
    for number in range(1000, 1040):
        name = Name(number)
        names.add(name)
        ask(ledger, name)
        if number % 2:
            ask(ledger, name)
        if number % 3 and name in ledger.sizes:
            ledger.remove(name)
            del name
            assert all(other.number != number for other in names), "remembers a key that was removed"


def check_is_deterministic(make: Make) -> None:
    runs = []
    for _ in range(2):
        ledger = watched(make, 150)
        runs.append([ask(ledger, *request) for request in requests(2000)])
    assert runs[0] == runs[1]


def check_follows_the_capacity(make: Make) -> None:
    ledger = watched(make, 300)
    for seed, capacity in enumerate([300, 40, 1000, 20, 500]):
        ledger.resize(capacity)
        for request in requests(600, seed):
            ask(ledger, *request)
            assert ledger.bytes <= capacity
    assert ledger.bytes > 400, "a larger capacity is not used"


def check_remembers_no_more_than_it_may(make: Make) -> None:
    """However many keys come by: at most three times the capacity in names, and memory stops growing."""
    ledger = watched(make, 100)
    names: WeakSet[Name] = WeakSet()
    sizes = []
    for number in range(20_000):
        name = Name(number)
        names.add(name)
        ask(ledger, name)
        if number % 4 == 3:  # and those that are removed leave nothing behind
            ledger.remove(name)
        del name
        if number in (4_999, 19_999):
            gc.collect()
            assert len(names) <= 300, "remembers ever more names"
            sizes.append(deep_size(ledger.policy))
    assert sizes[1] < 1.5 * sizes[0], f"grows from {sizes[0]} to {sizes[1]} bytes"


def check_never_evicts_who_was_removed(make: Make) -> None:
    ledger = watched(make, 60)
    for number in range(200):
        ask(ledger, number % 5)
        ask(ledger, number % 7)
        ledger.remove(number % 5)
    held = set(ledger.sizes)
    assert len(held) >= 2
    assert set(drain(ledger)) == held


CHECKS: dict[str, Callable[[Make], None]] = {
    check.__name__.removeprefix("check_"): check
    for check in (
        check_evicts_only_what_it_holds,
        check_evicts_everything_when_asked,
        check_forgets_what_is_removed,
        check_is_deterministic,
        check_follows_the_capacity,
        check_remembers_no_more_than_it_may,
        check_never_evicts_who_was_removed,
    )
}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("policy", POLICIES)
def test_policy_keeps_the_contract(policy: str, check: str) -> None:
    CHECKS[check](POLICIES[policy])


# --- the contract can fail: for each check a policy that breaks it ---


class EvictsStrangers(LRU):
    """Offers again who has left."""

    def __init__(self, capacity_bytes: int) -> None:
        super().__init__(capacity_bytes)
        self.last: Key = None

    def evict(self) -> Key:
        self.last = super().evict() if self.last is None else self.last
        return self.last


class KeepsTheFrequent(LRU):
    """Never gives back who was asked for often."""

    def __init__(self, capacity_bytes: int) -> None:
        super().__init__(capacity_bytes)
        self.counts: dict[Key, int] = {}
        self.hit = self.counted  # type: ignore[method-assign]

    def counted(self, key: Key) -> None:
        self.counts[key] = self.counts.get(key, 0) + 1
        self._order.move_to_end(key)

    def evict(self) -> Key:
        return next((key for key in self._order if self.counts.get(key, 0) < 3 and not self._order.pop(key)), "nobody")


class RemembersTheRemoved(LRU):
    def __init__(self, capacity_bytes: int) -> None:
        super().__init__(capacity_bytes)
        self.ghosts: set[Key] = set()

    def removed(self, key: Key) -> None:
        super().removed(key)
        self.ghosts.add(key)


class Dices(LRU):
    def evict(self) -> Key:
        key = random.SystemRandom().choice(list(self._order))
        del self._order[key]
        return key


class Deaf(LRU):
    def resized(self, capacity_bytes: int) -> None:
        pass


class RemembersAll(LRU):
    def __init__(self, capacity_bytes: int) -> None:
        super().__init__(capacity_bytes)
        self.numbers: list[int] = []

    def inserted(self, key: Key, size: int, cost: float) -> None:
        super().inserted(key, size, cost)
        self.numbers.append(hash(key) + 1_000_000)  # not even the key itself


class OverlooksRemovals(LRU):
    """Offers who was removed."""

    def removed(self, key: Key) -> None:
        pass


BROKEN: dict[str, Any] = {
    "evicts_only_what_it_holds": EvictsStrangers,
    "evicts_everything_when_asked": KeepsTheFrequent,
    "forgets_what_is_removed": RemembersTheRemoved,
    "is_deterministic": Dices,
    "follows_the_capacity": Deaf,
    "remembers_no_more_than_it_may": RemembersAll,
    "never_evicts_who_was_removed": OverlooksRemovals,
}


@pytest.mark.parametrize("check", CHECKS)
def test_contract_can_fail(check: str) -> None:
    with pytest.raises(AssertionError):
        CHECKS[check](BROKEN[check])
