"""The policies on generated traffic: speed of replay, cost of a hit, and what `auto` saves beside the best of them."""

from __future__ import annotations

import statistics
import threading
import time
from typing import Any

import cachetools
import numpy as np

from benchmarks.options import Options
from reconv.cache import POLICIES, WORKLOADS, Cache, Trace, replay

ASKED = {"replay_per_second": 500_000, "hit_over_cachetools": 1.5, "auto_over_best": 0.95}
CAPACITIES = (0.02, 0.1, 0.3)  # of a trace's footprint


def second_half(trace: Trace, policy: str, capacity: int) -> float:
    """Share of the seconds of the trace's second half that a policy saves, having seen the first."""
    half = len(trace.keys) // 2
    hits = replay(trace.keys, trace.sizes, trace.costs, policy=policy, capacity_bytes=capacity).hits[half:]
    return float((trace.costs[half:] * hits).sum() / trace.costs[half:].sum())


def joined(first: Trace, second: Trace) -> Trace:
    """One kind of traffic after another, of other objects."""
    shift = int(first.keys.max()) + 1 - int(second.keys.min())
    return Trace(
        np.concatenate([first.keys, second.keys + shift]),
        np.concatenate([first.sizes, second.sizes]),
        np.concatenate([first.costs, second.costs]),
    )


def compared(title: str, trace: Trace) -> list[dict[str, Any]]:
    rows = []
    for share in CAPACITIES:
        capacity = max(int(trace.footprint_bytes * share), 1)
        saved = {policy: round(second_half(trace, policy, capacity), 5) for policy in POLICIES}
        auto = saved.pop("auto")
        best = max(saved, key=saved.__getitem__)
        rows.append({"workload": title, "capacity": share, "auto": auto, "best": best, "saved": saved})
    return rows


def replay_speed(options: Options) -> list[dict[str, Any]]:
    requests = 2000 if options.tiny else 200_000
    trace = WORKLOADS["zipf"](requests=requests, objects=10_000, seed=1)
    capacity = trace.footprint_bytes // 10
    rows = []
    for policy in POLICIES:
        taken = []
        for _ in range(1 if options.tiny else 3):
            start = time.perf_counter()
            found = replay(trace.keys, trace.sizes, trace.costs, policy=policy, capacity_bytes=capacity)
            taken.append(time.perf_counter() - start)
        rows.append(
            {"policy": policy, "per_second": round(requests / min(taken)), "hit_ratio": round(found.hit_ratio, 4)}
        )
    return rows


class Locked:
    """cachetools' LRU as several threads must use it."""

    def __init__(self, capacity: int) -> None:
        self._cache: Any = cachetools.LRUCache(capacity)
        self._lock = threading.Lock()

    def put(self, key: str, value: object) -> None:
        with self._lock:
            self._cache[key] = value

    def get(self, key: str) -> Any:
        with self._lock:
            return self._cache.get(key)


def hit_cost(options: Options) -> dict[str, Any]:
    """Hits alone, alternating: our memory tier over cachetools' LRU with a lock."""
    names = [f"picture {i}" for i in range(1000)]
    ours, theirs = Cache(1 << 20, "lru"), Locked(1 << 20)
    for name in names:
        ours.put(name, name, size=100)
        theirs.put(name, name)
    asked = [names[i] for i in np.random.default_rng(0).integers(0, 1000, 1000 if options.tiny else 100_000)]
    ratios = []
    for _ in range(2 if options.tiny else 15):
        taken = []
        for cache in (ours, theirs):
            start = time.perf_counter()
            for name in asked:
                cache.get(name)
            taken.append(time.perf_counter() - start)
        ratios.append(taken[0] / taken[1])
    return {"over_cachetools": round(statistics.median(ratios), 4), "nanoseconds": round(taken[0] / len(asked) * 1e9)}


def run(options: Options) -> dict[str, Any]:
    options.say("policies: speed")
    speed, hit = replay_speed(options), hit_cost(options)
    rows = []
    requests = 3000 if options.tiny else 100_000
    for name, make in WORKLOADS.items():
        options.say(f"policies: {name}")
        rows += compared(name, make(requests=requests, seed=1))
    options.say("policies: from one kind of traffic to another")
    rows += compared("sweep, then zipf", joined(make_two("sweep", requests), make_two("zipf", requests)))
    rows += compared("zipf, then loop", joined(make_two("zipf", requests), make_two("loop", requests)))
    return {"asked": ASKED, "speed": speed, "hit": hit, "rows": rows}


def make_two(name: str, requests: int) -> Trace:
    return WORKLOADS[name](requests=requests // 2, seed=2)
