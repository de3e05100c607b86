"""What no cache can beat, because it knows what will be asked for: the bound that policies are measured against.

Between two requests for one key, of one size, lies an interval; the second request is a hit exactly when the object is
held all through it. A cache chooses intervals so that at no moment more than its capacity is held. It need not take in
what is asked for (bypass), which only helps.

- **All sizes equal**: Belady's MIN with bypass ("A study of replacement algorithms for a virtual-storage computer",
  1966): when too much is held, what is asked for latest leaves. No cache has more hits, and one that knew the future
  would have these.
- **Sizes differ**: the optimum is NP-hard, and this is an upper bound of it. Memory has no limit but a price, which may
  change from request to request; what pays is held, and the capacity is paid back at its price. Whatever the prices,
  that is no less than any cache reaches (Lagrangian relaxation).
  One price for the whole trace gives PFOO-L of Berger, Beckmann and Harchol-Balter, "Practical Bounds on Optimal
  Caching with Variable Object Sizes", 2018 (they count misses, hence its L): the capacity holds on average. From there
  the prices go up where too much is held and down where memory is left (the volume algorithm of Barahona and Anbil,
  2000), towards the linear relaxation, FOO in that paper. On short traces of our workloads 0.1 % of all requests are
  left to it on average and 2 % at most; at one price it is 2 % and 9 %.

With bytes or seconds as the value of a hit, the second bounds the bytes and seconds saved.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

from reconv.cache.trace import Floats, Integers, next_uses

__all__ = ["Saved", "bound"]

LEAST_STEPS, MOST_STEPS = 80, 400  # of the prices; in between as many as make WORK requests
WORK = 2_000_000
AIM = 0.05  # share of the bound by which the first step hopes to lower it
PATIENCE = 2  # steps without gain before the aim is halved
CLOSE = 1e-6  # gains below this share are none
NEWEST = 0.05  # weight of the last step's demand; the steps before it have the rest
ROUNDING = 1e-9  # of sums in floating point, relative: added, so that it stays a bound


@dataclass(frozen=True, eq=False)
class Saved:
    """So many hits, bytes and seconds; `hits` (n,) says which requests make up the first.

    exact: one schedule reaches all three; otherwise each is an upper bound of its own. `evictions` are those of the
    schedule with these hits; 0 where it is only a bound.
    """

    hits: NDArray[np.bool_]
    hit_bytes: float
    seconds: float
    evictions: int
    exact: bool


def bound(keys: Integers, sizes: Integers, costs: Floats, capacity_bytes: int) -> Saved:
    """Of requests for `keys` (n,), numbers that are equal where keys are."""
    following = next_uses(keys)
    start = np.flatnonzero(following < len(keys))
    end = following[start]
    fits = (sizes[start] == sizes[end]) & (sizes[end] <= capacity_bytes)
    held = _Intervals(start[fits], end[fits], sizes[end[fits]], len(keys), capacity_bytes)
    gained = costs[held.end]
    if len(keys) and sizes.min() == sizes.max():
        hits, evictions = most_hits(following, capacity_bytes // int(sizes[0]))
        exact = bool(costs.min() == costs.max())
        seconds = float(costs[hits].sum()) if exact else most_value(held, gained)[0]
        return Saved(hits, float(sizes[hits].sum()), seconds, evictions, exact)
    count, profits = most_value(held, np.ones(len(held.end)))
    hits = np.zeros(len(keys), np.bool_)
    hits[held.end[np.argsort(-profits, kind="stable")[: int(count + ROUNDING)]]] = True
    return Saved(hits, most_value(held, held.sizes)[0], most_value(held, gained)[0], 0, False)


def most_hits(following: Integers, entries: int) -> tuple[NDArray[np.bool_], int]:
    """Belady's MIN with bypass for `entries` objects of one size: the requests that hit, and how many entries left."""
    count = len(following)
    kept = bytearray(count)  # by the request that ends an interval: held so far, in the end a hit
    latest: list[int] = []  # ends of intervals, negated; those that are over are the least and never come up
    held = evictions = 0
    for at, end in enumerate(following.tolist()):
        held -= kept[at]
        if end == count:
            continue
        heappush(latest, -end)
        kept[end] = 1
        held += 1
        if held > entries:
            gone = -heappop(latest)
            kept[gone] = 0
            held -= 1
            evictions += gone != end
    return np.frombuffer(kept, np.bool_), evictions


class _Intervals:
    """From request `start` to request `end`, `sizes` bytes each; there is a moment after each request but the last."""

    def __init__(self, start: Integers, end: Integers, sizes: Integers, requests: int, capacity_bytes: int) -> None:
        self.start, self.end, self.sizes = start, end, sizes.astype(np.float64)
        self.moments = max(requests - 1, 0)
        self.capacity = float(capacity_bytes)

    def costs_at(self, prices: Floats) -> Floats:
        """What holding each interval's bytes costs; prices (moments,) are per byte."""
        until = np.concatenate([[0.0], np.cumsum(prices)])
        return np.asarray(self.sizes * (until[self.end] - until[self.start]))

    def free(self, chosen: NDArray[np.bool_]) -> Floats:
        """Bytes of the capacity that are free at each moment, negative where more is held."""
        change = np.zeros(self.moments + 1)
        sizes = self.sizes * chosen
        change[self.start] = sizes  # no request begins two intervals, none ends two
        change[self.end] -= sizes
        return np.asarray(self.capacity - np.cumsum(change)[:-1])


def most_value(held: _Intervals, values: Floats) -> tuple[float, Floats]:
    """An upper bound of the sum of `values` over any choice of intervals that fits, and what each is worth then.

    The worth of an interval is its value less what holding it costs at the best prices; intervals that a relaxed
    optimum takes have more of it than others.
    """
    best, price = _at_one_price(held, values)
    prices = best_prices = np.full(held.moments, price)
    aim, waited, free = AIM, 0, None
    for _ in range(min(max(LEAST_STEPS, WORK // max(held.moments, 1)), MOST_STEPS)):
        profits = values - held.costs_at(prices)
        chosen = profits > 0
        found = held.capacity * float(prices.sum()) + float(profits[chosen].sum())
        now = held.free(chosen)
        free = now if free is None else NEWEST * now + (1 - NEWEST) * free
        waited = 0 if found < best * (1 - CLOSE) else waited + 1
        if found < best:
            best, best_prices = found, prices
        if waited > PATIENCE:
            aim, waited = aim / 2, 0
        slope = np.where((best_prices == 0) & (free > 0), 0.0, free)  # no price is negative
        steepness = float(slope @ slope)
        if steepness == 0:
            break
        prices = np.maximum(best_prices - aim * best / steepness * slope, 0.0)
    return best * (1 + ROUNDING), values - held.costs_at(best_prices)


def _at_one_price(held: _Intervals, values: Floats) -> tuple[float, float]:
    """PFOO-L: by value per byte and moment while the trace has room, the last one in part; and that one's density."""
    volume = held.sizes * (held.end - held.start)
    density = values / volume
    order = np.argsort(-density, kind="stable")
    filled = np.cumsum(volume[order])
    room = held.capacity * held.moments
    whole = int(np.searchsorted(filled, room, side="right"))
    total = float(values[order[:whole]].sum())
    if whole == len(order):
        return total, 0.0
    last = float(density[order[whole]])
    return total + last * (room - (float(filled[whole - 1]) if whole else 0.0)), last
