"""The policies decide as independent implementations do, request by request: 0 decisions differ.

libCacheSim (C, the research field's simulator; GPL, so in tests only) for unit sizes, and in bytes where its rules are
ours; cachetools for LRU and LFU in bytes; and for GDSF, in bytes and seconds, the plain loop of its paper.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cachetools
import numpy as np
import pytest
from numpy.typing import NDArray

from reconv.cache.ledger import Ledger
from reconv.cache.policies import POLICIES, Key, Policy
from reconv.cache.policies.arc import ARC
from reconv.cache.policies.lfu import LFU
from reconv.cache.policies.s3fifo import S3FIFO
from reconv.cache.policies.sieve import SIEVE

REQUESTS = 30_000
SEEDS = (0, 1, 2)
Numbers = NDArray[np.int64]
Decisions = NDArray[np.bool_]


# --- the traces ---


def ranks(rng: np.random.Generator, count: int, keys: int, exponent: float) -> Numbers:
    """Zipf: the n-th of the keys is drawn n**-exponent times as often as the first."""
    weights = np.arange(1, keys + 1, dtype=float) ** -exponent
    return np.asarray(rng.choice(keys, count, p=weights / weights.sum()))


def zipf(rng: np.random.Generator) -> Numbers:
    return ranks(rng, REQUESTS, 3000, 0.9)


def scans_and_loops(rng: np.random.Generator) -> Numbers:
    """Popular keys, between them loops over more than fits and scans over what never comes back.

    First a loop over one key more than the smaller cache holds, and a scan: ARC's T1 has the whole capacity then.
    """
    parts, fresh = [np.tile(np.arange(10_000, 10_101), 3), np.arange(11_000, 11_800)], 12_000
    while sum(map(len, parts)) < REQUESTS:
        kind = rng.integers(4)
        if kind == 0:
            parts.append(np.tile(3000 + 1000 * rng.integers(3) + np.arange(rng.integers(80, 600)), 3))
        elif kind == 1:
            parts.append(np.arange(fresh, fresh := fresh + int(rng.integers(50, 900))))
        else:
            parts.append(ranks(rng, 1500, 800, 0.9))
    return np.concatenate(parts)[:REQUESTS]


def drift(rng: np.random.Generator) -> Numbers:
    """Zipf over keys that move on: every twenty requests the most popular one is seen for the last time."""
    return ranks(rng, REQUESTS, 1500, 0.8) + np.arange(REQUESTS) // 20


TRACES: dict[str, Callable[[np.random.Generator], Numbers]] = {
    "zipf": zipf,
    "scans_and_loops": scans_and_loops,
    "drift": drift,
}


def trace(name: str, seed: int) -> Numbers:
    return TRACES[name](np.random.default_rng(seed))


def sizes_of(keys: Numbers, seed: int, least: int = 1, most: int = 500) -> Numbers:
    """Bytes of every request; a key has one size."""
    return np.asarray(np.random.default_rng(seed + 100).integers(least, most, keys.max() + 1)[keys])


# --- who decides ---


def ours(
    make: Callable[[int], Policy],
    keys: Numbers,
    sizes: Numbers,
    capacity: int,
    costs: NDArray[np.float64] | None = None,
) -> Decisions:
    ledger = Ledger(capacity, make)
    hits = np.zeros(len(keys), bool)
    seconds = np.zeros(len(keys)) if costs is None else costs
    for at, (key, size, cost) in enumerate(zip(keys.tolist(), sizes.tolist(), seconds.tolist(), strict=True)):
        if key in ledger.sizes:
            hits[at] = True
            ledger.policy.hit(key)
        else:
            ledger.insert(key, size, cost)
    return hits


def libcachesims(name: str, keys: Numbers, sizes: Numbers, capacity: int) -> Decisions:
    libcachesim: Any = pytest.importorskip("libcachesim", reason="it is in tests/requirements.txt")
    cache = getattr(libcachesim, name)(capacity, hashpower=16)
    request = libcachesim.Request()
    request.op = libcachesim.ReqOp.OP_GET
    hits = np.zeros(len(keys), bool)
    for at, (key, size) in enumerate(zip(keys.tolist(), sizes.tolist(), strict=True)):
        request.clock_time, request.obj_id, request.obj_size = at, key, size
        hits[at] = cache.get(request)
    return hits


def cachetools_s(make: Callable[..., Any], keys: Numbers, sizes: Numbers, capacity: int) -> Decisions:
    cache = make(capacity, getsizeof=lambda size: size)
    hits = np.zeros(len(keys), bool)
    for at, (key, size) in enumerate(zip(keys.tolist(), sizes.tolist(), strict=True)):
        if key in cache:
            hits[at] = cache[key] == size
        else:
            cache[key] = size
    return hits


def plain_gdsf(keys: Numbers, sizes: Numbers, costs: NDArray[np.float64], capacity: int) -> Decisions:
    """The paper's loop: the least of all priorities is looked for anew in every eviction."""
    priority: dict[int, tuple[float, int]] = {}
    asked: dict[int, int] = {}
    held: dict[int, int] = {}
    floor, hits = 0.0, np.zeros(len(keys), bool)
    for at, (key, size, cost) in enumerate(zip(keys.tolist(), sizes.tolist(), costs.tolist(), strict=True)):
        hits[at] = key in held
        if hits[at]:
            asked[key] += 1
        else:
            while sum(held.values()) + size > capacity:
                least = min(priority, key=priority.__getitem__)
                floor = priority.pop(least)[0]
                del held[least]
            held[key], asked[key] = size, 1
        priority[key] = floor + asked[key] * (cost / size), at
    return hits


def differing(one: Decisions, other: Decisions) -> int:
    """How many decisions differ; both must have hits and misses, or nothing was compared."""
    assert one.shape == other.shape
    for hits in (one, other):
        assert 0.01 < hits.mean() < 0.99
    return int((one != other).sum())


THEIR_NAMES = {"fifo": "FIFO", "lru": "LRU", "lfu": "LFU", "arc": "ARC", "sieve": "Sieve", "s3fifo": "S3FIFO"}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("capacity", [100, 333])
@pytest.mark.parametrize("name", TRACES)
@pytest.mark.parametrize("policy", THEIR_NAMES)
def test_decides_as_libcachesim(policy: str, name: str, capacity: int, seed: int) -> None:
    keys = trace(name, seed)
    ones = np.ones_like(keys)
    theirs = libcachesims(THEIR_NAMES[policy], keys, ones, capacity)
    assert differing(ours(POLICIES[policy], keys, ones, capacity), theirs) == 0


@pytest.mark.parametrize("capacity", [20_011, 80_000])
@pytest.mark.parametrize("name", TRACES)
@pytest.mark.parametrize("policy", sorted(THEIR_NAMES.keys() - {"arc"}))  # its ARC moves p by single bytes
def test_decides_as_libcachesim_in_bytes(policy: str, name: str, capacity: int) -> None:
    keys = trace(name, 7)
    sizes = sizes_of(keys, 7)
    theirs = libcachesims(THEIR_NAMES[policy], keys, sizes, capacity)
    assert differing(ours(POLICIES[policy], keys, sizes, capacity), theirs) == 0


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("capacity", [20_011, 80_000])
@pytest.mark.parametrize("name", TRACES)
@pytest.mark.parametrize("policy", ["lru", "lfu"])
def test_decides_as_cachetools_in_bytes(policy: str, name: str, capacity: int, seed: int) -> None:
    keys = trace(name, seed)
    sizes = sizes_of(keys, seed)
    theirs = cachetools_s({"lru": cachetools.LRUCache, "lfu": cachetools.LFUCache}[policy], keys, sizes, capacity)
    assert differing(ours(POLICIES[policy], keys, sizes, capacity), theirs) == 0


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", TRACES)
def test_gdsf_decides_as_the_plain_loop(name: str, seed: int) -> None:
    keys = trace(name, seed)[:10_000]
    sizes = sizes_of(keys, seed)
    costs = np.random.default_rng(seed).choice([0.25, 1.0, 3.0], keys.max() + 1)[keys]
    plain = plain_gdsf(keys, sizes, costs, 20_011)
    assert differing(ours(POLICIES["gdsf"], keys, sizes, 20_011, costs), plain) == 0


@pytest.mark.parametrize(("policy", "theirs"), [("gdsf", "GDSF"), ("wtinylfu", "WTinyLFU")])
def test_hits_about_as_often_as_libcachesim(policy: str, theirs: str) -> None:
    """Where both leave details open (the breaking of ties, the sketch), the share of hits is the same within 1 %."""
    keys = trace("zipf", 0)
    ones = np.ones_like(keys)
    for capacity in (100, 333):
        mine = ours(POLICIES[policy], keys, ones, capacity).mean()
        assert abs(mine - libcachesims(theirs, keys, ones, capacity).mean()) < 0.01


# --- the comparison can fail: small mistakes that textbooks warn of ---


class CoarseARC(ARC):
    """Rounds p: a step of a fraction is lost."""

    def missing(self, key: Key, size: int, cost: float) -> None:
        super().missing(key, size, cost)
        self.p = float(int(self.p))


class LateARC(ARC):
    """Adapts p when the ghost is one no more."""

    def missing(self, key: Key, size: int, cost: float) -> None:
        p = self.p
        super().missing(key, size, cost)
        one, other = (self.b1, self.b2) if self.p > p else (self.b2, self.b1)
        if self.p != p:
            step = max(other.bytes / max(one.bytes, 1), 1.0) * (1 if self.p > p else -1)
            self.p = min(max(p + step, 0.0), float(self.capacity_bytes))


class GhostlyARC(ARC):
    """Keeps a ghost of T1's oldest also when T1 has the whole capacity."""

    def evict(self) -> Key:
        whole = self.t1.bytes == self.capacity_bytes
        key = super().evict()
        if whole:
            self.b1.push(key, 1)
        return key


class TurnedLFU(LFU):
    """Breaks ties for who reached the count last."""

    def evict(self) -> Key:
        key = next(reversed(self._root.more.keys))
        self.removed(key)
        return key


class ForgetfulSIEVE(SIEVE):
    """The hand starts at the tail every time."""

    def evict(self) -> Key:
        self._behind.update(self._ahead)
        self._ahead, self._behind = self._behind, self._ahead
        self._behind.clear()
        return super().evict()


class EagerS3FIFO(S3FIFO):
    """Promotes out of the small queue at the first request."""

    def hit(self, key: Key) -> None:
        super().hit(key)
        if key in self._small.order:
            super().hit(key)


class StingyS3FIFO(S3FIFO):
    """Knows no overflow of the small queue before the first eviction."""

    def inserted(self, key: Key, size: int, cost: float) -> None:
        self._has_evicted = True
        super().inserted(key, size, cost)


MISTAKES: list[tuple[str, Callable[[int], Policy]]] = [
    ("lru", POLICIES["fifo"]),
    ("lfu", TurnedLFU),
    ("arc", CoarseARC),
    ("arc", LateARC),
    ("arc", GhostlyARC),
    ("sieve", ForgetfulSIEVE),
    ("s3fifo", EagerS3FIFO),
    ("s3fifo", StingyS3FIFO),
]


@pytest.mark.parametrize(("policy", "mistaken"), MISTAKES)
def test_a_mistake_is_seen(policy: str, mistaken: Callable[[int], Policy]) -> None:
    wrong = 0
    for name in TRACES:
        keys = trace(name, 0)
        ones = np.ones_like(keys)
        wrong += differing(ours(mistaken, keys, ones, 100), libcachesims(THEIR_NAMES[policy], keys, ones, 100))
    assert wrong > 0
