"""A dense run gives the same bits under any memory limit and on any number of threads, and keeps the limit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconv import _core
from tests.property.checks import check_equal, read, step
from tests.property.frames import make_edits, sequence
from tests.property.plans import Choices, Draft, drafts, make_draft, to_user
from tests.property.profiles import examples

TEAMS = {count: _core.Threads(count) for count in (1, 2)}
SHARES = st.lists(st.floats(0, 1), min_size=1, max_size=3)


def limited(plan: _core.Plan, share: float) -> int:
    """The limit that lies there between the least that there is (0) and what it takes without one (1), set."""
    free = plan.dense_peak_bytes(2)
    plan.limit_memory(0, 2)
    least = plan.dense_peak_bytes(2)
    limit = least + int(share * (free - least))
    plan.limit_memory(limit, 2)
    return limit


def run_limited(draft: Draft, seed: int, shares: list[float], isa: str) -> None:
    plan = draft.build(isa)
    frames = sequence(draft, make_edits(seed))[:3]
    stream = _core.State(plan, TEAMS[1], False, 0.0)
    expected = []
    for frame in frames:
        step(draft, stream, frame)
        expected.append(read(draft, stream))
    for share in shares:
        fresh = draft.build(isa)
        limit = limited(fresh, share)
        assert fresh.dense_peak_bytes(2) <= limit
        for team in TEAMS.values():
            state = _core.State(fresh, team, True, 0.0)
            assert state.bytes == fresh.dense_bytes
            for frame, outputs in zip(frames, expected, strict=True):
                step(draft, state, frame)
                check_equal(read(draft, state), outputs, f"{isa}, {team.count} threads, limit {limit}: output")


@pytest.mark.parametrize("isa", _core.isas())
@examples(60)
@given(draft=drafts(), seed=st.integers(0, 2**32 - 1), shares=SHARES)
def test_a_limit_changes_no_bit(isa: str, draft: Draft, seed: int, shares: list[float]) -> None:
    run_limited(draft, seed, shares, isa)


@pytest.mark.parametrize("isa", _core.isas())
@examples(60)
@given(seed=st.integers(0, 2**32 - 1), shares=SHARES, big=st.booleans())
def test_a_limit_changes_no_bit_of_a_plan_of_a_seed(isa: str, seed: int, shares: list[float], big: bool) -> None:
    run_limited(make_draft(Choices(seed), big=big), seed, shares, isa)


def tall(seed: int) -> Draft:
    """A chain of windows over a map of many rows, with a concat and a map that is wanted again at the end."""
    random = np.random.default_rng(seed)
    d = Draft()
    x = d.map(96, 12, 3)
    d.input(x, "NCHW")
    last, first = x, -1
    for _ in range(5):
        inner = d.shapes[last][2]
        out = d.map(96, 12, 8)
        kernel = int(random.choice([1, 3, 5]))
        weight = (random.standard_normal((8, inner, kernel, kernel)) / np.sqrt(inner * kernel**2)).astype(np.float32)
        d.conv(last, out, weight, None, pads=(kernel // 2, kernel // 2), activation=("silu",))
        last, first = out, out if first < 0 else first
    out = d.map(96, 12, 8)
    d.op("binary", out, a=last, b=first, kind="add", activation=("none",))
    d.output(out, "NCHW")
    return d


@examples(20)
@given(seed=st.integers(0, 2**32 - 1), share=st.floats(0, 1))
def test_tall_maps_take_a_fraction_in_bands(seed: int, share: float) -> None:
    draft = tall(seed)
    run_limited(draft, seed, [share], "")
    plan = draft.build("")
    free = plan.dense_bytes
    plan.limit_memory(0, 1)
    assert any(bands > 1 for _, bands, _ in plan.memory())
    assert plan.dense_bytes < 0.8 * free


@examples(20)
@given(seed=st.integers(0, 2**32 - 1), share=st.floats(0, 1))
def test_outputs_are_stored_as_they_come(seed: int, share: float) -> None:
    draft = tall(seed)
    expected, kept = draft.build(""), _core.Plan("")
    for call in draft.calls:
        getattr(kept, call.method)(**call.arguments)
    kept.seal(stores=True)
    limited(kept, share)
    frame = sequence(draft, [])[0]
    state, storing = _core.State(expected, TEAMS[1], True, 0.0), _core.State(kept, TEAMS[2], True, 0.0)
    step(draft, state, frame)
    array = np.empty((8, 96, 12), np.float32)
    user = [to_user(x, layout) for x, (_, layout) in zip(frame, draft.inputs, strict=True)]
    storing.step(user, [array])
    found = np.ascontiguousarray(array.transpose(1, 2, 0))
    check_equal({0: found}, {0: read(draft, state)[0]}, "stored output")
    with pytest.raises(ValueError, match="has stored the outputs"):
        storing.read(0, array)
    storing.step(user)  # drops them
