"""`reconv.cache.replay`: figures by hand, the same decisions as a real cache makes, and mistakes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import reconv.cache
from reconv.cache import ADMISSIONS, POLICIES, Cache, generate, replay
from reconv.errors import CacheError


def test_figures_by_hand() -> None:
    #        a  b  a  c      b: went for c  a: no longer there either
    found = replay("abacba", [4, 4, 4, 4, 4, 4], [1, 2, 3, 4, 5, 6], policy="lru", capacity_bytes=8)
    assert found.hits.tolist() == [False, False, True, False, False, False]
    assert found.hits.dtype == np.bool_
    assert found.hit_ratio == found.byte_hit_ratio == pytest.approx(1 / 6)
    assert found.seconds_saved == 3  # what this request would have taken, not the one before
    assert found.share_of_seconds_saved == pytest.approx(3 / 21)
    assert found.evictions == 3
    assert found.exact
    assert found.policy == "lru"
    assert found.capacity_bytes == 8


def test_sizes_and_costs_are_one_each_by_default() -> None:
    given = np.array([5, 6, 5, 7, 6])
    one = replay(given, policy="fifo", capacity_bytes=2)
    other = replay(given.tolist(), np.ones(5, np.uint8), [1.0] * 5, policy="fifo", capacity_bytes=2)
    assert one.hits.tolist() == other.hits.tolist() == [False, False, True, False, True]
    assert one.seconds_saved == other.seconds_saved == 2


def test_byte_hit_ratio_counts_bytes() -> None:
    found = replay(["a", "b", "a", "b"], [1, 9, 1, 9], policy="lru", capacity_bytes=9)
    assert found.hits.tolist() == [False, False, False, False]
    found = replay(["a", "a", "b"], [1, 1, 8], policy="lru", capacity_bytes=9)
    assert found.byte_hit_ratio == pytest.approx(0.1)


@pytest.mark.parametrize("policy", POLICIES)
def test_another_size_is_another_value(policy: str) -> None:
    """A miss that takes the place of the old value; one that does not fit leaves nothing."""
    found = replay("aaaaaa", [2, 2, 3, 3, 11, 3], policy=policy, capacity_bytes=10)
    assert found.hits.tolist() == [False, True, False, True, False, False]
    assert found.evictions == 0


@pytest.mark.parametrize("admission", ADMISSIONS)
@pytest.mark.parametrize("policy", POLICIES)
def test_decides_as_a_cache_does(policy: str, admission: str) -> None:
    trace = generate("mixture:requests=4000,objects=150")
    keys, sizes, costs = trace.keys.copy(), trace.sizes, trace.costs
    sizes = sizes + (np.arange(len(trace)) // 1500) * (trace.keys % 7 == 0)  # some become other values on the way
    capacity = trace.footprint_bytes // 10
    cache = Cache(capacity, policy, admission=admission)
    hits: list[bool] = []
    held: dict[int, int] = {}
    for key, size, cost in zip(keys.tolist(), sizes.tolist(), costs.tolist(), strict=True):
        if key in cache and held[key] != size:  # replay knows a value by its size
            hits.append(False)
            cache.put(key, None, size=size, cost=cost)
        else:
            hits.append(cache.get(key, 0) is None)
            if not hits[-1]:
                cache.put(key, None, size=size, cost=cost)
        held[key] = size
    found = replay(keys, sizes, costs, policy=policy, capacity_bytes=capacity, admission=admission)
    assert found.hits.tolist() == hits
    assert found.evictions == cache.stats.evictions > 0
    assert 0 < found.hit_ratio < 1


def test_keys_may_be_anything_hashable() -> None:
    names = ["a", "b", "a", ("x", 1), ("x", 1), None, b"z", None]
    numbers = [0, 1, 0, 2, 2, 3, 4, 3]
    for policy in ("arc", "belady"):
        one, other = (replay(keys, policy=policy, capacity_bytes=3) for keys in (names, numbers))
        assert one.hits.tolist() == other.hits.tolist()
    array = np.array(["p", "q", "p"])
    assert replay(array, policy="lru", capacity_bytes=2).hits.tolist() == [False, False, True]


@pytest.mark.parametrize("policy", ["lru", "belady"])
def test_no_requests(policy: str) -> None:
    found = replay([], [], [], policy=policy, capacity_bytes=1)
    assert found.hits.shape == (0,)
    assert (found.hit_ratio, found.byte_hit_ratio, found.seconds_saved, found.share_of_seconds_saved) == (0, 0, 0, 0)


def test_requests_that_cost_nothing_save_nothing() -> None:
    found = replay("aa", costs=[0, 0], policy="lru", capacity_bytes=1)
    assert found.hit_ratio == 0.5
    assert found.share_of_seconds_saved == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"policy": "mru"}, "no policy is called 'mru'; there are fifo, lru"),
        ({"admission": "third"}, "no admission is called 'third'; there are all, second"),
        ({"capacity_bytes": 0}, "capacity_bytes is 0, expected a whole number"),
        ({"capacity_bytes": 1.5}, "capacity_bytes is 1.5"),
        ({"capacity_bytes": 0, "policy": "belady"}, "capacity_bytes is 0"),
        ({"sizes": [1, 2]}, r"sizes have the shape \(2,\), but there are 3 keys"),
        ({"sizes": [1, 0, 2]}, "the size of request 1 is 0, expected a whole number of bytes from 1 up"),
        ({"sizes": [1, 1, -4]}, "the size of request 2 is -4"),
        ({"sizes": [1.0, 2.0, 3.0]}, "sizes are whole numbers of bytes, got float64"),
        ({"sizes": [[1], [2, 3], 4]}, "sizes are not one row of numbers"),
        ({"costs": [1, 2, 3, 4]}, r"costs have the shape \(4,\), but there are 3 keys"),
        ({"costs": [1, float("nan"), 2]}, "the cost of request 1 is nan, expected a finite number"),
        ({"costs": [1, 2, float("inf")]}, "the cost of request 2 is inf"),
        ({"costs": [-0.5, 2, 1]}, "the cost of request 0 is -0.5, expected seconds from 0 up"),
        ({"costs": ["x", "y", "z"]}, "costs are numbers of seconds"),
        ({"keys": np.zeros((3, 1), int)}, r"keys are one row, got the shape \(3, 1\)"),
        ({"keys": [1, [2], 3]}, "a key cannot be hashed: .*list"),
        ({"keys": [1, [2], 3], "policy": "belady"}, "a key cannot be hashed: .*list"),
    ],
)
def test_mistakes(given: dict[str, Any], said: str) -> None:
    usual: dict[str, Any] = {"keys": [1, 2, 1], "policy": "lru", "capacity_bytes": 10}
    with pytest.raises(CacheError, match=said):
        replay(**usual | given)


def test_the_name_is_the_function() -> None:
    """No module of the same name may take its place, in whatever order things are imported."""
    import reconv.cache.replaying as module

    assert reconv.cache.replay is module.replay is replay
