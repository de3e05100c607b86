"""Invariant 2: at tolerance t a stored pixel is within t of the op applied to the stored inputs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconv import _core
from tests.property.checks import (
    Alone,
    Snapshot,
    bits,
    check_accounting,
    check_bounded,
    check_rest,
    check_views,
    snapshot,
    step,
)
from tests.property.frames import Edit, edits, make_edits, sequence
from tests.property.plans import Choices, Draft, drafts, make_draft
from tests.property.profiles import examples

SEEDS = st.integers(0, 2**32 - 1)
TOLERANCES = st.sampled_from((0.0, 1e-4, 0.02, 0.1, 0.5, 2.0))


def run_bounded(draft: Draft, changes: list[Edit], isa: str, tolerance: float, threads: int = 2) -> None:
    plan = draft.build(isa)
    alone = Alone(draft, isa)
    stream = _core.State(plan, _core.Threads(threads), False, tolerance)
    before: Snapshot | None = None
    last = None
    for frame in sequence(draft, changes):
        step(draft, stream, frame)
        shot = snapshot(draft, plan, stream)
        check_bounded(draft, alone, shot, frame, stream.tolerance)
        check_views(draft, shot)
        check_accounting(draft, plan, shot, before)
        still = last is not None and all(np.array_equal(bits(a), bits(b)) for a, b in zip(frame, last, strict=True))
        if still and not shot.was_dense and all(np.isfinite(array).all() for array in shot.arrays.values()):
            check_rest(draft, stream, shot)
        before, last = shot, frame


@pytest.mark.parametrize("isa", _core.isas())
@examples(120)
@given(draft=drafts(), changes=edits(), tolerance=TOLERANCES)
def test_stored_pixels_are_within_the_tolerance(isa: str, draft: Draft, changes: list[Edit], tolerance: float) -> None:
    run_bounded(draft, changes, isa, tolerance)


@pytest.mark.parametrize("isa", _core.isas())
@examples(300)
@given(seed=SEEDS, tolerance=TOLERANCES)
def test_stored_pixels_of_a_seed_are_within_the_tolerance(isa: str, seed: int, tolerance: float) -> None:
    run_bounded(make_draft(Choices(seed)), make_edits(seed), isa, tolerance)


@examples(90)
@given(seed=SEEDS, tolerance=TOLERANCES)
def test_maps_shared_among_threads_are_within_the_tolerance(seed: int, tolerance: float) -> None:
    run_bounded(make_draft(Choices(seed), big=True), make_edits(seed), "", tolerance)


@examples(180)
@given(seed=SEEDS, tolerance=TOLERANCES)
def test_steps_that_find_nearly_everything_stale_are_within_the_tolerance(seed: int, tolerance: float) -> None:
    """Whole frames of noise, then faint changes of all of it: what runs dense still passes through the cutoff."""
    changes = [Edit(kind, seed=seed % 256 + i) for i, kind in enumerate(("noise", "faint", "faint", "noise", "faint"))]
    run_bounded(make_draft(Choices(seed)), changes, "", tolerance)


@examples(120)
@given(draft=drafts(), changes=edits(), tolerances=st.lists(TOLERANCES, min_size=1, max_size=4))
def test_a_tolerance_may_change_between_steps(draft: Draft, changes: list[Edit], tolerances: list[float]) -> None:
    plan = draft.build("")
    alone = Alone(draft, "")
    stream = _core.State(plan, _core.Threads(1), False, tolerances[0])
    for i, frame in enumerate(sequence(draft, changes)):
        stream.tolerance = tolerances[i % len(tolerances)]
        step(draft, stream, frame)
        check_bounded(draft, alone, snapshot(draft, plan, stream), frame, stream.tolerance)


@examples(120)
@given(draft=drafts(), changes=edits(), tolerance=TOLERANCES, seed=st.integers(0, 255))
def test_weights_of_a_profile_bound_the_pixels_instead(
    draft: Draft, changes: list[Edit], tolerance: float, seed: int
) -> None:
    plan = draft.build("")
    alone = Alone(draft, "")
    stream = _core.State(plan, _core.Threads(1), False, tolerance)
    random = np.random.default_rng(seed)
    weights = {x: random.uniform(0.0, 4.0, draft.shapes[x][2]).astype(np.float32) for x in plan.cut_maps}
    for x, values in weights.items():
        stream.set_weights(x, values)
    exact = {x: values.astype(np.float64) for x, values in weights.items()}
    for frame in sequence(draft, changes):
        step(draft, stream, frame)
        check_bounded(draft, alone, snapshot(draft, plan, stream), frame, tolerance, weights=exact)
