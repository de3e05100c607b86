"""Work at equal agreement: where the curve is flat, outside of it, and with windows drawn again."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.tune import BETWEEN, LAST, judging
from benchmarks.windows import Scored, compare, saved, share_at
from reconv.engine.tuning import parts_of
from reconv.recipes.agree import Hits

SINGLES = [(0.40, 0.97), (0.35, 0.955), (0.30, 0.960), (0.25, 0.94)]


def test_a_flat_stretch_of_the_curve_needs_its_least_share() -> None:
    for agreement in (0.9574, 0.9575, 0.9576):  # 0.955 and 0.960 are one flat stretch at 0.9575
        assert share_at(SINGLES, agreement) == pytest.approx(0.30, abs=2e-3), agreement
    assert share_at(SINGLES, 0.97) == pytest.approx(0.40)
    assert share_at(SINGLES, 0.99) == pytest.approx(0.40)


def test_the_share_does_not_jump_as_the_agreement_grows() -> None:
    shares = [share_at(SINGLES, agreement) for agreement in np.linspace(0.93, 0.98, 2001)]
    assert np.diff(shares).min() >= 0
    assert np.diff(shares).max() < 1e-3


def test_nothing_is_saved_where_no_single_tolerance_agreed_so_little() -> None:
    assert saved((0.2, 0.94), SINGLES) == pytest.approx(0.2)
    assert saved((0.2, 0.93), SINGLES) == 0
    assert saved((0.5, 0.93), SINGLES) == pytest.approx(-1)


def scored(shares: tuple[float, ...], found: tuple[int, ...]) -> Scored:
    return Scored((10,) * len(shares), shares, tuple(Hits(n, 100, n, 100) for n in found))


def test_windows_that_are_alike_leave_no_doubt_and_others_do() -> None:
    single = [scored((share,) * 3, (n,) * 3) for share, n in ((0.4, 97), (0.3, 96), (0.2, 90))]
    alike = compare([scored((0.15,) * 3, (96,) * 3)], single)
    assert alike.each == pytest.approx([0.5])
    assert alike.intervals[0] == pytest.approx((0.5, 0.5))
    uneven = compare([scored((0.05, 0.15, 0.25), (96,) * 3)], single)
    low, high = uneven.intervals[0]
    assert uneven.each == pytest.approx([0.5])
    assert low < 0.4
    assert high > 0.6
    assert uneven.mean_interval == pytest.approx((low, high))


def test_windows_count_by_their_frames_and_their_boxes() -> None:
    both = Scored((10, 30), (0.4, 0.2), (Hits(10, 10, 10, 10), Hits(0, 30, 0, 30)))
    assert both.point == pytest.approx((0.25, 0.25))
    assert both.points(np.array([[2, 0]]))[0] == pytest.approx((0.4, 1.0))


def test_the_last_third_has_no_part_in_choosing() -> None:
    frames = [np.full((2, 2, 3), place, np.uint8) for place in range(90)]
    judges = judging(frames, 60)
    chose = {place for window in parts_of(frames[:60], None, 60).tuning for place in window.counted}
    places = {title: {p for window in windows for p in window.counted} for title, windows in judges.items()}
    assert max(chose) < 60 <= min(places[LAST])
    assert not chose & places[BETWEEN]
    assert all(int(w.frames[p][0, 0, 0]) == p for windows in judges.values() for w in windows for p in w.counted)
    assert len(places[LAST]) >= 20
