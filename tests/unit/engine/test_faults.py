"""What fails half-way leaves a stream that works: memory that runs out, interrupts, arrays of the wrong size."""

from __future__ import annotations

import ctypes
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from reconv import _core
from reconv.engine import load
from reconv.engine.tail import same_bits
from reconv.errors import InputError
from tests.unit.apart import address_space_bytes, apart
from tests.unit.small import cnn, frame, network

Outputs = dict[str, Any]

WIDTH = 300_000


def _same(a: Outputs, b: Outputs) -> bool:
    return list(a) == list(b) and all(same_bits(a[name], b[name]) for name in a)


@contextmanager
def _no_more_memory(spare_bytes: int = 1 << 20) -> Iterator[None]:
    """Large allocations fail (Linux). ``_large_apart`` first, or they may come out of what was freed before."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (address_space_bytes() + spare_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _large_apart() -> None:
    """Have glibc ask the system for every large allocation."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(-3, 1 << 17)  # M_MMAP_THRESHOLD, which would grow
        mallopt(-8, 1)  # M_ARENA_MAX: threads have no reserves of their own


def _wide() -> onnx.ModelProto:
    """A convolution on rows so long that state, scratch memory and output each need memory of their own."""
    weight = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]), helper.make_node("Relu", ["c"], ["y"])]
    return network(nodes, {"w": weight}, [1, 3, 8, WIDTH], ["y"])


def _step_without_memory(what: str) -> tuple[list[str], bool, bool, bool]:
    """The error of the step that failed; whether the next was dense, gave the right bits, and the one after was not."""
    _large_apart()
    model = load(_wide(), threads=1)
    first, second = frame(8, WIDTH), frame(8, WIDTH, seed=1)
    expected = model.run(second)
    stream = model.stream()
    if what != "state":
        stream(first)
    errors: list[str] = []
    ready, go = threading.Event(), threading.Event()

    def step() -> None:
        ready.set()
        go.wait()
        try:
            stream(second)
        except InputError as raised:
            errors.append(str(raised))

    if what == "scratch":
        thread = threading.Thread(target=step)  # has its stack before memory ends, but no scratch memory
        thread.start()
        ready.wait()
        with _no_more_memory():
            go.set()
            thread.join()
    else:
        go.set()
        with _no_more_memory():
            step()
    right = same_bits(stream(second)["y"], expected["y"])
    dense = stream.last.dense
    second[0, 0, 4, 100] += 1
    stream(second)
    return errors, dense, right, stream.last.dense


@pytest.mark.parametrize("what", ["state", "scratch", "output"])
def test_a_step_without_memory_makes_the_next_dense(what: str) -> None:
    errors, dense, right, dense_after = apart(_step_without_memory, what)
    assert len(errors) == 1
    assert dense
    assert right
    assert not dense_after


def _share_without_memory() -> str:
    """A team's second member has no scratch memory yet when memory runs out."""
    _large_apart()
    plan = _core.Plan()
    x, y = plan.map(8, WIDTH, 3), plan.map(8, WIDTH, 4)
    strides = (WIDTH, 1, 8 * WIDTH)
    plan.input(x, strides)
    weight = np.ones((4, 3, 3, 3), np.float32)
    plan.conv(x, y, weight, None, (1, 1), (1, 1), (1, 1), 1, ("relu",))
    plan.output(y, strides)
    plan.seal()
    values = frame(8, WIDTH)
    _core.State(plan, _core.Threads(1), False, 0.0).step([values])  # this thread has its own
    state = _core.State(plan, _core.Threads(2), False, 0.0)
    said = ""
    with _no_more_memory():
        try:
            state.step([values])
        except MemoryError:
            said = "MemoryError, "
    state.step([values])
    return said + "goes on"


def test_a_member_of_the_team_without_memory_does_not_end_the_process() -> None:
    assert apart(_share_without_memory).endswith("goes on")


def test_arrays_of_the_wrong_size_leave_a_state_as_it_was() -> None:
    plan = _core.Plan()
    x, y = plan.map(4, 5, 3), plan.map(4, 5, 2)
    plan.input(x, (5, 1, 20))
    plan.conv(x, y, np.ones((2, 3, 1, 1), np.float32), None, (1, 1), (0, 0), (1, 1), 1, ("none",))
    plan.output(y, (5, 1, 20))
    plan.seal()
    state, dense = (_core.State(plan, _core.Threads(1), False, 0.0) for _ in range(2))
    values = frame(4, 5)
    state.step([values])
    with pytest.raises(ValueError, match="another number of values"):
        state.step([frame(4, 6)])
    with pytest.raises(ValueError, match="one array per input"):
        state.step([values, values])
    with pytest.raises(ValueError, match="another number of values"):
        state.read(0, np.empty((1, 2, 4, 6), np.float32))
    values[0, 0, 1, 2] = 7
    state.step([values])
    dense.step([values])
    assert not state.was_dense
    assert state.array(y).tobytes() == dense.array(y).tobytes()


class Interrupt(BaseException):
    """As Ctrl-C: comes between any two instructions of Python."""


def _interrupted(call: Callable[[], Outputs], seconds: float) -> Outputs | None:
    """What the call gives, None if it was interrupted first."""
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        found = call()
        signal.setitimer(signal.ITIMER_REAL, 0)
    except Interrupt:
        return None
    return found


@pytest.fixture
def _interrupts() -> Iterator[None]:
    def interrupt(*_: object) -> None:
        raise Interrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    yield
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("_interrupts")
def test_an_interrupted_step_leaves_the_stream_right() -> None:
    random = np.random.default_rng(4)
    model = load(cnn(tail=True), threads=2)
    frames = [frame(seed=0)]
    for _ in range(5):
        frames.append(frames[-1].copy())
        frames[-1][0, :, 3:7, 5:9] = random.standard_normal((3, 4, 4))
    expected = [model.run(x) for x in frames]
    stream = model.stream()
    seconds, seen = 1.0, stream(frames[0])
    for x in frames:
        seen = stream(x)
        seconds = min(seconds, stream.last.seconds)
    interrupted = 0
    for turn in range(10_000):
        if interrupted == 100:
            break
        which = int(random.integers(len(frames)))
        x = frames[which]
        call = (lambda x=x: stream(x)) if turn % 4 else (lambda x=x: model.run(x))
        found = _interrupted(call, random.uniform(1e-5, 3 * seconds))
        interrupted += found is None
        if found is not None and not turn % 4:
            assert _same(found, expected[which])
            continue
        if found is None:
            found = stream(x)  # whatever was left half-way; also when the interrupt came after the last instruction
        else:
            moved = {name for name in found if not same_bits(found[name], seen[name])}
            assert moved == set(stream.last.changed)
        assert _same(found, expected[which])
        seen = found
    assert interrupted == 100
    assert turn > interrupted


def test_threads_may_share_a_stream() -> None:
    model = load(cnn(tail=True), threads=2)
    frames = [frame(seed=seed) for seed in range(4)]
    expected = [model.run(x) for x in frames]
    stream = model.stream()
    wrong: list[int] = []

    def work(which: int) -> None:
        for _ in range(50):
            if not _same(stream(frames[which]), expected[which]):
                wrong.append(which)

    threads = [threading.Thread(target=work, args=(which,)) for which in range(len(frames))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
