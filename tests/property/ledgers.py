"""A state machine over the request loop: any requests, removals and changes of the limit, under one policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from reconv.cache.ledger import Ledger
from reconv.cache.policies import Key, Policy
from tests.property.profiles import examples

__all__ = ["LedgerMachine", "assert_fails", "run"]

STEPS = 50

KEYS = st.integers(0, 30)
SIZES = st.integers(1, 60) | st.integers(1, 6)
COSTS = st.sampled_from([0.0, 0.001, 2.0])
CAPACITIES = st.integers(1, 250)


class LedgerMachine(RuleBasedStateMachine):
    """After every step: the limit is kept, the bytes are the sum of the sizes, and nobody left without need."""

    def __init__(self, make: Callable[[int], Policy], capacity: int = 100) -> None:
        super().__init__()
        self.ledger = Ledger(capacity, make)
        self.expected: dict[Key, int] = {}
        self.gone: list[Key] = []  # who had to leave, the last one last

    @rule(key=KEYS, size=SIZES, cost=COSTS)
    def request(self, key: Key, size: int, cost: float) -> None:
        if key in self.expected:
            self.ledger.policy.hit(key)
        else:
            self.take_in(key, size, cost)

    @rule(key=KEYS, size=SIZES, cost=COSTS)
    def put(self, key: Key, size: int, cost: float) -> None:
        """In place of what is there, larger or smaller."""
        if key in self.expected:
            self.ledger.remove(key)
            del self.expected[key]
        self.take_in(key, size, cost)

    @rule(first=st.integers(100, 10_000), count=st.integers(1, 40), size=st.integers(1, 20))
    def scan(self, first: int, count: int, size: int) -> None:
        for key in range(first, first + count):
            self.request(key, size, 0.0)

    @rule(back=st.integers(0, 6), count=st.integers(1, 4), size=SIZES)
    def ask_again_for_who_left(self, back: int, count: int, size: int) -> None:
        """With another size, perhaps: policies that remember names are asked for what they remember."""
        for key in self.gone[::-1][back : back + count]:
            self.request(key, size, 0.0)

    @rule(key=KEYS)
    def remove(self, key: Key) -> None:
        if key in self.expected:
            self.ledger.remove(key)
            del self.expected[key]

    @rule(capacity=CAPACITIES)
    def resize(self, capacity: int) -> None:
        self.leave(self.ledger.resize(capacity), 0)

    def take_in(self, key: Key, size: int, cost: float) -> None:
        left = self.ledger.insert(key, size, cost)
        if size > self.ledger.capacity_bytes:
            assert left is None, "took in what is larger than the cache"
        else:
            assert left is not None
            self.leave(left, size)
            self.expected[key] = size

    def leave(self, left: list[Key], room: int) -> None:
        """All of them had to, in this order, for a newcomer of so many bytes."""
        for key in left:
            assert key in self.expected, "evicted what is not held"
            assert sum(self.expected.values()) + room > self.ledger.capacity_bytes, "evicted without need"
            del self.expected[key]
            self.gone.append(key)

    @invariant()
    def the_limit_is_kept(self) -> None:
        assert self.ledger.bytes <= self.ledger.capacity_bytes

    @invariant()
    def the_books_are_right(self) -> None:
        assert self.ledger.sizes == self.expected
        assert self.ledger.costs.keys() == self.expected.keys()
        assert self.ledger.bytes == sum(self.expected.values())

    def teardown(self) -> None:
        """The policy offers exactly those that are held, when all of them have to leave."""
        if self.expected:
            self.take_in("as large as the cache", self.ledger.capacity_bytes, 0.0)
            assert self.expected.keys() == {"as large as the cache"}


def run(machine: Callable[[], RuleBasedStateMachine], count: int, **more: Any) -> None:
    """`count` examples of the machine in continuous integration."""
    run_state_machine_as_test(machine, settings=settings(examples(count), stateful_step_count=STEPS, **more))  # type: ignore[arg-type]


def assert_fails(machine: Callable[[], RuleBasedStateMachine]) -> None:
    """The machine finds what is wrong; the example is not made small."""
    with pytest.raises(AssertionError):
        run(machine, 2000, phases=(Phase.generate,))
