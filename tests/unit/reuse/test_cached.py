"""Whole results: the bits of the model, one entry per item, each computed once, and nobody's array in the cache."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from reconv.cache.store import Cache
from reconv.engine import load
from reconv.engine.item import DenseItems
from reconv.engine.tail import same_bits
from reconv.errors import CacheError, InputError, TailError
from reconv.reuse.cached import Cached, cached, mark
from reconv.reuse.keys import result_key
from tests.unit.small import Array, cnn, frame, network, text

BIG = 10_000_000
MIXING = """g (float[n,3,h,w] x) => (float[n,3,h,w] y) <int64[1] axes = {0}> {
    m = ReduceMean <axes = [0]> (x)
    y = Sub(x, m)
}"""


def same(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    return list(a) == list(b) and all(same_bits(a[name], b[name]) for name in a)


class Runs(list[int]):
    """How many items each run of the engine had; `before` is called ahead of each run."""

    before: Callable[[], None] | None = None

    @property
    def items(self) -> int:
        return sum(self)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    found, run = Runs(), DenseItems.run

    def counted(self: DenseItems, items: Sequence[Mapping[str, Array]]) -> list[dict[str, Any]]:
        found.append(len(items))
        if found.before is not None:
            found.before()
        return run(self, items)

    monkeypatch.setattr(DenseItems, "run", counted)
    return found


def watched(model: Any = None, capacity: int = BIG) -> Cached:
    return cached(load(cnn(tail=True) if model is None else model), Cache(capacity, "lru"), may_step_aside=False)


@pytest.mark.parametrize("tail", [False, True])
def test_a_hit_is_the_models_answer(tail: bool, runs: Runs) -> None:
    model, x = load(cnn(tail=tail)), frame()
    fast = cached(model, Cache(BIG, "lru"), may_step_aside=False)
    assert (fast.inputs, fast.outputs, fast.model) == (model.inputs, model.outputs, model)
    expected = model.run(x)
    assert same(fast.run(x), expected)
    assert same(fast.run({"x": x.copy()}), expected)
    assert runs == [1, 1]
    stats = fast.stats
    assert (stats.requests, stats.items, stats.hits, stats.computed) == (2, 2, 1, 1)
    assert stats.seconds_saved > 0
    assert stats.seconds_keeping > 0
    assert fast.cache.stats.seconds_saved == stats.seconds_saved
    assert fast.cache.stats.hits == 1
    assert not same(fast.run(frame(seed=1)), expected)  # the comparison can fail


def test_of_a_batch_only_the_missing_items_run_and_at_once(runs: Runs) -> None:
    fast, x = watched(), frame(batch=16)
    for i in range(12):
        fast.run(x[i : i + 1])
    expected = fast.model.run(x)
    runs.clear()
    assert same(fast.run(x), expected)
    assert runs == [4]
    assert same(fast.run(x[::-1]), fast.model.run(x[::-1]))
    assert runs == [4, 16]  # the latter is the model's
    assert fast.stats.hits == 12 + 16
    assert fast.stats.computed == 16
    assert len(fast.cache) == 16


def test_equal_items_of_a_batch_run_once(runs: Runs) -> None:
    fast = watched()
    a, b = frame(seed=1), frame(seed=2)
    x = np.concatenate([a, b, a, a, b])
    assert same(fast.run(x), fast.model.run(x))
    assert runs == [2, 5]
    assert fast.stats.hits == 3
    assert fast.stats.seconds_saved > 0


def test_a_single_item_and_one_of_a_batch_are_the_same_entry(runs: Runs) -> None:
    fast, x = watched(), frame(batch=2)
    fast.run(x)
    assert same(fast.run(x[1:]), fast.model.run(x[1:]))
    assert fast.stats.hits == 1


@pytest.mark.parametrize("model", [text(MIXING), cnn(batch=2)], ids=["mixes items", "fixed batch"])
def test_what_is_not_split_is_an_entry_as_a_whole(model: Any, runs: Runs) -> None:
    fast, x = watched(model), frame(batch=2)
    expected = fast.model.run(x)
    assert same(fast.run(x), expected)
    assert same(fast.run(x), expected)
    assert runs == [1, 1]
    assert same(fast.run(x[::-1]), fast.model.run(x[::-1]))
    assert fast.stats.hits == 1
    assert fast.stats.items == 3
    assert len(fast.cache) == 2


def test_outputs_are_the_callers_and_entries_are_nobodys(runs: Runs) -> None:
    fast, x = watched(), frame(batch=2)
    expected = fast.model.run(x)
    for _ in range(3):
        for outputs in (fast.run(x), fast.run(x[:1])):
            for value in outputs.values():
                value[:] = -1
    assert same(fast.run(x), expected)
    for entry in fast.cache.values():
        for value in entry.values():
            assert value.base is None, "an entry of one item must not keep the whole batch alive"
            with pytest.raises(ValueError, match="read-only"):
                value[:] = 0


def test_entries_cost_what_their_run_took_each(runs: Runs) -> None:
    runs.before = lambda: time.sleep(0.04)
    fast = watched()
    fast.run(frame(batch=4))
    costs = [found[1] for key in fast.cache if (found := fast.cache.look(key)) is not None]
    assert len(costs) == 4
    assert max(costs) == min(costs) >= 0.01


def test_equal_models_share_entries_and_others_do_not(runs: Runs) -> None:
    cache, x = Cache(BIG, "lru"), frame()
    for model in (cnn(), cnn(24, 32, 1)):
        cached(load(model), cache).run(x)
    assert runs == [1]
    cached(load(cnn(tail=True)), cache).run(x)
    assert runs == [1, 1]


def test_inputs_are_checked_as_without_a_cache() -> None:
    fast, x = watched(cnn(24, 32)), frame(batch=3)
    with pytest.raises(InputError, match="type float64"):
        fast.run(x.astype(np.float64))
    with pytest.raises(InputError, match="resize it"):
        fast.run(frame(24, 30))
    turned = np.asfortranarray(x)
    assert same(fast.run(turned), fast.run(x))
    assert fast.stats.hits == 3


def test_not_finite_and_signed_zeros_are_inputs_of_their_own(runs: Runs) -> None:
    fast = watched()
    for value in (0.0, -0.0, np.nan, np.inf):
        x = np.full((1, 3, 24, 32), value, np.float32)
        for _ in range(2):
            assert same(fast.run(x), fast.model.run(x))
    assert fast.stats.computed == 4


def test_random_models_are_refused() -> None:
    noise = text("g (float[n,3,h,w] x) => (float[n,3,h,w] y) { r = RandomNormalLike(x) y = Add(x, r) }")
    with pytest.raises(CacheError, match="draws random numbers"):
        cached(load(noise), Cache(BIG, "lru"))


class Shelf:
    """A tier that keeps everything in a dictionary."""

    failures = 0

    def __init__(self) -> None:
        self.held: dict[bytes, bytes] = {}

    def get(self, name: bytes) -> bytes | None:
        return self.held.get(name)

    def put(self, name: bytes, payload: bytes) -> None:
        self.held[name] = payload

    def delete(self, name: bytes) -> bool:
        return self.held.pop(name, None) is not None

    def clear(self) -> None:
        self.held.clear()

    def close(self) -> None:
        self.held.clear()


def test_results_come_from_a_tier_below(runs: Runs) -> None:
    below, x = Shelf(), frame(batch=3)
    first = cached(load(cnn(tail=True)), Cache(BIG, "lru", below=below))
    expected = first.run(x)
    second = cached(load(cnn(tail=True)), Cache(BIG, "lru", below=below))
    assert same(second.run(x), expected)
    assert same(second.run(x[:1]), second.model.run(x[:1]))
    for value in second.run(x).values():
        value[:] = 0
    assert same(second.run(x), expected)
    assert runs == [3, 1]
    assert second.cache.stats.hits_below == 3
    assert second.stats.seconds_saved > 0


def test_a_hit_prepares_no_plan() -> None:
    cache, x = Cache(BIG, "lru"), frame()
    cached(load(cnn()), cache).run(x)
    fresh = load(cnn())
    cached(fresh, cache).run(x)
    assert len(fresh._sizes) == 0


def test_text_does_not_go_below_the_memory() -> None:
    labels = text("g (string[n] x) => (string[n] y) { y = Identity(x) }")
    x = np.array(["a", "b"], object)
    fast = watched(labels)
    assert fast.run(x)["y"].tolist() == fast.run(x)["y"].tolist() == ["a", "b"]
    assert fast.run(np.array(["a", "c"], object))["y"].tolist() == ["a", "c"]
    assert fast.stats.hits == 1
    with pytest.raises(CacheError, match="output 'y' is text or no tensor"):
        cached(load(labels), Cache(BIG, "lru", below=Shelf()))


def test_an_output_that_is_no_tensor_is_copied_too() -> None:
    node = helper.make_node("SplitToSequence", ["x"], ["y"], axis=1, keepdims=1)
    proto = network([node], {}, [1, 3, 4, 4], ["y"])
    del proto.graph.output[:]
    proto.graph.output.append(helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None))
    fast, x = watched(proto), frame(4, 4)
    expected = [part.copy() for part in fast.model.run(x)["y"]]
    for _ in range(3):
        found = fast.run(x)["y"]
        assert all(same_bits(a, b) for a, b in zip(found, expected, strict=True))
        for part in found:
            part[:] = 0
    assert fast.stats.hits == 2


# --- failures and threads ---


def test_a_failure_is_not_kept(runs: Runs) -> None:
    def fail() -> None:
        raise TailError("no")

    fast, x = watched(), frame(batch=2)
    runs.before = fail
    for _ in range(2):
        with pytest.raises(TailError, match="no"):
            fast.run(x)
    assert len(fast.cache) == 0
    runs.before = None
    assert same(fast.run(x), fast.model.run(x))


def started(*jobs: Callable[[], object]) -> list[threading.Thread]:
    threads = [threading.Thread(target=job, daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    return threads


def finished(threads: Sequence[threading.Thread]) -> bool:
    for thread in threads:
        thread.join(20)
    return not any(thread.is_alive() for thread in threads)


def test_concurrent_callers_compute_once(runs: Runs) -> None:
    """One is in its run; seven more ask for the same, alone and in batches with items of their own."""
    fast, x = watched(), frame(batch=8)
    expected = [fast.model.run(x[i : i + 1]) for i in range(8)]
    fast.model.run(x)  # whether it may be split is known now
    runs.clear()
    inside, go_on = threading.Event(), threading.Event()
    right: list[bool] = []

    def first() -> None:
        right.append(same(fast.run(x[:1]), expected[0]))

    def single() -> None:
        right.append(same(fast.run(x[:1]), expected[0]))

    def batch(i: int) -> None:
        found = fast.run(np.concatenate([x[i : i + 1], x[:1]]))
        right.append(
            same({name: value[:1] for name, value in found.items()}, expected[i])
            and same({name: value[1:] for name, value in found.items()}, expected[0])
        )

    def hold() -> None:
        runs.before = None
        inside.set()
        assert go_on.wait(20)

    runs.before = hold
    threads = started(first)
    assert inside.wait(20)
    threads += started(single, single, single, *(lambda i=i: batch(i) for i in range(1, 5)))
    deadline = time.monotonic() + 20
    while len(runs) < 5 and time.monotonic() < deadline:  # all batches have run what is their own
        time.sleep(0.001)
    waited = time.perf_counter()
    time.sleep(0.2)
    assert right == [], "nobody can be ready before the first"
    waited = 7 * (time.perf_counter() - waited)
    go_on.set()
    assert finished(threads)
    assert right == [True] * 8
    assert sorted(runs) == [1] * 5
    assert fast.cache.stats.shared == 7
    assert fast.stats.computed == 5
    assert fast.stats.hits == 7
    assert fast.stats.seconds_keeping < waited / 2, "waiting is no keeping"


def test_a_batch_that_fails_does_not_fail_those_who_wait_for_one_of_its_items(runs: Runs) -> None:
    fast, x = watched(), frame(batch=2)
    expected = fast.model.run(x[:1])
    fast.model.run(x)
    inside, go_on = threading.Event(), threading.Event()
    outcomes: dict[str, object] = {}

    def failing() -> None:
        runs.before = None
        inside.set()
        assert go_on.wait(20)
        raise TailError("the second item is to blame")

    def whole() -> None:
        try:
            fast.run(x)
        except TailError as error:
            outcomes["whole"] = str(error)

    runs.before = failing
    threads = started(whole)
    assert inside.wait(20)
    threads += started(lambda: outcomes.update(one=same(fast.run(x[:1]), expected)))
    time.sleep(0.05)
    go_on.set()
    assert finished(threads)
    assert outcomes == {"whole": "the second item is to blame", "one": True}


# --- stepping aside ---


def test_it_steps_aside_and_comes_back(runs: Runs) -> None:
    """Runs take a millisecond longer than they do, so that hits pay for sure."""
    runs.before = lambda: time.sleep(0.001)
    fast = cached(load(cnn()), Cache(BIG, "lru"))
    for seed in range(100):
        fast.run(frame(seed=seed))
    stats = fast.stats
    assert stats.aside
    assert stats.times_aside == 1
    assert stats.passed_by > 40
    assert stats.computed == stats.items == stats.requests == 100
    for _ in range(100):
        assert same(fast.run(frame(seed=200)), fast.run(frame(seed=200)))
    stats = fast.stats
    assert not stats.aside
    assert stats.hits > 180
    before = stats.hits
    for seed in range(32):  # looked at before it stepped aside: still there
        fast.run(frame(seed=seed))
    assert fast.stats.hits == before + 32


def test_while_aside_batches_are_still_right(runs: Runs) -> None:
    fast = cached(load(cnn(tail=True)), Cache(BIG, "lru"))
    for seed in range(50):
        fast.run(frame(seed=seed))
    assert fast.stats.aside
    fast.run(frame(seed=300))
    runs.clear()
    new = [frame(seed=400 + i) for i in range(4)]
    x = np.concatenate([*new, new[0], frame(seed=300), frame(seed=0)])
    assert same(fast.run(x), fast.model.run(x))
    assert runs[0] <= 6, "twins in a batch are computed once"
    assert len(runs) == 2, "what is passed by runs together with what is missing"


def test_marks() -> None:
    x = frame(240, 320)
    assert mark({"x": x}) == mark({"x": x.copy()}) == mark({"x": np.asfortranarray(x)})
    assert mark({"x": x}) != mark({"x": x + 1})
    assert mark({"x": x}) != mark({"x": x.reshape(1, 3, 320, 240)})
    assert mark({"a": x, "b": x}) != mark({"a": x})
    assert mark({"x": np.ones(())}) != mark({"x": np.zeros(())})
    assert mark({"x": np.ones((0, 3, 400))}) == mark({"x": np.zeros((0, 3, 400))})
    assert mark({"x": np.array("a", object)}) != mark({"x": np.array("b", object)})
    assert mark({"x": np.array(["a", "b"], object)}) != mark({"x": np.array(["a", "c"], object)})
    assert mark({"x": np.arange(65)}) != mark({"x": np.arange(1, 66)})
    seen = set()
    for i in range(1000):
        seen.add(mark({"x": np.random.default_rng(i).standard_normal((1, 3, 50, 70))}) & 15)
    assert len(seen) == 16, "the low bits are as good as random"


def test_stats_are_a_copy_and_the_cache_knows_what_was_spent(runs: Runs) -> None:
    fast = watched()
    stats = fast.stats
    stats.hits = 99
    assert fast.stats.hits == 0
    before = fast.cache.stats.seconds_keeping
    fast.run(frame(200, 300))
    assert fast.cache.stats.seconds_keeping > before


def test_what_leaves_the_process_has_a_key_that_others_find() -> None:
    model, x = load(cnn()), frame()
    caches = [Cache(BIG, "lru"), Cache(BIG, "lru", below=Shelf())]
    for cache in caches:
        cached(model, cache).run(x)
    key = result_key(model, {"x": x})
    assert [list(cache) == [key] for cache in caches] == [False, True]
