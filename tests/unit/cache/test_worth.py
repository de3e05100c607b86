"""Stepping aside and coming back on simulated traffic: a request is a key and a mark, a hit or a miss. No clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import pytest

from reconv.cache.worth import BUDGET, LONGEST, OUTLIER, PATIENCE, SHORTEST, TRUST, Look, Worth

RUN = 1.0  # seconds of a computation
LOOK = 0.05  # of looking at a request
ZIPF = 50  # different pictures


def scattered(key: int) -> int:
    """64 bits of which all look random (the finalizer of SplitMix64), as a signed number."""
    x = (key + 1) * 0x9E3779B97F4A7C15 % 2**64
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ x >> 27) * 0x94D049BB133111EB % 2**64
    return (x ^ x >> 31) - 2**63


@dataclass
class Traffic:
    """A cache without a limit, its controller, and what they cost."""

    look: float = LOOK
    mark: Callable[[int], int] = scattered
    worth: Worth = field(default_factory=Worth)
    held: set[int] = field(default_factory=set)
    hits: list[bool] = field(default_factory=list)
    looks: int = 0

    def ask(self, keys: Iterable[int]) -> Traffic:
        for key in keys:
            (look,) = self.worth.weigh(1, [self.mark(key)])
            hit = look is not None and key in self.held
            self.hits.append(hit)
            if look is not None:
                self.looks += 1
                self.held.add(key)
                self.worth.looked(look, self.look, RUN if hit else 0.0, None if hit else RUN)
        return self

    def is_aside(self) -> bool:
        return self.worth.aside

    @property
    def seconds(self) -> float:
        """Of computing and looking, all requests together."""
        return RUN * (len(self.hits) - sum(self.hits)) + self.look * self.looks


def unique(count: int, first: int = 10_000) -> range:
    return range(first, first + count)


def zipf(count: int, seed: int, different: int = ZIPF) -> list[int]:
    weights = 1 / np.arange(1, different + 1)
    return [int(key) for key in np.random.default_rng(seed).choice(different, count, p=weights / weights.sum())]


def test_at_first_everything_is_looked_at() -> None:
    worth = Worth()
    assert worth.weigh(3) == worth.weigh(3, [1, 2, 3]) == [Look()] * 3
    traffic = Traffic().ask(unique(PATIENCE - 1))
    assert traffic.looks == PATIENCE - 1
    assert not traffic.is_aside()


@pytest.mark.parametrize("look", [0.01, 0.05, 0.2, 0.5, 3.0])
def test_unique_requests_cost_little_more_than_none(look: float) -> None:
    traffic = Traffic(look).ask(unique(4000))
    assert traffic.is_aside()
    assert traffic.worth.times_aside == 1
    assert traffic.worth.passed_by == 4000 - traffic.looks
    after = traffic.looks - PATIENCE
    assert after > 0, "it keeps sampling"
    assert look * after < 0.015 * RUN * 4000


def test_the_sample_is_thinner_where_looking_costs_more() -> None:
    looks = [Traffic(look).ask(unique(20_000)).looks for look in (0.01, 0.5, 5.0)]
    assert looks[0] > 4 * looks[1] > 12 * looks[2] > 0
    assert LONGEST / SHORTEST > 16
    assert looks[0] < 20_000 / SHORTEST * 2 + PATIENCE
    assert 0 < BUDGET < 0.01


def test_traffic_with_hits_is_looked_at_throughout() -> None:
    traffic = Traffic().ask(zipf(2000, 0))
    assert traffic.worth.times_aside == 0
    assert traffic.looks == 2000


@pytest.mark.parametrize("kept", [True, False], ids=["entries kept", "entries gone"])
@pytest.mark.parametrize("seed", range(12))
def test_back_soon_after_hits_return(seed: int, kept: bool) -> None:
    """After 2,000 unique requests Zipf traffic has 90 % of its normal hits, counted from its first request on."""
    normal = Traffic()
    normal.ask(zipf(500, seed)).ask(unique(2000))
    traffic = Traffic().ask(zipf(500, seed)).ask(unique(2000))
    assert traffic.is_aside()
    if not kept:
        normal.held.clear()
        traffic.held.clear()
    keys = zipf(1000, seed + 100)
    before = len(traffic.hits)
    traffic.ask(keys)
    hits, held = 0, set(normal.held) | (set() if not kept else set(range(ZIPF)) & traffic.held)
    for key in keys:  # a cache that never steps aside
        hits += key in held
        held.add(key)
    assert hits > 900
    assert sum(traffic.hits[before:]) >= 0.9 * hits
    assert not traffic.is_aside()


def test_once_back_it_has_patience_again() -> None:
    traffic = Traffic().ask(unique(500))
    while traffic.is_aside():
        traffic.ask([0])
    back = traffic.looks
    traffic.ask(unique(2000, 90_000))
    assert traffic.is_aside()
    assert traffic.looks - back >= PATIENCE
    traffic = Traffic().ask(unique(500))
    while traffic.is_aside():
        traffic.ask([0])
    traffic.ask(unique(PATIENCE - 1, 90_000))
    assert not traffic.is_aside()


def test_hits_that_others_prepared_are_found_by_the_sample() -> None:
    """No request repeats, but from some time on all of them are in the cache, as when another machine fills it."""
    traffic = Traffic().ask(unique(1000))
    assert traffic.is_aside()
    later = unique(1000, 50_000)
    traffic.held.update(later)
    traffic.ask(later)
    assert not traffic.is_aside()
    assert sum(traffic.hits[1000:]) > 800


def test_equal_marks_that_are_no_repetitions_are_given_up() -> None:
    """A screen on which only a cursor blinks: one mark, all requests different. Whichever mark it is."""
    for mark in range(2 * SHORTEST):
        traffic = Traffic(mark=lambda key, mark=mark: mark).ask(unique(6000))  # type: ignore[misc]
        assert traffic.is_aside()
        assert traffic.looks < PATIENCE + TRUST + 2.1 / SHORTEST * 6000


def test_rare_hits_are_taken_without_looking_at_everything() -> None:
    """One request in fifty repeats the same picture: looking at all costs 5 % and saves 2 %."""
    keys = [0 if n % 50 == 0 else n for n in range(1, 10_001)]
    traffic = Traffic().ask(keys)
    assert sum(traffic.hits) > 0.8 * 200
    assert traffic.seconds < 10_000 * RUN
    assert traffic.looks < 0.2 * 10_000


def test_popular_requests_outside_the_sample_come_into_it_in_time() -> None:
    """Marks are of no use here but for the sample; the one popular request is in it sooner or later."""
    found = []
    for popular in range(1, SHORTEST):
        worth = Worth()
        worth.aside = True
        worth._cost.add(LOOK)
        worth._ran.add(RUN)
        looked = 0
        for _ in range(SHORTEST * 1200):
            worth._seen[popular] = 0  # as if forgotten
            looked += worth.weigh(1, [popular])[0] is not None
        found.append(looked)
    assert min(found) > 10


def test_the_sample_is_the_same_requests_for_a_while() -> None:
    worth = Worth()
    worth.aside = True
    worth._cost.add(LOOK)
    worth._ran.add(RUN)
    marks = [int(mark) for mark in np.random.default_rng(1).integers(-(2**63), 2**63, 200)]
    first, second = ({mark for mark in marks if _sampled(worth, mark)} for _ in range(2))
    assert first == second
    assert 2 <= len(first) <= 40


def _sampled(worth: Worth, mark: int) -> bool:
    worth._allowance = 1.0
    worth._seen[mark % len(worth._seen)] = 0
    return worth.weigh(1, [mark])[0] is not None


def test_twins_in_one_batch_are_looked_at_together() -> None:
    worth = Worth()
    worth.aside = True
    looks = worth.weigh(4, [5, 1001, 5, 1003])
    assert [look is not None for look in looks] == [True, False, True, False]
    assert worth.passed_by == 2


def test_costs_that_change_send_it_away_and_bring_it_back() -> None:
    """A tier below becomes slow, and later fast again."""
    traffic = Traffic().ask(zipf(500, 0))
    traffic.look = 20.0
    traffic.ask(zipf(200, 1))
    assert traffic.is_aside()
    assert traffic.looks < 500 + 40
    traffic.look = 0.05
    traffic.ask(zipf(10_000, 2))
    assert not traffic.is_aside()


def test_one_stall_is_no_reason_to_leave() -> None:
    traffic = Traffic().ask(zipf(500, 0))
    traffic.look = 200.0
    traffic.ask([0])
    traffic.look = LOOK
    traffic.ask(zipf(500, 1))
    assert traffic.worth.times_aside == 0
    assert OUTLIER < 10


def test_it_stays_where_it_may_not_step_aside() -> None:
    traffic = Traffic(worth=Worth(may_step_aside=False)).ask(unique(1000))
    assert traffic.looks == 1000
    assert not traffic.is_aside()
