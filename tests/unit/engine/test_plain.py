"""Plain steps on the faster of two: measured once, of streams with a tolerance that ask for it, right either way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from reconv.engine import load
from reconv.engine.compiled import Compiled
from reconv.engine.item import DenseItems
from reconv.engine.pixels import Feed
from reconv.engine.plain import TURNS, FasterDense
from reconv.engine.tail import Tail, same_bits
from reconv.errors import ProfileError, TailError
from tests.unit.small import Array, cnn, frame

NOISE = 12  # frames: enough to turn plain


def clock(ours: float, theirs: float) -> Callable[[], float]:
    """Seconds as if each run of ours, and each of theirs in turn, took so long."""

    def times() -> Iterator[float]:
        now = 0.0
        while True:
            for taken in (ours, theirs):
                yield now
                now += taken
                yield now

    return times().__next__


def dense_items(model: Any) -> DenseItems:
    return model.prepare(frame()).dense  # type: ignore[no-any-return]


class Counted:
    """Our dense run, counted."""

    def __init__(self, items: DenseItems) -> None:
        self._items, self.count = items, 0

    def __call__(self, feeds: Mapping[str, Feed]) -> dict[str, Any]:
        self.count += 1
        return self._items.run_one(feeds)


@pytest.mark.parametrize(("theirs", "runtime"), [(0.5, "onnxruntime"), (0.97, "reconv"), (2.0, "reconv")])
@pytest.mark.parametrize("tail", [False, True])
def test_the_faster_one_is_taken_and_measured_once(theirs: float, runtime: str, tail: bool) -> None:
    model = load(cnn(tail=tail))
    items, feeds = dense_items(model), {model.inputs[0].name: frame()}
    faster, ours = FasterDense(items.compiled, clock(1.0, theirs)), Counted(items)
    expected = model.run(frame())
    for run in range(3):
        found = faster.run(ours, feeds)
        assert faster.runtime == runtime
        assert ours.count == TURNS + (run + 1 if runtime == "reconv" else 0)
        assert list(found) == list(expected)
        for name in expected:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-5)
            assert same_bits(found[name], expected[name]) or runtime == "onnxruntime"


def test_where_onnx_runtime_fails_ours_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Tail, feeds: Mapping[str, Array]) -> dict[str, Any]:
        raise TailError("no")

    model = load(cnn())
    items = dense_items(model)
    monkeypatch.setattr(Tail, "run", fail)
    faster = FasterDense(items.compiled, clock(1.0, 0.1))
    faster.run(items.run_one, {model.inputs[0].name: frame()})
    assert faster.runtime == "reconv"


@pytest.mark.parametrize("batch", [1, 2])
def test_a_stream_takes_it_where_it_was_asked_to(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    taken: list[str] = []

    def other(self: FasterDense, ours: Any, feeds: Mapping[str, Feed]) -> dict[str, Any]:
        taken.append("faster")
        return {name: value + np.float32(0.5) for name, value in ours(feeds).items()}

    monkeypatch.setattr(FasterDense, "run", other)
    model = load(cnn())
    for tolerance, dense, wanted in ((0.1, "measured", True), (0.1, "reconv", False), (0.0, "measured", False)):
        taken.clear()
        stream = model.stream(tolerance, dense=dense)  # type: ignore[arg-type]
        for seed in range(NOISE):
            x = frame(seed=seed, batch=batch)
            outputs = stream(x)
        assert stream.last.dense
        assert bool(taken) == wanted
        expected = model.run(x)
        for name in expected:
            off = np.float32(0.5) if wanted else np.float32(0)
            np.testing.assert_allclose(outputs[name], expected[name] + off, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tolerance", [0.0, 0.05])
def test_it_is_right_with_the_clock_that_there_is(tolerance: float) -> None:
    model = load(cnn(tail=True), threads=2)
    stream = model.stream(tolerance, dense="measured")
    for seed in range(NOISE):
        x = frame(seed=seed)
        found, expected = stream(x), model.run(x)
        for name in expected:
            if stream.last.dense:
                np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-5)
            assert same_bits(found[name], expected[name]) or tolerance
    assert stream.last.dense


def test_outputs_that_nothing_computes_keep_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    items = dense_items(load(cnn()))
    compiled: Compiled = items.compiled
    assert FasterDense(compiled).runtime is None
    compiled.passed = (compiled.graph.inputs[0].name,)
    faster = FasterDense(compiled, clock(1.0, 0.1))
    assert faster._if_faster(items.run_one, {compiled.graph.inputs[0].name: frame()}) is None


def test_another_word_is_refused() -> None:
    with pytest.raises(ProfileError, match="dense is 'fast', expected one of reconv, measured"):
        load(cnn()).stream(0.1, dense="fast")  # type: ignore[arg-type]
