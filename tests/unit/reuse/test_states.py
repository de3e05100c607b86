"""Many streams under one byte limit: exact, never above it, and what is dropped is freed."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from reconv.cache.policies import POLICIES
from reconv.engine import MapProfile, Model, Profile, Step, load, paced
from reconv.engine import stream as streams
from reconv.engine.compiled import Compiled
from reconv.engine.item import Item, ItemStep
from reconv.engine.pixels import Picture, PixelArithmetic
from reconv.engine.tail import Tail, same_bits
from reconv.errors import CacheError, ClosedError, InputError, ProfileError, TailError
from reconv.reuse.states import StreamPool
from tests.property.profiles import examples
from tests.unit.apart import apart, resident_bytes
from tests.unit.small import Array, cnn, frame, network

BIG = 1_000_000_000


def same(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    return list(a) == list(b) and all(same_bits(a[name], b[name]) for name in a)


def moved(x: Array, count: int) -> Array:
    """The frame with a small patch that differs from number to number."""
    x = x.copy()
    x[:, :, 4:8, 4:8] += np.float32(count)
    return x


def state_bytes(model: Model, x: Array) -> int:
    with model.stream() as stream:
        stream(x)
        return stream.state_bytes


class Gauge:
    """Counts the bytes of the states that exist, when one is made and after each step: the most there ever were."""

    def __init__(self) -> None:
        self.now = 0
        self.most = 0
        self.before_step: Callable[[], None] | None = None
        self._lock = threading.Lock()

    def add(self, size: int) -> None:
        with self._lock:
            self.now += size
            self.most = max(self.most, self.now)

    def item(self) -> type[Item]:
        gauge = self

        class Counted(Item):
            def __init__(self, compiled: Compiled, **options: Any) -> None:
                gauge.add(compiled.state_bytes)  # before it is allocated
                self.counted = [compiled.state_bytes]
                weakref.finalize(self, lambda counted: gauge.add(-sum(counted)), self.counted)
                super().__init__(compiled, **options)

            def step(self, feeds: Mapping[str, Array | Picture]) -> ItemStep:
                if gauge.before_step is not None:
                    gauge.before_step()
                result = super().step(feeds)
                grown = self.bytes - sum(self.counted)
                gauge.add(grown)
                self.counted.append(grown)
                return result

        return Counted


@pytest.fixture
def gauge(monkeypatch: pytest.MonkeyPatch) -> Gauge:
    found = Gauge()
    monkeypatch.setattr(paced, "Item", found.item())
    return found


def test_who_was_not_seen_for_longest_is_dropped(gauge: Gauge) -> None:
    model, x = load(cnn(tail=True)), frame()
    size = state_bytes(model, x)
    gauge.most = 0
    pool = StreamPool(model, 2 * size, "lru")
    assert (pool.capacity_bytes, pool.bytes, len(pool)) == (2 * size, 0, 0)
    dense = []
    for count, name in enumerate(["a", "b", "a", "c", "a", "b", "c"]):
        outputs, step = pool.step(name, moved(x, count))
        assert same(outputs, model.run(moved(x, count)))
        dense.append(step.dense)
    assert dense == [True, True, False, True, False, True, True]
    assert "b" in pool
    assert "a" not in pool
    stats = pool.stats
    assert (stats.steps, stats.reused, stats.dense, stats.dropped, stats.states) == (7, 2, 5, 3, 2)
    assert stats.bytes == pool.bytes == 2 * size == gauge.now
    assert gauge.most == 2 * size


def test_streams_that_take_turns_do_not_all_lose_their_states() -> None:
    """Ten streams, room for five: the one not seen for longest is the one that comes next."""
    model, x = load(cnn()), frame()
    reused = {}
    for policy in (None, "lru"):
        pool = StreamPool(model, 5 * state_bytes(model, x), *([] if policy is None else [policy]))
        for turn in range(400):
            pool(turn % 10, x)
        reused[policy] = pool.stats.reused
    assert reused["lru"] == 0
    assert reused[None] > 100


def test_a_stream_of_a_pool_goes_on_as_any_stream_does() -> None:
    model, x = load(cnn()), frame(48, 64)
    pool, alone = StreamPool(model, BIG, tolerance=0.1), model.stream(0.1)
    noise = np.random.default_rng(0)
    with pool.stream("door") as stream:
        assert stream.last == Step()
        assert stream.name == "door"
        for count in range(5):
            x = np.asarray(moved(x, count) + noise.normal(0, 0.01, x.shape), np.float32)
            assert same(stream(x), alone(x))
            assert stream.last.recomputed == alone.last.recomputed
            assert stream.last.changed == alone.last.changed
        assert 0 < stream.last.recomputed < 1
        assert len(pool) == 1
    assert len(pool) == 0
    assert not same(alone(x), model.run(x))  # the tolerance shows


def test_another_frame_size_is_another_state(gauge: Gauge) -> None:
    model = load(cnn(tail=True))
    small, large = frame(24, 32), frame(48, 64)
    sizes = [state_bytes(model, x) for x in (small, large)]
    gauge.most = 0
    pool = StreamPool(model, sizes[1])
    for x, size in ((small, sizes[0]), (large, sizes[1]), (small, sizes[0]), (frame(batch=2), 2 * sizes[0])):
        for again in range(2):
            outputs, step = pool.step("a", x)
            assert same(outputs, model.run(x))
            assert step.dense == (again == 0)
            assert pool.bytes == gauge.now == size
    assert gauge.most <= sizes[1]
    assert pool.stats.dropped == 0


def test_a_state_above_the_limit_is_not_made(gauge: Gauge) -> None:
    model, x = load(cnn(tail=True)), frame()
    pool = StreamPool(model, 1000)
    for count in range(3):
        outputs, step = pool.step("a", moved(x, count))
        assert same(outputs, model.run(moved(x, count)))
        assert step.dense
        assert step.recomputed == 1
        assert step.changed == ("y", "top")
        assert step.seconds > 0
    stats = pool.stats
    assert (stats.steps, stats.too_large, stats.crowded, stats.dense, stats.states) == (3, 3, 0, 0, 0)
    assert gauge.most == 0
    assert pool._members == {}


def test_a_tail_that_finds_no_room_runs_again(gauge: Gauge, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a tail gives is known when it has run: then there is room for it, or it is not kept."""
    model, x = load(cnn(tail=True)), frame()
    size = state_bytes(model, x)
    without = model.placement().state_bytes
    assert without < size
    runs, run = [], Tail.run

    def counted(self: Tail, feeds: Mapping[str, Array]) -> dict[str, Any]:
        runs.append(self)
        return run(self, feeds)

    monkeypatch.setattr(Tail, "run", counted)
    for capacity, expected in ((size - 1, 3), (size, 1)):
        runs.clear()
        gauge.most = 0
        pool = StreamPool(model, capacity)
        for _ in range(3):
            assert same(pool("a", x), model.run(x))
        assert len(runs) == expected + 3
        assert gauge.most == gauge.now == pool.bytes == (size if capacity == size else without)
        pool.close()


def test_a_tail_makes_room_for_what_it_gives(gauge: Gauge) -> None:
    model, x = load(cnn(tail=True)), frame()
    size = state_bytes(model, x)
    pool = StreamPool(model, 2 * size - 1, "lru")  # room for both, but for one tail
    gauge.most = 0
    for name in "ab":
        assert same(pool(name, x), model.run(x))
    assert gauge.most <= 2 * size - 1
    assert "b" in pool
    assert "a" not in pool
    assert pool.stats.dropped == 1


def test_outputs_that_are_inputs_are_part_of_a_state(gauge: Gauge) -> None:
    proto = cnn()
    proto.graph.output.append(helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 3, "h", "w"]))
    model, x = load(proto), frame()
    pool = StreamPool(model, BIG)
    assert same(pool("a", x), model.run(x))
    assert pool.bytes == gauge.now == load(cnn()).placement({"x": x.shape}).state_bytes + x.nbytes


def test_a_model_that_is_all_tail(gauge: Gauge) -> None:
    proto = network([helper.make_node("Hardmax", ["x"], ["y"], axis=1)], {}, ["n", 3, 4, 4], ["y"])
    model, x = load(proto), frame(4, 4)
    pool = StreamPool(model, 2 * x.nbytes)
    for name in "aabb":
        assert same(pool(name, x), model.run(x))
    assert pool.stats.dropped == 1
    assert pool.bytes == gauge.now == gauge.most == 2 * x.nbytes


def test_costs_are_measured_dense_steps() -> None:
    model, x = load(cnn()), frame(96, 128)
    pool = StreamPool(model, BIG, "gdsf")
    _, first = pool.step("a", x)
    _, second = pool.step("b", np.concatenate([x, x]))
    assert pool._ledger.costs["b"] == pytest.approx(2 * first.seconds)
    pool.step("c", x)
    assert pool._ledger.costs["c"] == pytest.approx(second.seconds / 2)
    before = pool.stats.seconds_saved
    for _ in range(20):
        pool("a", x)
    assert pool.stats.seconds_saved > before


# --- mistakes and failures ---


def test_misuse() -> None:
    model, x = load(cnn()), frame()
    with pytest.raises(CacheError, match=r"no policy is called 'mru'; there are .*lru"):
        StreamPool(model, 1000, "mru")
    with pytest.raises(CacheError, match="capacity_bytes is 0"):
        StreamPool(model, 0)
    with pytest.raises(ProfileError, match="tolerance"):
        StreamPool(model, 1000, tolerance=-1)
    pool = StreamPool(model, BIG)
    pool("a", x)
    with pytest.raises(InputError, match="type float64"):
        pool("a", x.astype(np.float64))
    assert "a" in pool
    pool.forget("nobody")


def test_a_profile_that_does_not_fit_leaves_nothing_behind() -> None:
    profile = Profile(maps={"nothing": MapProfile(factor=2.0)})
    pool = StreamPool(load(cnn()), BIG, profile=profile)
    for _ in range(2):
        with pytest.raises(ProfileError, match="a map 'nothing'"):
            pool("a", frame())
    assert (pool.bytes, pool._members) == (0, {})


def test_after_a_failure_the_next_step_is_dense(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = load(cnn(tail=True)), frame()
    pool = StreamPool(model, BIG)
    pool("a", x)

    def fail(self: Tail, feeds: Mapping[str, Array]) -> dict[str, Any]:
        raise TailError("no")

    with monkeypatch.context() as patch:
        patch.setattr(Tail, "run", fail)
        with pytest.raises(TailError, match="no"):
            pool("a", moved(x, 1))
    assert pool.bytes == 0
    outputs, step = pool.step("a", x)
    assert step.dense
    assert same(outputs, model.run(x))


def test_close_and_forget(gauge: Gauge) -> None:
    model, x = load(cnn()), frame()
    with StreamPool(model, BIG) as pool:
        pool("a", x)
        pool("b", x)
        pool.forget("a")
        assert "a" not in pool
        assert gauge.now == pool.bytes == state_bytes(model, x)
        assert pool.step("a", x)[1].dense
        assert not pool.step("b", x)[1].dense
    assert gauge.now == pool.bytes == 0
    pool.close()
    with pytest.raises(ClosedError, match="the pool of streams is closed"):
        pool("a", x)


def test_a_pool_that_is_dropped_is_freed_at_once() -> None:
    model = load(cnn())
    pool = StreamPool(model, BIG)
    pool("a", frame())
    gone = weakref.ref(pool)
    gc.disable()
    try:
        del pool
        assert gone() is None
    finally:
        gc.enable()


# --- several threads ---


def run_together(*jobs: Callable[[], object]) -> None:
    """Raises what the first failed one raised; fails when one does not come back."""
    failures: list[BaseException] = []

    def run(job: Callable[[], object]) -> None:
        try:
            job()
        except BaseException as error:  # raised below
            failures.append(error)

    threads = [threading.Thread(target=run, args=(job,), daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    if failures:
        raise failures[0]


class Hold:
    """Stops steps in the middle until told to go on."""

    def __init__(self, gauge: Gauge, steps: int) -> None:
        self.arrived = threading.Semaphore(0)
        self.go_on = threading.Event()
        self._left = steps
        self._gauge = gauge
        gauge.before_step = self

    def __call__(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._gauge.before_step = None
        self.arrived.release()
        assert self.go_on.wait(30)

    def until_all_arrived(self, count: int) -> None:
        for _ in range(count):
            assert self.arrived.acquire(timeout=30)


def test_a_state_in_use_stays_and_who_finds_no_room_runs_dense(gauge: Gauge) -> None:
    model, x = load(cnn()), frame()
    size = state_bytes(model, x)
    pool = StreamPool(model, 2 * size, "lru")
    for name in "ab":
        pool(name, x)
    hold, steps = Hold(gauge, 2), {}
    jobs = [lambda name=name: steps.update({name: pool.step(name, moved(x, 1))}) for name in "ab"]

    def third() -> None:
        hold.until_all_arrived(2)
        steps["c"] = pool.step("c", moved(x, 2))  # beside two that are in the middle of a step
        hold.go_on.set()

    gauge.most = 0
    run_together(*jobs, third)
    assert [steps[name][1].dense for name in "abc"] == [False, False, True]
    assert same(steps["a"][0], model.run(moved(x, 1)))
    assert same(steps["c"][0], model.run(moved(x, 2)))
    stats = pool.stats
    assert (stats.crowded, stats.too_large, stats.dropped) == (1, 0, 0)
    assert gauge.most <= 2 * size
    pool("c", x)
    assert pool.stats.dropped == 1


def test_another_victim_is_chosen_for_one_in_use(gauge: Gauge) -> None:
    model, x = load(cnn()), frame()
    pool = StreamPool(model, 2 * state_bytes(model, x), "lru")
    for name in "ab":
        pool(name, x)
    hold, steps = Hold(gauge, 1), {}

    def third() -> None:
        hold.until_all_arrived(1)
        steps["c"] = pool.step("c", x)[1]
        hold.go_on.set()

    # "a" was not seen for longest but for the step that it is in the middle of
    run_together(lambda: steps.update(a=pool.step("a", moved(x, 1))[1]), third)
    assert not steps["a"].dense
    assert pool.stats.crowded == 0
    assert "a" in pool
    assert "b" not in pool


def test_one_stream_steps_one_call_after_the_other(gauge: Gauge) -> None:
    model, x = load(cnn()), frame()
    pool = StreamPool(model, BIG)
    pool("a", x)
    hold = Hold(gauge, 1)
    found: list[bool] = []

    def step(count: int) -> None:
        found.append(same(pool("a", moved(x, count)), model.run(moved(x, count))))

    def release() -> None:
        hold.until_all_arrived(1)
        time.sleep(0.02)
        assert found == []
        hold.go_on.set()

    run_together(*(lambda count=count: step(count) for count in range(4)), release)
    assert found == [True] * 4
    assert pool.stats.dense == 1


@pytest.mark.parametrize("end", ["close", "forget"])
def test_what_ends_in_the_middle_of_a_step_is_freed_after_it(gauge: Gauge, end: str) -> None:
    model, x = load(cnn()), frame()
    pool = StreamPool(model, BIG)
    pool("a", x)
    hold = Hold(gauge, 1)
    found: list[bool] = []

    def finish() -> None:
        hold.until_all_arrived(1)
        pool.close() if end == "close" else pool.forget("a")
        assert pool.bytes > 0
        hold.go_on.set()

    run_together(lambda: found.append(same(pool("a", moved(x, 1)), model.run(moved(x, 1)))), finish)
    assert found == [True]
    assert pool.bytes == gauge.now == 0
    assert pool._members == {}


# --- anything ---

SIZES = ((24, 32), (16, 20), (40, 24))
FRAMES = {(size, seed): frame(*size, seed=seed) for size in SIZES for seed in range(3)}
MODEL = load(cnn(tail=True), threads=1)
requests = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(SIZES), st.integers(0, 2), st.integers(1, 2)), max_size=30
)


def ask(pool: StreamPool, request: tuple[int, tuple[int, int], int, int]) -> None:
    name, size, seed, batch = request
    x = np.concatenate([FRAMES[size, seed], FRAMES[size, 0]][:batch])
    assert same(pool(name, x), MODEL.run(x)), request


def ask_all(pool: StreamPool, script: Sequence[tuple[int, tuple[int, int], int, int]]) -> None:
    for request in script:
        ask(pool, request)


@examples(60)
@given(policy=st.sampled_from(sorted(POLICIES)), share=st.sampled_from([0.0, 0.7, 1.0, 2.3, 9.0]), script=requests)
def test_any_sequence_is_exact_and_below_the_limit(
    policy: str, share: float, script: Sequence[tuple[int, tuple[int, int], int, int]]
) -> None:
    gauge = Gauge()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paced, "Item", gauge.item())
        capacity = max(1, int(share * state_bytes(MODEL, FRAMES[SIZES[0], 0])))
        gauge.most = 0
        with StreamPool(MODEL, capacity, policy) as pool:
            for request in script:
                ask(pool, request)
                assert gauge.now <= pool.bytes <= capacity
            stats = pool.stats
            assert stats.steps == stats.reused + stats.dense + stats.too_large + stats.crowded == len(script)
            assert stats.crowded == 0
        assert gauge.most <= capacity
        assert gauge.now == 0


@examples(25)
@given(
    policy=st.sampled_from(sorted(POLICIES)),
    share=st.sampled_from([0.0, 1.0, 2.3, 9.0]),
    scripts=st.lists(requests, min_size=2, max_size=4),
)
def test_any_threads_are_exact_and_below_the_limit(
    policy: str, share: float, scripts: Sequence[Sequence[tuple[int, tuple[int, int], int, int]]]
) -> None:
    gauge = Gauge()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paced, "Item", gauge.item())
        capacity = max(1, int(share * state_bytes(MODEL, FRAMES[SIZES[0], 0])))
        gauge.most = 0
        with StreamPool(MODEL, capacity, policy) as pool:
            run_together(*(partial(ask_all, pool, script) for script in scripts))
            assert gauge.now <= pool.bytes <= capacity
            stats = pool.stats
            assert stats.steps == stats.reused + stats.dense + stats.too_large + stats.crowded
        assert gauge.most <= capacity
        assert gauge.now == 0


def test_the_gauge_sees_what_is_too_much(gauge: Gauge) -> None:
    model, x = load(cnn()), frame()
    open_streams = [model.stream() for _ in range(3)]
    for stream in open_streams:
        stream(x)
    assert gauge.now == gauge.most == sum(stream.state_bytes for stream in open_streams)


# --- memory for real ---


def _large() -> onnx.ModelProto:
    random = np.random.default_rng(0)
    weights: dict[str, Array] = {
        "w1": random.standard_normal((32, 3, 1, 1)).astype(np.float32),
        "w2": random.standard_normal((32, 32, 1, 1)).astype(np.float32),
    }
    nodes = [helper.make_node("Conv", ["x", "w1"], ["c"]), helper.make_node("Conv", ["c", "w2"], ["y"])]
    return network(nodes, weights, [1, 3, 256, 256], ["y"])


def _resident_of_pool(names: int, states: int) -> tuple[int, int, int]:
    """Bytes of a state, and by how much the process grew at most while streams took turns, and with the pool closed."""
    model, x = load(_large(), threads=1), frame(256, 256)
    size = state_bytes(model, x)
    pool = StreamPool(model, states * size)
    for _ in range(3):  # until the heap keeps room for the outputs
        model.run(x)
    before = resident_bytes()
    growth = 0
    for turn in range(3 * names):
        pool(turn % names, x)
        growth = max(growth, resident_bytes() - before)
    pool.close()
    return size, growth, resident_bytes() - before


def test_dropped_states_are_really_freed() -> None:
    size, growth, left = apart(_resident_of_pool, 9, 3)
    slack = 3 * (2 << 20) + size // 2  # large pages, and what the heap keeps
    assert size > 15_000_000
    assert 2 * size < growth < 3 * size + slack
    assert left < slack


def test_a_state_that_cannot_be_made_leaves_its_room(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> streams.Stream:
        raise MemoryError("no room in the machine")

    with StreamPool(load(cnn()), 10_000_000) as pool:
        with monkeypatch.context() as broken:
            broken.setattr(streams.Stream, "another", fails)
            for _ in range(2):
                with pytest.raises(MemoryError, match="no room"):
                    pool("a", frame())
        assert (pool.bytes, len(pool)) == (0, 0)
        pool("a", frame())
        held = pool.bytes
        assert held > 0
        pool.forget("a")
        assert pool.bytes == 0


@pytest.mark.parametrize("tail", [False, True])
def test_frames_of_bytes(tail: bool) -> None:
    model, pixels = load(cnn(tail=tail)), PixelArithmetic(1 / 255, (0.4, 0.5, 0.6), 0.2)
    height, width = frame().shape[2:]
    random = np.random.default_rng(0)
    with model.stream(pixels=pixels) as single, StreamPool(model, BIG, pixels=pixels) as pool:
        picture = random.integers(0, 256, (height, width, 3), np.uint8)
        for index in range(4):
            picture = picture.copy()
            picture[2 * index : 2 * index + 2, 3:5] ^= 255
            expected = model.run(pixels.apply(picture))
            assert same(pool("a", picture), expected)
            assert same(single(picture), expected)
        assert pool.stats.reused == 3
        held = single.state_bytes
        assert 0 <= pool.bytes - held < 0.02 * held  # reserved before it was made: never less than what it holds
        floats = pixels.apply(picture)
        assert same(pool("a", floats), model.run(floats))
        assert "a" in pool
    with StreamPool(model, held - 1, pixels=pixels) as pool:  # the frame kept is counted
        assert same(pool("a", picture), expected)
        assert pool.stats.too_large == (0 if tail else 1)
    with StreamPool(model, BIG) as pool, pytest.raises(InputError):
        pool("a", picture)
