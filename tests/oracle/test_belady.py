"""Belady's bound against independent references: every choice tried on tiny traces, libCacheSim's Belady on long ones,
and the linear program whose limit the bound approaches."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconv.cache import Trace, generate, replay, write_trace
from reconv.cache.trace import Integers


def optimum(keys: list[int], sizes: list[int], values: list[float], capacity: int) -> float:
    """The most value that hits can have: after every request every set that fits is tried as what is held."""

    @cache
    def best(at: int, held: frozenset[tuple[int, int]]) -> float:
        if at == len(keys):
            return 0.0
        own = (keys[at], sizes[at])
        gained = values[at] if own in held else 0.0
        others = {entry for entry in held if entry[0] != own[0]}  # an old value of another size is of no use
        return gained + max(best(at + 1, kept) for kept in _subsets(frozenset(others | {own}), capacity))

    return best(0, frozenset())


def _subsets(entries: frozenset[tuple[int, int]], capacity: int) -> list[frozenset[tuple[int, int]]]:
    found: list[frozenset[tuple[int, int]]] = [frozenset()]
    for entry in entries:
        found += [kept | {entry} for kept in found]
    return [kept for kept in found if sum(size for _, size in kept) <= capacity]


KEYS = st.lists(st.integers(0, 3), min_size=1, max_size=10)


@settings(max_examples=80, deadline=None)
@given(KEYS, st.integers(1, 3))
def test_equal_sizes_reach_the_optimum(keys: list[int], entries: int) -> None:
    found = replay(keys, [7] * len(keys), policy="belady", capacity_bytes=7 * entries + 3)
    assert found.exact
    assert found.hits.sum() == optimum(keys, [7] * len(keys), [1.0] * len(keys), 7 * entries + 3)


@settings(max_examples=80, deadline=None)
@given(st.data(), KEYS, st.integers(1, 12))
def test_other_sizes_are_never_below_the_optimum(data: st.DataObject, keys: list[int], capacity: int) -> None:
    count = len(keys)
    own = data.draw(st.lists(st.integers(1, 6), min_size=4, max_size=4))
    sizes = [own[key] for key in keys]
    if data.draw(st.booleans()):  # sizes may change on the way
        sizes[data.draw(st.integers(0, count - 1))] += 1
    costs = data.draw(st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.0]), min_size=count, max_size=count))
    found = replay(keys, sizes, costs, policy="belady", capacity_bytes=capacity)
    assert found.hits.sum() >= optimum(keys, sizes, [1.0] * count, capacity)
    assert found.byte_hit_ratio * sum(sizes) >= optimum(keys, sizes, [float(s) for s in sizes], capacity) - 1e-9
    assert found.seconds_saved >= optimum(keys, sizes, costs, capacity) - 1e-9
    again = [key in keys[:at] for at, key in enumerate(keys)]
    assert not (found.hits & ~np.array(again)).any()


def _libcachesim_hits(keys: Integers, entries: int, path: Path) -> int:
    lcs = pytest.importorskip("libcachesim")
    write_trace(Trace(keys, np.ones(len(keys), np.int64), np.ones(len(keys))), path)
    belady = lcs.Belady(entries)
    return sum(belady.get(request) for request in lcs.TraceReader(str(path), lcs.TraceType.ORACLE_GENERAL_TRACE))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("share", [0.02, 0.1])
@pytest.mark.parametrize("workload", ["zipf:alpha=0.9", "drift:speed=0.05", "loop:shuffle=true", "mixture:once=0.2"])
def test_libcachesim_has_as_many_hits(workload: str, share: float, seed: int, tmp_path: Path) -> None:
    """libCacheSim's Belady must take in what is asked for. Given a place more, and after each request one for a key
    that never comes again, which takes that place, it decides as ours."""
    trace = generate(f"{workload},objects=600,requests=30000,seed={seed}")
    entries = int(trace.distinct * share)
    ours = replay(trace.keys, policy="belady", capacity_bytes=entries)
    once = np.arange(len(trace)) + trace.keys.max() + 1
    both = np.stack([trace.keys, once], 1).ravel()
    assert ours.hits.sum() == _libcachesim_hits(both, entries + 1, tmp_path / "both.oracleGeneral")
    assert ours.hits.sum() >= _libcachesim_hits(trace.keys, entries, tmp_path / "plain.oracleGeneral")


@pytest.mark.parametrize("workload", ["zipf", "scan:every=500,length=300", "drift", "mixture", "sweep:samples=4"])
@pytest.mark.parametrize("share", [0.02, 0.2])
def test_the_price_of_memory_finds_what_min_finds(workload: str, share: float) -> None:
    """At equal sizes the linear program has the optimum, MIN: the bound for other sizes comes close to it there too."""
    name, _, rest = workload.partition(":")
    trace = generate(f"{name}:{rest + ',' if rest else ''}requests=5000")
    sizes = np.full(len(trace), 1000)
    capacity = int(trace.distinct * share) * 1000
    best = replay(trace.keys, sizes, policy="belady", capacity_bytes=capacity)
    odd = sizes.copy()
    odd[0] -= 1  # by a hair not all equal: the other way
    bound = replay(trace.keys, odd, policy="belady", capacity_bytes=capacity)
    assert best.exact
    assert not bound.exact
    assert best.hits[1:].sum() - 1 <= bound.hits.sum()
    assert bound.hit_ratio - best.hit_ratio < 0.006
