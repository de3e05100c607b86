"""The ladder finds the bar from either side, and is not taken in by a lucky rung."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from reconv.engine.tuning.ladder import LARGEST, SMALLEST, Ladder, falling


@dataclass(frozen=True)
class Gave:
    headline: float


def ladder(asked: float, tried: list[float], jump: float = 0.0) -> Ladder[Gave]:
    """Agreement falls by the tolerance; `jump` is added at one tolerance above the bar."""

    def play(tolerance: float) -> Gave:
        tried.append(tolerance)
        return Gave(1 - tolerance + (jump if 0.24 < tolerance < 0.27 else 0))

    return Ladder(play, asked)


@pytest.mark.parametrize("start", [0.02, 0.1, 0.2, 1.0])
def test_the_bar_is_found_from_either_side(start: float) -> None:
    tried: list[float] = []
    best = ladder(0.8, tried).climb(start)
    assert best is not None
    assert 0.2 / 1.13 <= best <= 0.2
    assert len(tried) == len(set(tried)) < 15


def test_nothing_agrees() -> None:
    tried: list[float] = []
    assert ladder(0.999, tried).climb() is None
    assert min(tried) == SMALLEST


def test_everything_agrees() -> None:
    tried: list[float] = []
    found = Ladder(lambda tolerance: tried.append(tolerance) or Gave(1.0), 0.9)  # type: ignore[func-returns-value]
    best = found.climb()
    assert best is not None
    assert LARGEST / 1.2 <= best <= LARGEST
    assert len(tried) < 20


def test_a_lucky_rung_is_not_taken() -> None:
    lucky = ladder(0.8, [], jump=0.06)
    assert lucky.kept(0.255)
    assert not lucky.kept(0.22)
    assert lucky.climb(0.1) != 0.255
    best = lucky.best
    assert best is not None
    assert best <= 0.2


def test_falling_is_the_nearest_that_never_rises() -> None:
    assert falling([3, 2, 1]) == [3, 2, 1]
    assert falling([1, 2, 3]) == [2, 2, 2]
    assert falling([5, 1, 3, 0]) == [5, 2, 2, 0]
    assert falling([]) == []
