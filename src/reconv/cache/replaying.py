"""A trace run through a policy: which requests would have been hits, and what they would have saved."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reconv.cache.admission import ADMISSIONS
from reconv.cache.belady import Saved, bound
from reconv.cache.ledger import Ledger
from reconv.cache.policies import POLICIES
from reconv.cache.trace import Floats, Integers, check_hashable, checked_costs, checked_sizes, codes
from reconv.errors import CacheError

__all__ = ["BOUND", "Replay", "replay"]

BOUND = "belady"
Flags = NDArray[np.bool_]
Keys = Sequence[Hashable] | NDArray[Any]


@dataclass(frozen=True, eq=False)
class Replay:
    """What a policy made of a trace.

    hits: bool (n,), one per request. hit_ratio, byte_hit_ratio: share of the requests, and of their bytes, that were
    hits. seconds_saved: what computing them would have taken. share_of_seconds_saved: of what all requests take.
    evictions: entries that left to make room. Shares of nothing are 0.

    exact: these are figures that a cache reaches. Only "belady" may be without: then each figure is an upper bound of
    its own, `hits` is the choice behind the first of them, and there are no evictions.
    """

    policy: str
    capacity_bytes: int
    hits: Flags
    hit_ratio: float
    byte_hit_ratio: float
    seconds_saved: float
    share_of_seconds_saved: float
    evictions: int
    exact: bool = True


def replay(
    keys: Keys,
    sizes: ArrayLike | None = None,
    costs: ArrayLike | None = None,
    *,
    policy: str,
    capacity_bytes: int,
    admission: str = "all",
) -> Replay:
    """Run requests through a cache that decides but keeps no values.

    A key that is not held is taken in when it is asked for, if admission and capacity allow. A request whose size is
    not the one held is a miss: the value has become another, and takes the place of the old one as in `Cache.put`.

    Args:
        keys: one per request, in their order: numbers, texts, whatever is hashable.
        sizes: in bytes, whole numbers from 1 up; None: 1 each.
        costs: seconds to compute each; None: 1 each.
        policy: a name of `reconv.cache.POLICIES`, or "belady": no policy beats that one's figures (see
            `reconv.cache.belady`, which says when they are reached).
        capacity_bytes: of the cache.
        admission: a name of `reconv.cache.ADMISSIONS`; "belady" admits what it likes.

    Raises:
        CacheError: no such policy or admission, a capacity that is not a whole number above 0, columns of different
            lengths, or values that they cannot hold.
    """
    if policy != BOUND and policy not in POLICIES:
        raise CacheError(f"no policy is called {policy!r}; there are {', '.join([*POLICIES, BOUND])}")
    if admission not in ADMISSIONS:
        raise CacheError(f"no admission is called {admission!r}; there are {', '.join(ADMISSIONS)}")
    if isinstance(keys, np.ndarray) and keys.ndim != 1:
        raise CacheError(f"keys are one row, got the shape {keys.shape}")
    row: list[Hashable] = keys.tolist() if isinstance(keys, np.ndarray) else list(keys)
    size_row = checked_sizes(sizes, len(row))
    cost_row = checked_costs(costs, len(row))
    make = ADMISSIONS[admission]
    ledger = Ledger(capacity_bytes, POLICIES["lru" if policy == BOUND else policy], make() if make else None)
    if policy == BOUND:
        limit = bound(codes(keys if isinstance(keys, np.ndarray) else row), size_row, cost_row, capacity_bytes)
        return _figures(policy, limit, size_row, cost_row, capacity_bytes)
    check_hashable(row)
    hits, evictions = _run(ledger, row, size_row, cost_row)
    reached = Saved(hits, float(size_row[hits].sum()), float(cost_row[hits].sum()), evictions, exact=True)
    return _figures(policy, reached, size_row, cost_row, capacity_bytes)


def _figures(policy: str, found: Saved, sizes: Integers, costs: Floats, capacity_bytes: int) -> Replay:
    return Replay(
        policy,
        capacity_bytes,
        found.hits,
        hit_ratio=_share(float(found.hits.sum()), len(found.hits)),
        byte_hit_ratio=_share(found.hit_bytes, float(sizes.sum())),
        seconds_saved=found.seconds,
        share_of_seconds_saved=_share(found.seconds, float(costs.sum())),
        evictions=found.evictions,
        exact=found.exact,
    )


def _share(part: float, whole: float) -> float:
    return min(part / whole, 1.0) if whole else 0.0


def _run(ledger: Ledger, keys: Sequence[Hashable], sizes: Integers, costs: Floats) -> tuple[Flags, int]:
    """The request loop: plain lists and local names, since it goes around millions of times."""
    flags = bytearray(len(keys))
    held, hit, insert, remove = ledger.sizes.get, ledger.policy.hit, ledger.insert, ledger.remove
    evictions = 0
    for at, (key, size, cost) in enumerate(zip(keys, sizes.tolist(), costs.tolist(), strict=True)):
        now = held(key)
        if now == size:
            hit(key)
            flags[at] = 1
            continue
        if now is not None:
            remove(key)
        left = insert(key, size, cost, admitted=now is not None)
        if left:
            evictions += len(left)
    return np.frombuffer(flags, np.bool_), evictions
