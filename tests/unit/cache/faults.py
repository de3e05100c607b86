"""A cache over a faulty tier, asked again and again: what every test of faults does."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from reconv.cache.store import Cache
from reconv.cache.tiers import Tier

KEYS = [f"key {number}" for number in range(24)]
_MEMORY_BYTES = 1 << 20  # a few of the values
_PATIENCE_SECONDS = 20  # a tier that has not come back by then never will


def right(key: str, version: int = 1) -> NDArray[np.int64]:
    """The value of a key: some 16 to 400 KB."""
    number = int(key.split()[1])
    return np.arange(number, number + 2000 * (1 + number % 25)) * version


def ask_all(tier: Tier, keys: list[str] = KEYS) -> int:
    """Compute every key through a cache with little memory, twice: how many came from below. Fails on a wrong one."""
    cache = Cache(_MEMORY_BYTES, "lru", below=tier)
    for key in [*keys, *reversed(keys)]:
        assert_array_equal(cache.compute(key, partial(right, key)), right(key))
    return cache.stats.hits_below


def overwrite_all(tier: Tier, version: int) -> int:
    """Give every key another value: how many are known afterwards. Fails on an old one."""
    cache, known = Cache(_MEMORY_BYTES, "lru", below=tier), 0
    for key in KEYS:
        cache[key] = right(key, version)
    for key in KEYS:
        found = cache.get(key)
        if found is not None:
            known += 1
            assert_array_equal(found, right(key, version))
    return known


def comes_back(tier: Tier) -> bool:
    """Whether the tier, which is well now, keeps a value again before long."""
    return within(lambda: _keeps(tier))


def _keeps(tier: Tier) -> bool:
    tier.put(b"back", b"again")
    return tier.get(b"back") == b"again"


def within(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return False
