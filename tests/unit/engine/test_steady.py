"""A stream that runs for long: memory does not grow, closed streams give theirs back, and waiting costs no CPU."""

from __future__ import annotations

import itertools
import threading
import time

import numpy as np
import onnx
import pytest
from onnx import helper

from reconv.engine import load
from tests.unit.apart import apart, resident_bytes
from tests.unit.small import Array, cnn, frame, network

STEPS = 10_000
GROWTH_BYTES = 1_000_000  # at most, from the first thousand steps to the last
MOST_WAITING = 0.1  # CPU seconds of a waiting process per second; a thread that spins takes 1


def _moving(count: int) -> list[Array]:
    """Frames of which each differs from the last in a small patch."""
    frames = [frame()]
    for index in range(1, count):
        frames.append(frames[-1].copy())
        frames[-1][0, :, index : index + 4, 5:9] += 1
    return frames


def _growth(leak: bool) -> int:
    """Bytes by which a process grows over `STEPS` steps of two streams, and dense runs; `leak` keeps the outputs."""
    model = load(cnn(tail=True), threads=2)
    exact, tolerant = model.stream(), model.stream(0.1)
    frames = _moving(8)
    kept, early = [], 0
    for step, x in zip(range(STEPS), itertools.cycle(frames), strict=False):
        outputs = (exact if step % 2 else tolerant)(x)
        if step % 10 == 0:
            model.run(x)
        if leak:
            kept.append(outputs)
        if step == STEPS // 10:
            early = resident_bytes()
    return resident_bytes() - early


def test_ten_thousand_steps_do_not_grow() -> None:
    assert apart(_growth, False) < GROWTH_BYTES


def test_the_growth_of_a_leak_is_seen() -> None:
    assert apart(_growth, True) > GROWTH_BYTES


def _large() -> onnx.ModelProto:
    """Two convolutions to 32 channels."""
    random = np.random.default_rng(0)
    weights: dict[str, Array] = {
        "w1": random.standard_normal((32, 3, 1, 1)).astype(np.float32),
        "w2": random.standard_normal((32, 32, 1, 1)).astype(np.float32),
    }
    nodes = [helper.make_node("Conv", ["x", "w1"], ["c"]), helper.make_node("Conv", ["c", "w2"], ["y"])]
    return network(nodes, weights, [1, 3, 256, 256], ["y"])


def _bytes_of_streams(count: int) -> tuple[int, int, list[int], int]:
    """State bytes as announced and as held by a stream; the growth of the process with each of some streams, and with
    all of them closed or dropped."""
    model, x = load(_large(), threads=1), frame(256, 256)
    with model.stream() as warm:
        for _ in range(3):  # until the heap keeps room for the outputs
            warm(x)
        held = warm.state_bytes
    announced = model.placement().state_bytes
    before = resident_bytes()
    streams, growth = [], []
    for _ in range(count):
        streams.append(model.stream())
        streams[-1](x)
        growth.append(resident_bytes() - before)
    for stream in streams[::2]:
        stream.close()
    del streams, stream
    return announced, held, growth, resident_bytes() - before


def test_streams_hold_what_they_announce_and_give_it_back() -> None:
    announced, held, growth, left = apart(_bytes_of_streams, 5)
    assert announced == held > 15_000_000
    page = 2 << 20  # a large one rounds what it is in up, now and then, also in what the heap keeps
    for count, grown in enumerate(growth, 1):
        assert count * held - held // 8 < grown < count * (held + page) + held // 8
    assert left < page + held // 8


def _waiting(spin: bool) -> float:
    """CPU seconds per second of the waits between the steps of a stream that is fed slowly, on two threads, with a tail
    in ONNX Runtime. `spin` keeps a thread busy."""
    model = load(cnn(240, 320, 1, tail=True), threads=2)
    stream = model.stream(0.1)
    frames = [frame(240, 320, seed=seed) for seed in range(10)]  # a dense step's work in each, shared by the threads
    stream(frames[0])
    done = threading.Event()

    def busy() -> None:
        while not done.is_set():
            pass

    if spin:
        threading.Thread(target=busy).start()
    waited = spent = 0.0
    for x in frames:
        stream(x)
        cpu, wall = time.process_time(), time.perf_counter()
        time.sleep(0.05)
        spent += time.process_time() - cpu
        waited += time.perf_counter() - wall
    done.set()
    return spent / waited


@pytest.mark.parametrize("spin", [False, True])
def test_waiting_for_frames_costs_no_cpu(spin: bool) -> None:
    share = apart(_waiting, spin)
    assert (share > MOST_WAITING) == spin, share
