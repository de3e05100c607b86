"""Belady's bound: by hand, and never beaten by any policy of the table."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconv.cache import ADMISSIONS, POLICIES, WORKLOADS, Trace, generate, replay
from reconv.cache.belady import most_hits
from reconv.cache.trace import next_uses


def test_min_by_hand() -> None:
    """The textbook's reference string; there, with forced loading and three frames, it has 11 hits of 20."""
    string = [7, 0, 1, 2, 0, 3, 0, 4, 2, 3, 0, 3, 2, 1, 2, 0, 1, 7, 0, 1]
    hits, evictions = most_hits(next_uses(np.array(string)), 3)
    assert np.flatnonzero(hits).tolist() == [4, 6, 8, 9, 10, 11, 12, 14, 15, 16, 18, 19]  # 4 and 7 are passed by
    assert evictions == 2  # 1 for 3, and 3 once it is over and something else is wanted
    assert most_hits(next_uses(np.array(string)), 0)[0].sum() == 0
    assert most_hits(next_uses(np.array(string)), 6)[0].sum() == 14


def test_sizes_by_hand() -> None:
    """Room for one large or three small ones, asked for twice each."""
    keys, sizes, costs = "ABCDABCD", [9, 3, 3, 3] * 2, [5, 1, 1, 1] * 2
    found = replay(keys, sizes, costs, policy="belady", capacity_bytes=9)
    assert 3 <= found.hits.sum() <= 3.3  # B, C, D
    assert 9 <= found.byte_hit_ratio * 36 < 9.5
    assert 5 <= found.seconds_saved < 5.3  # A
    assert not found.exact
    assert found.evictions == 0


def test_what_is_larger_than_the_cache_is_never_a_hit() -> None:
    found = replay("aabb", [10, 10, 2, 2], policy="belady", capacity_bytes=9)
    assert found.hits.tolist() == [False, False, False, True]
    assert found.byte_hit_ratio == pytest.approx(2 / 24)


def test_equal_sizes_with_other_costs_are_a_bound_in_seconds_only() -> None:
    found = replay("abcabc", costs=[1, 1, 9, 1, 1, 9], policy="belady", capacity_bytes=1)
    assert not found.exact
    assert found.hits.sum() == 1
    assert found.evictions == 0
    assert 9 <= found.seconds_saved < 9.5


def test_demand_in_waves_is_seen() -> None:
    """Thirty pictures in turn, then one alone: memory that is free at the end does not help at the start."""
    keys = np.concatenate([np.tile(np.arange(30), 20), np.full(3000, 30)])
    sizes = np.where(keys % 2, 10, 11)
    found = replay(keys, sizes, policy="belady", capacity_bytes=105)
    most = 10 * 19 + 2999  # ten of the thirty, and the one
    assert most <= found.hits.sum() <= 1.02 * most
    average_only = 30 * 19 + 2999
    assert found.hits.sum() < 0.95 * average_only


def assert_not_beaten(trace: Trace, capacity: int) -> None:
    columns = trace.keys, trace.sizes, trace.costs
    bound = replay(*columns, policy="belady", capacity_bytes=capacity)
    for policy in POLICIES:
        for admission in ADMISSIONS:
            found = replay(*columns, policy=policy, capacity_bytes=capacity, admission=admission)
            assert found.hits.sum() <= bound.hits.sum(), (policy, admission)
            assert found.hit_ratio <= bound.hit_ratio
            assert found.byte_hit_ratio <= bound.byte_hit_ratio * (1 + 1e-9), (policy, admission)
            assert found.seconds_saved <= bound.seconds_saved * (1 + 1e-9), (policy, admission)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.lists(st.integers(0, 12), min_size=1, max_size=120), st.integers(1, 60))
def test_no_policy_beats_it(data: st.DataObject, keys: list[int], capacity: int) -> None:
    count = len(keys)
    kind = data.draw(st.sampled_from(["unit", "own", "any"]))
    own = data.draw(st.lists(st.integers(1, 30), min_size=13, max_size=13))
    sizes = [1] * count if kind == "unit" else [own[key] for key in keys]
    if kind == "any":
        sizes = data.draw(st.lists(st.integers(1, 30), min_size=count, max_size=count))
    costs = data.draw(st.lists(st.floats(0, 10), min_size=count, max_size=count) | st.just([1.0] * count))
    capacity = data.draw(st.integers(1, 8)) if kind == "unit" else capacity
    assert_not_beaten(Trace(np.array(keys), np.array(sizes), np.array(costs)), capacity)


@pytest.mark.parametrize("share", [0.02, 0.2])
@pytest.mark.parametrize("workload", WORKLOADS)
def test_no_policy_beats_it_on_real_traffic(workload: str, share: float) -> None:
    trace = generate(f"{workload}:requests=3000")
    assert_not_beaten(trace, int(trace.footprint_bytes * share))
    unit = Trace(trace.keys, np.ones(len(trace), np.int64), trace.costs)
    assert_not_beaten(unit, max(1, int(trace.distinct * share)))
