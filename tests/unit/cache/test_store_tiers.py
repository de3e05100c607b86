"""A cache with a tier below: what goes down and comes up, and what happens when that fails or is overtaken."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from reconv.cache.packing import pack, unpack
from reconv.cache.store import Cache
from reconv.errors import CacheError

KIB = 1 << 10


class Shelf:
    """A tier in a dictionary; `meanwhile` is called once, between reading a payload and handing it out."""

    def __init__(self) -> None:
        self.kept: dict[bytes, bytes] = {}
        self.asked: list[bytes] = []
        self.closed = False
        self.failures = 0
        self.meanwhile: Callable[[], object] | None = None

    def get(self, name: bytes) -> bytes | None:
        self.asked.append(name)
        payload = self.kept.get(name)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return payload

    def put(self, name: bytes, payload: bytes) -> None:
        self.kept[name] = payload

    def delete(self, name: bytes) -> bool:
        return self.kept.pop(name, None) is not None

    def clear(self) -> None:
        self.kept.clear()

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def opened(shelf: Shelf, capacity_bytes: int = 64 * KIB) -> Cache:
    return Cache(capacity_bytes, "lru", below=shelf)


def unexpected() -> Any:
    raise AssertionError("it is known below")


def test_what_left_the_memory_comes_back_from_below(shelf: Shelf) -> None:
    cache = opened(shelf, 10 * KIB)
    values = {f"{number}": np.full(500, number) for number in range(20)}
    for key, value in values.items():
        cache.put(key, value, cost=2.0)
    assert len(cache) < 5
    for key, value in values.items():
        np.testing.assert_array_equal(cache.compute(key, unexpected), value)
        assert key in cache
    assert cache.stats.hits_below > 15
    assert cache.stats.seconds_saved == 2.0 * 20


def test_costs_survive_below(shelf: Shelf) -> None:
    opened(shelf).put("a", b"value", cost=3.5)
    cache = opened(shelf)
    assert cache["a"] == b"value"
    assert cache["a"] == b"value"
    assert (cache.stats.hits, cache.stats.hits_below, cache.stats.misses) == (1, 1, 1)
    assert cache.stats.seconds_saved == 7.0


def test_a_value_that_the_memory_does_not_take_is_served_from_below(shelf: Shelf) -> None:
    cache, value = opened(shelf, KIB), np.arange(1000)
    assert cache.put("a", value) is False
    np.testing.assert_array_equal(cache.compute("a", unexpected), value)
    assert len(cache) == 0


def test_arrays_from_below_are_read_only(shelf: Shelf) -> None:
    opened(shelf).put("a", np.zeros(3))
    with pytest.raises(ValueError, match="read-only"):
        opened(shelf)["a"][0] = 1


@pytest.mark.parametrize("damage", [lambda payload: payload[:-1], lambda _: b"", lambda _: pack(b"other", 0.0, b"tb")])
def test_a_damaged_payload_is_a_miss_and_is_dropped(shelf: Shelf, damage: Callable[[bytes], bytes]) -> None:
    opened(shelf).put("a", b"value")
    shelf.kept[b"ta"] = damage(shelf.kept[b"ta"])
    cache = opened(shelf)
    assert cache.get("a") is None
    assert shelf.kept == {}
    assert cache.compute("a", lambda: b"again") == b"again"
    assert cache.stats.hits_below == 0
    assert opened(shelf)["a"] == b"again"


def test_text_and_bytes_are_different_keys(shelf: Shelf) -> None:
    cache = opened(shelf)
    cache["a"], cache[b"a"], cache["\udcff"] = 1, 2, 3
    cache.clear()
    assert (cache["a"], cache[b"a"], cache["\udcff"]) == (1, 2, 3)


@pytest.mark.parametrize("key", [7, ("a", 1), None, 1.5])
def test_other_keys_are_refused_and_nothing_changes(shelf: Shelf, key: Any) -> None:
    cache, calls = opened(shelf), []
    for request in (
        lambda: cache.get(key),
        lambda: cache.put(key, 1),
        lambda: cache.compute(key, lambda: calls.append(1)),
        lambda: cache.__delitem__(key),
    ):
        with pytest.raises(CacheError, match="a cache with a tier below takes text or bytes as keys"):
            request()
    assert (len(cache), cache.bytes, shelf.kept, calls) == (0, 0, {}, [])


def test_a_value_that_cannot_be_packed_is_refused_and_the_old_one_stays(shelf: Shelf) -> None:
    cache = opened(shelf)
    cache["a"] = "old"
    with pytest.raises(CacheError, match="a value of type set cannot be kept below the memory"):
        cache.put("a", {1, 2})
    with pytest.raises(CacheError, match="a value of type object cannot be kept below the memory"):
        cache.compute("b", object)
    assert cache["a"] == "old"
    assert list(cache) == ["a"]
    assert unpack(shelf.kept[b"ta"], b"ta") is not None
    assert cache.compute("b", lambda: "well") == "well", "nobody waits for the computation that failed"


def test_without_a_tier_any_key_and_value_will_do() -> None:
    cache = Cache(64 * KIB, "lru")
    assert cache.compute((1, 2), lambda: {3}) == {3}


def test_a_value_put_while_the_old_one_is_fetched_stays(shelf: Shelf) -> None:
    opened(shelf).put("a", "old")
    cache = opened(shelf)
    shelf.meanwhile = lambda: cache.put("a", "new")
    assert cache.get("a") == "old", "asked for before the new one was there"
    assert cache.get("a") == "new"
    cache.clear()
    assert cache.get("a") == "new"


def test_a_value_put_and_evicted_while_the_old_one_is_fetched_does_not_come_back(shelf: Shelf) -> None:
    opened(shelf).put("a", "old")
    cache = opened(shelf, 2 * KIB)
    shelf.meanwhile = lambda: (cache.put("a", "new"), cache.put("b", bytes(1900)))
    cache.get("a")
    assert cache.get("a") == "new"


def test_a_key_deleted_while_it_is_fetched_stays_deleted(shelf: Shelf) -> None:
    opened(shelf).put("a", "old")
    cache = opened(shelf)
    shelf.meanwhile = lambda: cache.pop("a")
    cache.get("a")
    assert cache.get("a") is None
    assert len(cache) == 0


def test_deleting_reaches_below(shelf: Shelf) -> None:
    cache = opened(shelf)
    cache["a"] = 1
    cache.clear()
    del cache["a"]
    assert shelf.kept == {}
    with pytest.raises(KeyError):
        del cache["a"]


def test_threads_that_miss_together_compute_once(shelf: Shelf) -> None:
    cache, calls, results = opened(shelf), [], []
    barrier = threading.Barrier(6)

    def make() -> str:
        calls.append(1)
        return "made"

    def ask() -> None:
        barrier.wait()
        for number in range(50):
            results.append(cache.compute(f"{number}", make))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == ["made"] * 300
    assert len(calls) == 50
    assert len(shelf.kept) == 50


def test_close_closes_the_tier(shelf: Shelf) -> None:
    cache = opened(shelf)
    cache["a"] = 1
    cache.close()
    assert shelf.closed
    assert len(cache) == 0
