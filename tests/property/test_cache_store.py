"""The byte limit under every policy, over the cache that users hold: what it answers, holds, and says of itself."""

from __future__ import annotations

from itertools import count
from types import SimpleNamespace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from reconv.cache.ledger import Ledger
from reconv.cache.policies import POLICIES, Key
from reconv.cache.store import Cache
from tests.property.ledgers import CAPACITIES, COSTS, KEYS, SIZES, assert_fails, run

Value = tuple[int, int]  # a number of its own, and its size


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at it is a second later: what is measured decides who leaves, and the same steps must do the same."""
    monkeypatch.setattr("reconv.cache.store.time", SimpleNamespace(perf_counter=count().__next__))


def _failing() -> Value:
    raise ZeroDivisionError


class CacheMachine(RuleBasedStateMachine):
    """Whatever is done: the value of a key is the last one that was put, or none at all."""

    def __init__(self, policy: str, admission: str = "all") -> None:
        super().__init__()
        self.cache = Cache(100, policy, admission=admission, sizes=lambda value: value[1])
        self.last: dict[Key, Value] = {}
        self.count = 0

    def new(self, key: int, size: int) -> Value:
        self.count += 1
        self.last[key] = (self.count, size)
        return self.last[key]

    @rule(key=KEYS, size=SIZES, cost=COSTS)
    def put(self, key: int, size: int, cost: float) -> None:
        """New, or in place of something smaller, larger or as large."""
        before, old = set(self.cache), self.last.get(key)
        held = self.cache.put(key, self.new(key, size), cost=cost)
        assert held == (key in self.cache)
        if size > self.cache.capacity_bytes:
            assert not held
        if not held or (key in before and old is not None and size <= old[1]):
            assert before - set(self.cache) <= {key}, "evicted without need"

    @rule(key=KEYS)
    def get(self, key: int) -> None:
        value = self.cache.get(key)
        assert value is None or value == self.last[key]
        assert (value is not None) == (key in self.cache)

    @rule(key=KEYS, size=SIZES)
    def compute(self, key: int, size: int) -> None:
        held = key in self.cache
        value = self.cache.compute(key, lambda: self.new(key, size))
        assert value == self.last[key]
        assert held or value[0] == self.count, "a value from nowhere"

    @rule(key=KEYS)
    def fail(self, key: int) -> None:
        before = dict.fromkeys(self.cache)
        if key in self.cache:
            assert self.cache.compute(key, _failing) == self.last[key]
        else:
            with pytest.raises(ZeroDivisionError):
                self.cache.compute(key, _failing)
        assert dict.fromkeys(self.cache) == before

    @rule(key=KEYS)
    def delete(self, key: int) -> None:
        if key in self.cache:
            del self.cache[key]
        else:
            with pytest.raises(KeyError):
                del self.cache[key]
        assert key not in self.cache

    @rule(capacity=CAPACITIES)
    def resize(self, capacity: int) -> None:
        before = set(self.cache)
        grows = capacity >= self.cache.bytes
        self.cache.capacity_bytes = capacity
        assert set(self.cache) == before if grows else set(self.cache) < before

    @precondition(lambda self: len(self.cache) > 3)
    @rule()
    def clear(self) -> None:
        self.cache.clear()
        assert (len(self.cache), self.cache.bytes) == (0, 0)

    @invariant()
    def the_limit_is_kept(self) -> None:
        assert self.cache.bytes <= self.cache.capacity_bytes

    @invariant()
    def store_and_ledger_hold_the_same(self) -> None:
        ledger = self.cache._ledger
        assert ledger.sizes == {key: self.last[key][1] for key in self.cache}
        assert self.cache._values == {key: self.last[key] for key in self.cache}
        assert self.cache.bytes == sum(ledger.sizes.values())

    @invariant()
    def the_statistics_add_up(self) -> None:
        stats = self.cache.stats
        assert (stats.entries, stats.bytes) == (len(self.cache), self.cache.bytes)
        assert stats.entries <= stats.insertions - stats.evictions

    def teardown(self) -> None:
        """The policy offers exactly those that are held, when all of them have to leave."""
        self.cache.capacity_bytes = max(self.cache.capacity_bytes, 2)
        self.cache.put("as large as the cache", (0, self.cache.capacity_bytes))
        if self.cache._ledger.admission is None:
            assert list(self.cache) == ["as large as the cache"]


@pytest.mark.parametrize("policy", POLICIES)
def test_byte_limit_of_the_cache(policy: str) -> None:
    run(lambda: CacheMachine(policy), 40)


def test_byte_limit_with_admission() -> None:
    run(lambda: CacheMachine("arc", "second"), 50)


@pytest.mark.parametrize("size", [5, 20])
def test_who_was_admitted_stays_admitted_when_replaced(size: int) -> None:
    cache = Cache(100, "lru", admission="second", sizes=lambda value: value[1])
    assert [cache.put("key", (number, 10)) for number in range(3)] == [False, True, True]
    assert cache.put("key", (3, size))
    assert cache["key"] == (3, size)


# --- the machine can fail ---


class Unchecked(Ledger):
    """Takes in what is larger than the cache."""

    def insert(self, key: Key, size: int, cost: float, *, admitted: bool = False) -> list[Key] | None:
        return super().insert(key, min(size, self.capacity_bytes), cost, admitted=admitted)


class Wasteful(Ledger):
    """Evicts all when the limit changes."""

    def resize(self, capacity_bytes: int) -> list[Key]:
        left = super().resize(capacity_bytes)
        while self.sizes:
            left.append(self._evict())
        return left


@pytest.mark.parametrize("mistaken", [Unchecked, Wasteful])
def test_the_machine_sees_a_wrong_loop(mistaken: type[Ledger]) -> None:
    def machine() -> CacheMachine:
        wrong = CacheMachine("lru")
        ledger = wrong.cache._ledger = mistaken(100, POLICIES["lru"])
        wrong.cache._hit, wrong.cache._costs = ledger.policy.hit, ledger.costs
        return wrong

    assert_fails(machine)


class StaleMachine(CacheMachine):
    """Stands for a cache that keeps an old value: what is put is not what is expected later."""

    @rule(key=st.integers(0, 3))
    def lie(self, key: int) -> None:
        if key in self.cache:
            self.last[key] = (-1, self.last[key][1])


def test_the_machine_sees_a_stale_value() -> None:
    assert_fails(lambda: StaleMachine("lru"))
