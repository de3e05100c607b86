"""Making room beside entries that may not leave just now: `Ledger.insert_beside`, under every policy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconv.cache.ledger import Ledger
from reconv.cache.policies import POLICIES
from tests.property.profiles import examples

CAPACITY = 100


def test_the_busy_ones_stay() -> None:
    ledger = Ledger(CAPACITY, POLICIES["lru"])
    for name in "abcd":
        assert ledger.insert(name, 25, 1.0) == []
    assert ledger.insert_beside("a", "e", 25, 1.0) == ["b"]
    assert ledger.insert_beside("ace", "f", 26, 1.0) is None
    assert ledger.sizes.keys() == {"a", "c", "d", "e"}
    assert ledger.insert_beside("ace", "f", 25, 2.0) == ["d"]
    assert ledger.costs == {"a": 1.0, "c": 1.0, "e": 1.0, "f": 2.0}
    assert ledger.insert_beside("x", "y", 101, 1.0) is None
    assert ledger.insert_beside("x", "y", 100, 1.0) is not None
    assert ledger.bytes == 100


@pytest.mark.parametrize("policy", sorted(POLICIES))
@examples(60)
@given(
    requests=st.lists(
        st.tuples(st.integers(0, 11), st.integers(1, 60), st.sets(st.integers(0, 11), max_size=5)), max_size=60
    )
)
def test_any_requests(policy: str, requests: list[tuple[int, int, set[int]]]) -> None:
    """Keys with sizes, and who is busy at the time."""
    ledger = Ledger(CAPACITY, POLICIES[policy])
    for key, size, busy in requests:
        if key in ledger.sizes:
            ledger.policy.hit(key)
            continue
        before = dict(ledger.sizes)
        left = ledger.insert_beside(busy, key, size, float(key))
        staying = sum(held for name, held in before.items() if name in busy)
        if left is None:
            assert staying + size > CAPACITY
            assert ledger.sizes == before
        else:
            assert staying + size <= CAPACITY
            assert not busy & set(left)
            kept = {name: held for name, held in before.items() if name not in left}
            assert ledger.sizes == kept | {key: size}
            assert len(left) == len(before) - len(kept)
        assert ledger.bytes == sum(ledger.sizes.values()) <= CAPACITY
        assert ledger.costs == {name: float(name) for name in ledger.sizes if isinstance(name, int)}
    gone = []
    while ledger.sizes:  # the policy knows exactly those that are held
        gone.append(ledger._evict())
    assert len(gone) == len(set(gone))
