"""The checkers can fail: each is shown a falsified snapshot or the wrong frame."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from reconv import _core
from tests.property.checks import (
    Alone,
    Snapshot,
    check_accounting,
    check_bounded,
    check_changed,
    check_equal,
    check_rest,
    check_views,
    read,
    snapshot,
    step,
)
from tests.property.frames import Edit, sequence
from tests.property.plans import Draft, Floats

TOLERANCE = 0.1


@dataclass
class Ran:
    """A small stream after two steps, and what was before the second."""

    draft: Draft
    plan: _core.Plan
    state: _core.State
    frames: list[list[Floats]]
    before: Snapshot
    after: Snapshot


def small_draft() -> Draft:
    """Two convolutions side by side into a concat (ops 0, 1 and join 2), an addition of a view of it (op 3)."""
    random = np.random.default_rng(3)
    d = Draft()
    x = d.map(8, 9, 2)
    d.input(x)
    whole = d.map(8, 9, 4)
    parts = [d.part_of(whole, first, 2) for first in (0, 2)]
    for part in parts:
        d.conv(x, part, random.standard_normal((2, 2, 3, 3)).astype(np.float32), None, pads=(1, 1))
    d.join(whole, parts)
    view = d.channels_of(whole, 1, 2)
    total = d.map(8, 9, 2)
    d.op("binary", total, a=view, b=x, kind="add", activation=("none",))
    d.output(total)
    return d


def run(tolerance: float) -> Ran:
    draft = small_draft()
    plan = draft.build("")
    state = _core.State(plan, _core.Threads(1), False, tolerance)
    frames = sequence(draft, [Edit("patch", 0.3, 0.3, 0.3, 0.3, seed=5)])
    shots = []
    for frame in frames:
        step(draft, state, frame)
        shots.append(snapshot(draft, plan, state))
    assert 0 < shots[1].recomputed_macs < plan.macs
    return Ran(draft, plan, state, frames, *shots)


@pytest.fixture
def exact() -> Ran:
    return run(0.0)


@pytest.fixture
def bounded() -> Ran:
    return run(TOLERANCE)


def falsified(shot: Snapshot, change: Callable[[Snapshot], object]) -> Snapshot:
    shot = copy.deepcopy(shot)
    change(shot)
    return shot


@pytest.mark.parametrize("value", [np.float32(1e-7), np.float32(-0.0), np.float32(np.nan)])
def test_equal_sees_one_wrong_bit(exact: Ran, value: np.float32) -> None:
    arrays = exact.after.arrays
    arrays[0][1, 1, 0] = 0.0
    check_equal(copy.deepcopy(arrays), arrays, "map")
    wrong = copy.deepcopy(arrays)
    wrong[0][1, 1, 0] = value
    with pytest.raises(AssertionError, match=r"map 0: 1 of 72 pixels differ, first \(1, 1\)"):
        check_equal(wrong, arrays, "map")


def test_equal_sees_the_frame_before(exact: Ran) -> None:
    with pytest.raises(AssertionError, match="pixels differ"):
        check_equal(exact.after.arrays, exact.before.arrays, "map")


def test_views_sees_a_part_that_is_not_its_parents(exact: Ran) -> None:
    check_views(exact.draft, exact.after)
    part = min(x for x, view in exact.draft.views.items() if view.kind == "part")

    def change(shot: Snapshot) -> None:
        shot.arrays[part][0, 0, 0] += 1

    with pytest.raises(AssertionError, match="part view"):
        check_views(exact.draft, falsified(exact.after, change))


def _spend(shot: Snapshot) -> None:
    shot.recomputed_macs += 1


def _grow(shot: Snapshot) -> None:
    shot.bytes += 8


def _forget_todo(shot: Snapshot) -> None:
    y, x = np.argwhere(shot.todo[3])[0]
    shot.todo[3][y, x] = False  # an op without multiply-adds


def _forget_stale(shot: Snapshot) -> None:
    shot.stale[0][:] = False


def _forget_moved(shot: Snapshot) -> None:
    shot.stale[2][:] = False


def _stale_for_nothing(shot: Snapshot) -> None:
    shot.stale[5][:] = True


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_spend, "multiply-adds"),
        (_grow, "foretold"),
        (_forget_todo, "had not to do"),
        (_forget_stale, "input map 0 moved"),
        (_forget_moved, "op 0 moved pixels that are not stale"),
        (_stale_for_nothing, "stale that were not to do"),
    ],
)
def test_accounting_sees(exact: Ran, change: Callable[[Snapshot], None], message: str) -> None:
    check_accounting(exact.draft, exact.plan, exact.after, exact.before)
    with pytest.raises(AssertionError, match=message):
        check_accounting(exact.draft, exact.plan, falsified(exact.after, change), exact.before)


def test_rest_sees_a_step_that_did_something(exact: Ran) -> None:
    with pytest.raises(AssertionError, match="an unchanged frame cost"):
        check_rest(exact.draft, exact.state, exact.after)
    silent = falsified(exact.after, _spend)
    silent.recomputed_macs = 0
    with pytest.raises(AssertionError, match="something to do"):
        check_rest(exact.draft, exact.state, silent)
    silent.todo = []
    with pytest.raises(AssertionError, match="something stale"):
        check_rest(exact.draft, exact.state, silent)
    silent.stale = {}
    with pytest.raises(AssertionError, match=r"outputs \[0\] changed"):
        check_rest(exact.draft, exact.state, silent)
    step(exact.draft, exact.state, exact.frames[-1])
    check_rest(exact.draft, exact.state, snapshot(exact.draft, exact.plan, exact.state))


def test_changed_sees_an_output_that_moved_in_silence(exact: Ran) -> None:
    now = read(exact.draft, exact.state)
    step(exact.draft, exact.state, exact.frames[-1])
    check_changed(exact.draft, exact.state, now, now)
    with pytest.raises(AssertionError, match="output 0 moved"):
        check_changed(exact.draft, exact.state, now, {i: array + 1 for i, array in now.items()})


def _shift(shot: Snapshot, x: int, share: float) -> None:
    """Moves one pixel of map x by `share` of the tolerance, in the weighted norm, all in its first channel."""
    sigma = shot.deviations[x]
    shot.arrays[x][4, 4, 0] += share * TOLERANCE * sigma[0] * np.sqrt(len(sigma))


def test_bounded_sees_a_pixel_beyond_the_tolerance() -> None:
    """A dense state, where stored values are exact: shifted by less than the tolerance passes, by more does not."""
    ran = run(TOLERANCE)
    ran.state.reset()
    step(ran.draft, ran.state, ran.frames[-1])
    shot = snapshot(ran.draft, ran.plan, ran.state)
    alone = Alone(ran.draft, "")
    frame = ran.frames[-1]
    check_bounded(ran.draft, alone, shot, frame, TOLERANCE)
    conv = ran.draft.ops[0].out
    check_bounded(ran.draft, alone, falsified(shot, lambda s: _shift(s, conv, 0.97)), frame, TOLERANCE)
    with pytest.raises(AssertionError, match=r"op 0 conv, map: off by 0\.10"):
        check_bounded(ran.draft, alone, falsified(shot, lambda s: _shift(s, conv, 1.03)), frame, TOLERANCE)
    with pytest.raises(AssertionError, match=r"input 0, map: off by 0\.10"):
        check_bounded(ran.draft, alone, falsified(shot, lambda s: _shift(s, 0, 1.03)), frame, TOLERANCE)


def test_bounded_sees_one_bit_in_a_map_without_cutoff(bounded: Ran) -> None:
    alone = Alone(bounded.draft, "")
    check_bounded(bounded.draft, alone, bounded.after, bounded.frames[-1], TOLERANCE)

    def change(shot: Snapshot) -> None:
        array = shot.arrays[bounded.draft.ops[3].out]
        array[0, 0, 0] = np.nextafter(array[0, 0, 0], np.float32(np.inf))

    with pytest.raises(AssertionError, match=r"op 3 binary, map 5: 1 of 72 pixels differ"):
        check_bounded(bounded.draft, alone, falsified(bounded.after, change), bounded.frames[-1], TOLERANCE)


def test_bounded_sees_the_wrong_frame_and_a_wrong_nan(bounded: Ran) -> None:
    alone = Alone(bounded.draft, "")
    with pytest.raises(AssertionError, match="input 0, map: off by"):
        check_bounded(bounded.draft, alone, bounded.after, bounded.frames[0], TOLERANCE)

    def change(shot: Snapshot) -> None:
        shot.arrays[0][2, 2, 1] = np.nan

    with pytest.raises(AssertionError, match="1 pixels that are not finite differ"):
        check_bounded(bounded.draft, alone, falsified(bounded.after, change), bounded.frames[-1], TOLERANCE)
