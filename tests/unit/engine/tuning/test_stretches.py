"""Which frames choose and which judge: no frame does both, both parts see all of the clip, nothing is read twice."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest

from reconv.engine.tuning import stretches
from reconv.engine.tuning.stretches import LEAST_FRAMES, Parts, deal, parts_of
from reconv.errors import InputError

Array = np.ndarray[tuple[int], np.dtype[np.int64]]


def counted(parts: Parts) -> tuple[list[int], list[int]]:
    first, second = ([place for w in part for place in w.counted] for part in (parts.tuning, parts.judged))
    return first, second


@pytest.mark.parametrize("refresh", [None, 1, 7, 64, 1000])
@pytest.mark.parametrize(("count", "most"), [(8, 480), (9, 480), (40, 480), (795, 480), (795, 795), (100_000, 480)])
def test_no_frame_counts_for_both_parts(count: int, most: int, refresh: int | None) -> None:
    parts = parts_of(range(count), None, most, refresh)
    tuning, judged = counted(parts)
    assert not set(tuning) & set(judged)
    assert min(len(tuning), len(judged)) > 0
    assert abs(len(tuning) - len(judged)) <= max(1, 0.2 * len(judged))
    assert len(set(tuning)) == len(tuning)
    assert len(set(judged)) == len(judged)
    assert min(tuning + judged) >= 0
    assert max(tuning + judged) < count
    assert len(tuning + judged) >= 0.5 * min(count, most)
    assert parts.counts == (len(tuning), len(judged))
    for window in (*parts.tuning, *parts.judged):
        assert set(window.counted) <= set(window.needed) <= set(window.places)
        assert window.needed.start == window.places.start


def test_both_parts_are_spread_over_the_clip() -> None:
    for refresh in (None, 64):
        for part in counted(parts_of(range(10_000), None, 640, refresh)):
            assert min(part) < 2_000
            assert max(part) > 8_000


def test_what_is_refreshed_counts_from_its_dense_frame_on() -> None:
    parts = parts_of(range(795), None, 700, 64)
    assert parts.refreshed == 64
    assert all(window.counted == tuple(window.places) for window in (*parts.tuning, *parts.judged))
    assert len(parts.tuning) == len(parts.judged) == 5
    assert parts_of(range(100), None, 700, 64).refreshed == 25


def test_what_is_not_refreshed_counts_late() -> None:
    for window in (parts := parts_of(range(795), None, 700, None)).tuning:
        assert min(window.counted) - window.places.start >= 40
    assert parts.first == 0


@pytest.mark.parametrize("frames", [[], [0] * (LEAST_FRAMES - 1), iter([0] * (LEAST_FRAMES - 1))])
def test_a_clip_that_is_too_short_is_told(frames: object) -> None:
    with pytest.raises(InputError, match=f"frames are too few to tune on: it takes {LEAST_FRAMES}"):
        parts_of(frames, None, 480)  # type: ignore[arg-type]


def coming(count: int, read: list[int]) -> Iterator[Array]:
    for place in range(count):
        read.append(place)
        yield np.array([place])


def seen(parts: Parts) -> list[list[int]]:
    return [[int(w.frames[p][0]) for p in w.places] for part in (parts.tuning, parts.judged) for w in part]


@pytest.mark.parametrize("told", [600, None])
def test_frames_that_come_one_by_one_are_those_of_a_sequence(told: int | None) -> None:
    read: list[int] = []
    found = parts_of(coming(600, read), told, 120)
    wanted = parts_of(range(600 if told else 120), None, 120)
    assert seen(found) == [list(w.places) for part in (wanted.tuning, wanted.judged) for w in part]
    assert read == list(range(max(max(places) for places in seen(found)) + 1))


def test_a_clip_that_ends_before_it_should_is_dealt_anew() -> None:
    found = parts_of(coming(60, []), 600, 480)
    assert found.counts[0] == found.counts[1] >= 4
    places = [place for window in seen(found) for place in window]
    assert len(set(places)) == len(places)
    assert max(places) < 60


def test_frames_that_are_kept_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stretches, "KEPT_BYTES", 8 * 40)
    assert sum(parts_of(coming(600, []), 600, 480).counts) <= 40
    assert sum(parts_of(coming(600, []), None, 480).counts) <= 40


def test_blocks_take_turns() -> None:
    for _, tuning, judged in deal(500, 500, None):
        order = sorted([(block.start, "t") for block in tuning] + [(block.start, "j") for block in judged])
        assert all(one[1] != other[1] for one, other in pairwise(order))
