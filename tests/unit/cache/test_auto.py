"""`auto`: follows the policy that saves most, keeps the byte limit, and decides the same way every time."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from reconv.cache.ledger import Ledger
from reconv.cache.policies import POLICIES, Key
from reconv.cache.policies.auto import SHADOW_ENTRIES, Auto

CANDIDATES = {name: POLICIES[name] for name in ("lru", "lfu", "arc")}


def auto(ledger: Ledger) -> Auto:
    assert isinstance(ledger.policy, Auto)
    return ledger.policy


def ledger(capacity: int, first: str = "lru") -> Ledger:
    return Ledger(capacity, lambda c: Auto(c, CANDIDATES, first))


def play(book: Ledger, keys: Iterable[Key], size: int = 1, cost: float = 1.0) -> int:
    """Requests in order; how many were hits."""
    hits = 0
    for key in keys:
        if key in book.sizes:
            book.policy.hit(key)
            hits += 1
        else:
            book.insert(key, size, cost)
        assert book.bytes <= book.capacity_bytes
    return hits


def frequent(count: int, seed: int = 0) -> list[int]:
    """A few keys asked for again and again, between many that come once: least recently used keeps the wrong ones."""
    random = np.random.default_rng(seed)
    once = iter(range(10_000, 10_000 + 10 * count))
    return [int(random.integers(0, 60)) if random.random() < 0.3 else next(once) for _ in range(count)]


def recent(count: int) -> list[int]:
    """A window that moves: what was popular never comes back, so counts mislead."""
    random = np.random.default_rng(1)
    return [1_000_000 + i // 4 + int(random.integers(0, 70)) for i in range(count)]


def test_it_leaves_what_does_not_pay_and_follows_a_drift() -> None:
    book = ledger(80)
    play(book, frequent(8000))
    assert auto(book).choice in ("lfu", "arc")
    learned = play(book, frequent(4000, seed=2))
    alone = Ledger(80, POLICIES["lfu"])
    play(alone, frequent(8000))
    best = play(alone, frequent(4000, seed=2))
    assert learned >= 0.95 * best
    play(book, recent(30_000))
    assert auto(book).choice in ("lru", "arc")
    assert auto(book).changes >= 2


def test_the_same_requests_the_same_decisions() -> None:
    names: list[Key] = [f"picture {key}" for key in frequent(6000)]
    first, second = ledger(64), ledger(64)
    play(first, names)
    play(second, names)
    assert list(first.sizes) == list(second.sizes)
    assert auto(first).choice == auto(second).choice


def test_large_caches_watch_a_sample() -> None:
    book = ledger(20_000)
    random = np.random.default_rng(4)
    play(book, (int(key) for key in random.zipf(1.2, 60_000) % 100_000))
    shadows = auto(book)._shadows.values()
    assert len(book.sizes) > 8 * SHADOW_ENTRIES
    assert all(len(shadow.sizes) <= 2 * SHADOW_ENTRIES + 256 for shadow in shadows)
    assert any(len(shadow.sizes) >= SHADOW_ENTRIES // 4 for shadow in shadows)
    play(book, range(10))
    book.resize(100)
    assert book.bytes <= 100
    play(book, frequent(20_000))
    assert auto(book).choice in ("lfu", "arc")


def test_removed_keys_leave_the_shadows() -> None:
    book = ledger(50)
    play(book, range(30))
    book.remove(7)
    assert all(7 not in shadow.sizes for shadow in auto(book)._shadows.values())
    assert 7 not in book.sizes
    assert play(book, [7]) == 0


def test_what_costs_more_is_worth_more() -> None:
    """Half the hits at ten times the cost: the candidate that saves seconds leads, not the one that counts hits."""
    random = np.random.default_rng(5)
    book = Ledger(100, lambda c: Auto(c, {name: POLICIES[name] for name in ("lru", "gdsf")}, "lru"))
    saved = {"cheap": 0, "dear": 0}
    for _ in range(20_000):
        key = ("cheap", int(random.integers(0, 95))) if random.random() < 0.7 else ("dear", int(random.integers(0, 95)))
        if key in book.sizes:
            book.policy.hit(key)
            saved[key[0]] += 1
        else:
            book.insert(key, 1, 10.0 if key[0] == "dear" else 0.1)
    assert auto(book).choice == "gdsf"
    assert saved["dear"] > 4000


@pytest.mark.parametrize("key", [1, -1, 2**70, "a", b"a", ("a", 1), 1.5])
def test_any_key_has_a_place(key: Key) -> None:
    book = ledger(2)
    assert play(book, [key, key]) == 1
