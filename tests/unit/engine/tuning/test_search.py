"""The search: what it ends with, what it leaves behind when it is cut short, and factors that do not pay."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from reconv.engine.tolerance import Profile
from reconv.engine.tuning import Played, Search
from reconv.engine.tuning.player import Stopped

GROUPS = (("deep",), ("last",))


def played(profile: Profile, *, uneven: float) -> Played:
    """Two maps; with `uneven` above 1 the deep one costs less than it saves."""
    deep, last = (
        (profile.maps[name].factor if name in profile.maps else 1.0) * profile.tolerance for name in ("deep", "last")
    )
    share = min(1.0, 0.001 * (uneven / max(deep, 1e-3) + 1 / max(last, 1e-3)))
    drift = deep**2 + uneven * last**2
    return Played(share, drift, {"f1": 1 - drift}, (), )  # fmt: skip


def search(uneven: float, asked: float, after: int | None = None) -> tuple[Search, Callable[[], Profile]]:
    count = 0

    def play(profile: Profile) -> Played:
        nonlocal count
        count += 1
        if after is not None and count > after:
            raise Stopped
        return played(profile, uneven=uneven)

    made = Search(play, asked)
    return made, lambda: made.run(GROUPS)


def test_factors_pay_where_maps_are_uneven() -> None:
    found, run = search(8.0, 0.98)
    profile = run()
    assert profile.maps["deep"].factor > 1.5 * profile.maps["last"].factor
    ours, alone = found.known(profile), found.known(found.single)
    assert ours is not None
    assert alone is not None
    assert ours.share < 0.85 * alone.share
    assert min(ours.headline, alone.headline) >= 0.98
    assert found.best == profile
    assert found.notes == []
    assert set(found.tried["factors"]) & {profile.tolerance}


def test_factors_that_bring_nothing_are_left_out() -> None:
    found, run = search(1.0, 0.98)
    profile = run()
    assert profile == found.single
    assert profile.maps == {}
    assert profile.tolerance > 0


def test_an_agreement_out_of_reach_is_dense_and_says_what_came_closest() -> None:
    found, run = search(8.0, 0.9999999)
    assert run() == Profile(0.0)
    assert len(found.notes) == 1
    assert "no tolerance agrees as asked: 0.01 came closest" in found.notes[0]


def test_without_groups_there_is_one_tolerance() -> None:
    found = Search(lambda p: played(p, uneven=8.0), 0.98)
    assert found.run(()) == found.single
    assert found.tried["factors"] == {}


@pytest.mark.parametrize("after", [0, 1, 3, 6, 9, 12])
def test_cut_short_it_keeps_the_best_so_far(after: int) -> None:
    found, run = search(8.0, 0.98, after)
    with pytest.raises(Stopped):
        run()
    kept = [(p.share, profile) for profile, p in found.played if p.headline >= 0.98]
    assert len(found.played) == after
    assert found.best == (min(kept, key=lambda each: each[0])[1] if kept else Profile(0.0))
    assert bool(kept) == (after > 1)  # the first of all is too far


def test_a_loss_that_never_grows_leaves_no_factors() -> None:
    found = Search(lambda p: Played(1 / (1 + p.tolerance), 0.0, {"f1": 1.0 if p.tolerance < 0.3 else 0.0}, ()), 0.9)
    assert found.run(GROUPS) == found.single
    assert found.notes
    assert "no factors" in found.notes[0]
