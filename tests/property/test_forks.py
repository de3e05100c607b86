"""Branches at once: any choice of forks gives the bits of none, in dense runs on 1, 2 and 3 threads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconv import _core
from tests.property.checks import check_equal, read, step
from tests.property.frames import make_edits, sequence
from tests.property.plans import Choices, Draft, make_draft
from tests.property.profiles import examples

TEAMS = {count: _core.Threads(count) for count in (1, 2, 3)}
SEEDS = st.integers(0, 2**32 - 1)


def run_forks(draft: Draft, isa: str, seed: int) -> int:
    """Dense states with all forks, and with some of them, beside one without; returns how many forks there are."""
    plan = draft.build(isa)
    forks, macs = plan.forks(2), plan.macs
    frames = sequence(draft, make_edits(seed, 2))
    plain = _core.State(plan, TEAMS[1], True, 0.0)
    expected = []
    for frame in frames:
        step(draft, plain, frame)
        expected.append(read(draft, plain))
    some = [i for i in range(len(forks)) if np.random.default_rng(seed + i).integers(2)]
    for chosen in (list(range(len(forks))), some):
        plan.set_forks(chosen, 2)
        assert plan.chosen_forks(2) == chosen
        assert plan.forks(2) == forks
        for count, team in TEAMS.items():
            state = _core.State(plan, team, True, 0.0)
            for frame, outputs in zip(frames, expected, strict=True):
                step(draft, state, frame)
                check_equal(read(draft, state), outputs, f"{isa}, {count} threads, forks {chosen}: output")
                assert state.recomputed_macs == macs
            check_branches(draft, forks)
    plan.set_forks([], 2)
    assert plan.chosen_forks(2) == []
    step(draft, plain, frames[0])  # a state keeps the plan that it was made with
    check_equal(read(draft, plain), expected[0], "output of a state made before")
    return len(forks)


def check_branches(draft: Draft, forks: list[list[list[int]]]) -> None:
    """No op of a branch reads or writes, through any view, what an op of another branch of the fork writes."""
    for fork in forks:
        assert len(fork) >= 2
        ops = [op for branch in fork for op in branch]
        assert len(ops) == len(set(ops))
        for branch, other in ((a, b) for a in fork for b in fork if a is not b):
            written = [draft.ops[op].out for op in branch]
            for op in other:
                for x in (*draft.ops[op].inputs, draft.ops[op].out):
                    assert not any(related(draft, x, y) for y in written), f"op {op} depends on another branch"


def related(draft: Draft, x: int, y: int) -> bool:
    """Whether one map shows pixels of the other."""

    def line(z: int) -> list[int]:
        return [z, *line(draft.views[z].parent)] if z in draft.views else [z]

    return x in line(y) or y in line(x)


@pytest.mark.parametrize("isa", _core.isas())
@examples(90)
@given(seed=SEEDS)
def test_any_network_with_its_branches_at_once(isa: str, seed: int) -> None:
    run_forks(make_draft(Choices(seed)), isa, seed)


@examples(40)
@given(seed=SEEDS)
def test_large_maps_too(seed: int) -> None:
    run_forks(make_draft(Choices(seed), big=True), "", seed)


def test_there_are_forks_to_choose() -> None:
    assert sum(run_forks(make_draft(Choices(seed)), "", seed) for seed in range(20)) > 10


def test_the_check_of_branches_can_fail() -> None:
    draft = make_draft(Choices(0))
    reader, writer = next(
        (i, j) for i, op in enumerate(draft.ops) for j, other in enumerate(draft.ops) if other.out in op.inputs
    )
    with pytest.raises(AssertionError, match="depends on another branch"):
        check_branches(draft, [[[writer], [reader]]])


def inception() -> Draft:
    """A convolution, three branches into one map, and a convolution of it."""
    d = Draft()
    x, stem, joined, out = d.map(6, 7, 4), d.map(6, 7, 8), d.map(6, 7, 24), d.map(6, 7, 5)
    d.input(x)

    def conv(source: int, to: int, kernel: int) -> int:
        shape = (d.shapes[to][2], d.shapes[source][2], kernel, kernel)
        weight = np.random.default_rng(to).standard_normal(shape).astype(np.float32) * np.float32(0.2)
        return d.conv(source, to, weight, None, pads=(kernel // 2, kernel // 2))

    conv(x, stem, 3)
    parts = [d.part_of(joined, first, 8) for first in (0, 8, 16)]
    between = d.map(6, 7, 12)
    conv(stem, parts[0], 1)
    conv(stem, between, 1)
    conv(between, parts[1], 3)
    conv(stem, parts[2], 5)
    d.join(joined, parts)
    conv(joined, out, 1)
    d.output(out)
    return d


def test_an_inception_block() -> None:
    draft = inception()
    plan = draft.build("")
    assert sorted(map(sorted, plan.forks(2)[0])) == [[1], [2, 3], [4]]
    assert len(plan.forks(2)) == 1
    assert run_forks(draft, "", 0) == 1
    before = plan.dense_bytes
    plan.set_forks([0], 2)
    assert plan.dense_bytes >= before
    for wrong in ([1], [-1], [0, 0]):
        with pytest.raises(ValueError, match="numbered from 0 to 1, exclusive, each once"):
            plan.set_forks(wrong, 2)


def test_a_limit_of_memory_leaves_no_forks() -> None:
    plan = inception().build("")
    plan.set_forks([0], 2)
    plan.limit_memory(plan.dense_peak_bytes(2), 2)
    assert plan.forks(2) == []
    assert plan.chosen_forks(2) == []
