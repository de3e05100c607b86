"""Entries of the store: what they weigh, what replaces them, and what a reader sees while others write."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from reconv.cache.size import size_of
from reconv.cache.store import Cache


def test_arrays_of_text_weigh_what_they_hold() -> None:
    assert size_of(np.array(["x" * 1_000_000, "y"], object)) > 1_000_000
    assert size_of(np.zeros(1000)) < 8200
    cache = Cache(100_000)
    assert not cache.put("text", np.array(["x" * 1_000_000], object))
    assert cache.bytes == 0


@pytest.mark.parametrize(("before", "after"), [(0.001, 100.0), (100.0, 1e-6)])
def test_a_replaced_value_has_its_new_cost(before: float, after: float) -> None:
    cache = Cache(3, "gdsf")
    for key, cost in (("a", before), ("b", 1.0), ("c", 1.0), ("a", after), ("d", 1.0)):
        cache.put(key, key, size=1, cost=cost)
    assert ("a" in cache) == (after > 1)


def test_items_and_values_are_of_one_moment() -> None:
    cache = Cache(50)
    stop = threading.Event()

    def write() -> None:
        turn = 0
        while not stop.is_set():
            cache.put(turn, turn, size=1)
            turn += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(300):
            assert all(key == value for key, value in cache.items())
            assert len(list(cache.values())) <= 50
    finally:
        stop.set()
        writer.join()
    assert cache.stats.hits == 0
