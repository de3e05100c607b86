"""ARC in bytes: its invariants after every operation, and decisions that do not depend on the unit of the sizes."""

from __future__ import annotations

from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import invariant

from reconv.cache.ledger import Ledger
from reconv.cache.policies import Key, Policy
from reconv.cache.policies.arc import ARC
from reconv.cache.policies.queue import Queue
from tests.property.ledgers import LedgerMachine, assert_fails, run
from tests.property.profiles import examples


class ARCMachine(LedgerMachine):
    def __init__(self, make: type[ARC] = ARC) -> None:
        super().__init__(make)
        assert isinstance(self.ledger.policy, ARC)
        self.arc = self.ledger.policy

    @invariant()
    def t1_and_t2_are_what_is_held(self) -> None:
        assert dict(self.arc.t1.order) | dict(self.arc.t2.order) == self.expected
        assert self.arc.t1.bytes + self.arc.t2.bytes == self.ledger.bytes <= self.arc.capacity_bytes

    @invariant()
    def ghosts_are_bounded(self) -> None:
        arc = self.arc
        assert arc.t1.bytes + arc.b1.bytes <= arc.capacity_bytes
        assert arc.t1.bytes + arc.t2.bytes + arc.b1.bytes + arc.b2.bytes <= 2 * arc.capacity_bytes

    @invariant()
    def the_lists_are_disjoint_and_add_up(self) -> None:
        lists = (self.arc.t1, self.arc.t2, self.arc.b1, self.arc.b2)
        assert len(set().union(*(queue.order for queue in lists))) == sum(map(len, lists))
        for queue in lists:
            assert queue.bytes == sum(queue.order.values())

    @invariant()
    def p_is_within_the_capacity(self) -> None:
        assert 0 <= Fraction(self.arc.p) * self.arc.unit <= self.arc.capacity_bytes
        assert self.arc.capacity_bytes % self.arc.unit == 0
        assert all(size % self.arc.unit == 0 for size in self.expected.values())


def test_invariants_after_every_operation() -> None:
    run(ARCMachine, 250)


class KeepsGhosts(ARC):
    """Makes a ghost of everybody."""

    def _trim_b1(self) -> None:
        pass


class NoLimitOfAll(ARC):
    def _trim_b2(self) -> None:
        pass


class Unbounded(ARC):
    """p may leave the room that there is."""

    def resized(self, capacity_bytes: int) -> None:
        p = self.p
        super().resized(capacity_bytes)
        self.p = p


@pytest.mark.parametrize("mistaken", [KeepsGhosts, NoLimitOfAll, Unbounded])
def test_the_invariants_can_fail(mistaken: type[ARC]) -> None:
    assert_fails(lambda: ARCMachine(mistaken))


# --- the unit of the sizes ---

Step = tuple[str, int, int]
STEPS = st.lists(
    st.tuples(st.just("request"), st.integers(0, 25), st.integers(1, 12))
    | st.tuples(st.just("request"), st.integers(0, 60), st.just(4))
    | st.tuples(st.just("put"), st.integers(0, 25), st.integers(1, 30))
    | st.tuples(st.just("remove"), st.integers(0, 25), st.just(0))
    | st.tuples(st.just("resize"), st.just(0), st.integers(1, 120)),
    max_size=150,
)


def decisions(steps: list[Step], capacity: int, times: int, make: type[Policy] = ARC) -> list[object]:
    """What every step came to, with all sizes and capacities multiplied: a hit, or who left."""
    ledger, came = Ledger(capacity * times, make), list[object]()
    for what, key, size in steps:
        if what == "resize":
            came.append(ledger.resize(size * times))
        elif what == "request" and key in ledger.sizes:
            ledger.policy.hit(key)
            came.append(True)
        else:
            if key in ledger.sizes:
                ledger.remove(key)
            if what != "remove":
                came.append(ledger.insert(key, size * times, 0.0))
    return came


@examples(250)
@given(steps=STEPS, capacity=st.integers(1, 120))
def test_the_unit_of_the_sizes_changes_no_decision(steps: list[Step], capacity: int) -> None:
    once = decisions(steps, capacity, 1)
    for times in (3, 1000, 4096):
        assert decisions(steps, capacity, times) == once


def long_steps(seed: int) -> list[Step]:
    """Requests, replacements and changes of the limit that push p to and fro; the sizes become finer halfway."""
    draw = Random(seed)
    steps: list[Step] = []
    for at in range(6000):
        key = int(400 * draw.random() ** 2.5) if at // 500 % 2 else at % 170
        size = 4 * (1 + key * 7 % 9) if at < 3000 else 1 + key * 7 % 31
        kind = draw.random()
        steps.append(("request" if kind < 0.97 else "put" if kind < 0.99 else "remove", key, size))
        if at % 1500 == 1499:
            steps.append(("resize", 0, draw.randint(500, 2000)))
    return steps


@pytest.mark.parametrize("seed", range(3))
def test_the_unit_of_the_sizes_changes_no_decision_of_a_long_trace(seed: int) -> None:
    steps = long_steps(seed)
    once = decisions(steps, 1200, 1)
    assert 1000 < sum(came is True for came in once) < 5500
    for times in (3, 1000, 4096):
        assert decisions(steps, 1200, times) == once


class BytewiseARC(ARC):
    """Moves p by single bytes, whatever the size of the entry."""

    def missing(self, key: Key, size: int, cost: float) -> None:
        p, unit = self.p, self.unit
        super().missing(key, size, cost)
        p *= unit // self.unit
        if self.p != p:
            self.p = p + (1 if self.p > p else -1) / self.unit


def test_a_step_of_single_bytes_depends_on_the_unit() -> None:
    steps = long_steps(0)
    assert decisions(steps, 1200, 4096, BytewiseARC) != decisions(steps, 1200, 1, BytewiseARC)


def test_the_unit_becomes_finer_without_moving_p() -> None:
    arc = ARC(120)
    for key, size in (("a", 60), ("b", 60), ("a", 0), ("c", 60), ("b", 60)):
        if size:
            arc.missing(key, size, 0.0)
            while arc.t1.bytes + arc.t2.bytes + size > 120:
                arc.evict()
            arc.inserted(key, size, 0.0)
        else:
            arc.hit(key)
    assert (arc.p, arc.unit) == (1.0, 60)  # b came back as a ghost
    arc.missing("d", 8, 0.0)
    assert (arc.p, arc.unit) == (15.0, 4)


def test_a_queue_counts_its_bytes() -> None:
    queue = Queue()
    queue.push("a", 3)
    queue.push("b", 4)
    assert (queue.bytes, len(queue), queue.oldest(), queue.take("x")) == (7, 2, "a", None)
    assert queue.take("a") == 3
    assert queue.pop() == ("b", 4)
    assert (queue.bytes, len(queue)) == (0, 0)
