"""Times, ratios of paired turns, and what refuses to be compared."""

from __future__ import annotations

import numpy as np
import pytest

from reconv.measure import Times, median_interval


def times(seconds: list[float], turns: tuple[int, ...], cpu: float = 0.0) -> Times:
    values = np.array(seconds)
    return Times(values, np.ones_like(values), turns, np.full(len(turns), cpu))


def test_ratio_pairs_turns() -> None:
    ours, theirs = times([1, 1, 4, 4], (2, 2)), times([2, 2, 8, 8], (2, 2))
    ratio = ours.over(theirs)
    assert (ratio.total, ratio.median, ratio.low, ratio.high) == (0.5, 0.5, 0.5, 0.5)


def test_a_slow_turn_moves_the_total_more_than_the_median() -> None:
    ratio = times([1, 1, 100], (1, 1, 1)).over(times([1, 1, 1], (1, 1, 1)))
    assert ratio.median == 1
    assert ratio.total == 34


def test_other_turns_are_not_compared() -> None:
    with pytest.raises(ValueError, match="only contestants of one run"):
        times([1, 1], (2,)).over(times([1, 1], (1, 1)))


def test_numbers_of_a_table() -> None:
    values = times([0.001, 0.002, 0.003, 0.004], (4,), cpu=0.02)
    assert values.cpu_seconds_per_frame == pytest.approx(0.005)
    assert values.to_json()["ms"] == {"mean": 2.5, "p50": 2.5, "p95": 3.85, "p99": 3.97, "cpu": 5.0}
    assert values.spread == pytest.approx(0.6)


@pytest.mark.parametrize(("count", "rank"), [(1, 1), (5, 1), (6, 1), (9, 2), (12, 3), (40, 14), (100, 40)])
def test_ranks_of_the_interval_are_those_of_the_tables(count: int, rank: int) -> None:
    """Conover, "Practical Nonparametric Statistics", sign test at 95 %."""
    shuffled = np.random.default_rng(0).permutation(np.arange(1.0, count + 1))
    assert median_interval(shuffled) == (rank, count + 1 - rank)


def test_interval_holds_the_median_as_often_as_it_says() -> None:
    random = np.random.default_rng(1)
    drawn = [median_interval(random.exponential(size=30)) for _ in range(2000)]
    held = np.mean([low <= np.log(2) <= high for low, high in drawn])
    assert 0.95 <= held < 0.975
