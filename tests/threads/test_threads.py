"""Teams park between steps, streams step at once from several Python threads, the interpreter is free meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from reconv import _core
from tests.property.checks import arrays, check_equal, step
from tests.property.frames import make_edits, sequence
from tests.property.plans import Choices, Draft, make_draft

Floats = NDArray[np.float32]


def heavy_draft(size: int, channels: int = 32) -> Draft:
    """Large enough that its convolutions are shared among threads."""
    random = np.random.default_rng(0)
    d = Draft()
    last = d.map(size, size, 3)
    d.input(last, "NHWC")
    for _ in range(3):
        inner = d.shapes[last][2]
        out = d.map(size, size, channels)
        weight = (random.standard_normal((channels, inner, 3, 3)) / np.sqrt(9 * inner)).astype(np.float32)
        d.conv(last, out, weight, None, pads=(1, 1), activation=("silu",))
        last = out
    d.output(last, "NHWC")
    return d


def together(jobs: list[Callable[[], None]]) -> None:
    """Runs the jobs on a Python thread each, started at once; raises what the first failed one raised."""
    failures: list[BaseException] = []
    barrier = threading.Barrier(len(jobs))

    def run(job: Callable[[], None]) -> None:
        barrier.wait()
        try:
            job()
        except BaseException as error:  # handed to the caller
            failures.append(error)

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("shared", [True, False], ids=["one team", "a team each"])
def test_streams_that_step_at_once_give_the_same_bits(shared: bool, seed: int) -> None:
    draft = heavy_draft(48) if seed == 0 else make_draft(Choices(seed), big=True)
    plan = draft.build("")
    team = _core.Threads(2)
    runs = []
    for i in range(4):
        frames = sequence(draft, make_edits(10 * seed + i), seed=i)
        expected = []
        for frame in frames:
            fresh = _core.State(plan, _core.Threads(1), False, 0.0)
            step(draft, fresh, frame)
            expected.append(arrays(draft, plan, fresh))
        runs.append((_core.State(plan, team if shared else _core.Threads(2), False, 0.0), frames, expected))

    def job(stream: _core.State, frames: list[list[Floats]], expected: list[dict[int, Floats]]) -> None:
        for _ in range(3):
            for frame, maps in zip(frames, expected, strict=True):
                step(draft, stream, frame)
                check_equal(arrays(draft, plan, stream), maps, "map")

    together([partial(job, *run) for run in runs])


def test_threads_do_not_change_bits() -> None:
    """Also more threads than processors."""
    draft = heavy_draft(40)
    plan = draft.build("")
    teams = [_core.Threads(count) for count in (1, 2, 3, 5)]
    assert [team.count for team in teams] == [1, 2, 3, 5]
    states = [_core.State(plan, team, False, 0.0) for team in teams]
    for frame in sequence(draft, make_edits(4, 6)):
        for state in states:
            step(draft, state, frame)
        maps = [arrays(draft, plan, state) for state in states]
        for other in maps[1:]:
            check_equal(other, maps[0], "map")


def test_a_parked_team_burns_no_processor_time() -> None:
    """CPU seconds of the whole process over a sleep after steps, on teams of up to 8."""
    draft = heavy_draft(48)
    plan = draft.build("")
    teams = [_core.Threads(count) for count in (2, 4, 8)]
    frames = sequence(draft, make_edits(1))
    for team in teams:
        stream = _core.State(plan, team, False, 0.0)
        for frame in frames:
            step(draft, stream, frame)
    time.sleep(0.02)  # spinning ends within a fraction of a millisecond of the last step
    before = time.process_time()
    time.sleep(0.5)
    spent = time.process_time() - before
    assert spent < 0.05, f"idle threads spent {spent:.3f} CPU seconds in 0.5 s"


def test_the_interpreter_is_free_during_a_step() -> None:
    """Another Python thread makes progress while one step runs: it counts to many between two of its readings."""
    draft = heavy_draft(320, 64)
    stream = _core.State(draft.build(""), _core.Threads(1), False, 0.0)
    frames = sequence(draft, [])
    counted = 0
    stop = threading.Event()

    def count() -> None:
        nonlocal counted
        while not stop.is_set():
            counted += 1
            time.sleep(0)

    counter = threading.Thread(target=count)
    counter.start()
    try:
        while counted == 0:
            time.sleep(0.001)
        at_start = counted
        step(draft, stream, frames[0])  # hundreds of milliseconds
        during = counted - at_start
    finally:
        stop.set()
        counter.join()
    # With the lock held, the counter could advance only in the instants around the call.
    assert during > 100, f"the other thread advanced by {during} during a step"


def test_teams_come_and_go() -> None:
    draft = heavy_draft(32)
    plan = draft.build("")
    frame = sequence(draft, [])[0]
    for _ in range(20):
        for count in (1, 2, 4):
            step(draft, _core.State(plan, _core.Threads(count), False, 0.0), frame)
    for wrong in (0, -1, 65):
        with pytest.raises(ValueError, match="1 to 64 threads"):
            _core.Threads(wrong)
    assert 1 <= _core.default_threads() <= 64
