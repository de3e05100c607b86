"""Invariant 1: at tolerance 0 a stream's maps equal a dense run of this plan on this frame, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconv import _core
from tests.property.checks import (
    Snapshot,
    arrays,
    bits,
    check_accounting,
    check_changed,
    check_equal,
    check_rest,
    check_views,
    read,
    snapshot,
    step,
)
from tests.property.frames import Edit, edits, make_edits, sequence
from tests.property.plans import Choices, Draft, drafts, make_draft
from tests.property.profiles import examples

TEAMS = {count: _core.Threads(count) for count in (1, 2)}


def run_exact(draft: Draft, changes: list[Edit], isa: str) -> None:
    """Steps streams on 1 and 2 threads and a dense-only state through a sequence, checking everything at every step."""
    plan = draft.build(isa)
    assert plan.isa == isa
    streams = {count: _core.State(plan, team, False, 0.0) for count, team in TEAMS.items()}
    dense_only = _core.State(plan, TEAMS[2], True, 0.0)
    apart = _core.State(draft.build(isa, fuse=False), TEAMS[1], True, 0.0)
    assert dense_only.bytes == plan.dense_bytes <= plan.state_bytes
    shots: dict[int, Snapshot] = {}
    outputs: dict[int, np.ndarray] | None = None
    frames = sequence(draft, changes)
    for frame, previous in zip(frames, [None, *frames], strict=False):
        fresh = _core.State(plan, TEAMS[1], False, 0.0)
        step(draft, fresh, frame)
        expected = arrays(draft, plan, fresh)
        expected_outputs = read(draft, fresh)
        for i, (x, _) in enumerate(draft.outputs):
            check_equal({x: expected_outputs[i]}, {x: expected[x]}, "output map")
        step(draft, dense_only, frame)
        check_equal(read(draft, dense_only), expected_outputs, "dense-only output")
        step(draft, apart, frame)
        check_equal(read(draft, apart), expected_outputs, "output with no op absorbed")
        for count, stream in streams.items():
            step(draft, stream, frame)
            shot = snapshot(draft, plan, stream)
            check_equal(shot.arrays, expected, f"{isa}, {count} threads: map")
            check_views(draft, shot)
            check_accounting(draft, plan, shot, shots.get(count))
            check_equal(read(draft, stream), expected_outputs, "output")
            assert shot.was_dense == (previous is None)
            if previous is not None and outputs is not None:
                check_changed(draft, stream, outputs, expected_outputs)
                still = all(np.array_equal(bits(a), bits(b)) for a, b in zip(frame, previous, strict=True))
                if still and all(np.isfinite(array).all() for array in shot.arrays.values()):
                    check_rest(draft, stream, shot)
            shots[count] = shot
        outputs = expected_outputs


SEEDS = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("isa", _core.isas())
@examples(180)
@given(draft=drafts(), changes=edits())
def test_a_stream_equals_a_dense_run(isa: str, draft: Draft, changes: list[Edit]) -> None:
    run_exact(draft, changes, isa)


@pytest.mark.parametrize("isa", _core.isas())
@examples(450)
@given(seed=SEEDS)
def test_a_stream_of_a_seed_equals_a_dense_run(isa: str, seed: int) -> None:
    run_exact(make_draft(Choices(seed)), make_edits(seed), isa)


@pytest.mark.parametrize("isa", _core.isas())
@examples(90)
@given(seed=SEEDS)
def test_maps_shared_among_threads_equal_a_dense_run(isa: str, seed: int) -> None:
    run_exact(make_draft(Choices(seed), big=True), make_edits(seed), isa)


@examples(60)
@given(draft=drafts(), changes=edits(), where=st.integers(0, 5))
def test_a_reset_makes_one_step_dense_and_changes_nothing(draft: Draft, changes: list[Edit], where: int) -> None:
    plan = draft.build("")
    kept, reset = (_core.State(plan, TEAMS[1], False, 0.0) for _ in range(2))
    for i, frame in enumerate(sequence(draft, changes)):
        if i == where:
            reset.reset()
        step(draft, kept, frame)
        step(draft, reset, frame)
        assert reset.was_dense == (i in (0, where))
        check_equal(arrays(draft, plan, reset), arrays(draft, plan, kept), "map")
