"""Streams: exact at tolerance 0, cheap when nothing moves, dense again after a failure."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from reconv.engine import MapProfile, Model, Profile, Step, load
from reconv.engine.compiled import KEPT_SIZES
from reconv.engine.tail import Tail, same_bits
from reconv.errors import ClosedError, InputError, ProfileError, TailError
from tests.unit.small import Array, cnn, frame, network


def _sequence(count: int = 6, batch: int = 1) -> list[Array]:
    """Frames of which each differs from the last in a small patch; the fourth does not differ."""
    random = np.random.default_rng(3)
    frames = [frame(batch=batch)]
    for index in range(1, count):
        x = frames[-1].copy()
        if index != 3:
            y, column = random.integers(0, 20), random.integers(0, 28)
            x[:, :, y : y + 4, column : column + 4] = random.standard_normal((batch, 3, 4, 4))
        frames.append(x)
    return frames


def _noisy(x: Array) -> Array:
    """Every pixel moved by about a hundredth of the deviation."""
    noise = np.random.default_rng(1).normal(0, 0.01, x.shape)
    return np.asarray(x + noise, np.float32)


def _same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return list(a) == list(b) and all(same_bits(a[name], b[name]) for name in a)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("tail", [False, True])
def test_exact_at_tolerance_zero(tail: bool, batch: int) -> None:
    model = load(cnn(tail=tail), threads=2)
    stream = model.stream()
    assert stream.last == Step()
    steps = []
    for x in _sequence(batch=batch):
        assert _same(stream({"x": x}), model.run({"x": x}))
        steps.append(stream.last)
    assert steps[0].dense
    assert steps[0].recomputed == 1
    assert steps[0].changed == tuple(info.name for info in model.outputs)
    assert not any(step.dense for step in steps[1:])
    assert steps[3].recomputed == 0
    assert steps[3].changed == ()
    assert 0 < steps[4].recomputed <= 1
    assert all(step.seconds > 0 for step in steps)
    assert not _same(model.run(_sequence()[0]), model.run(_sequence()[1]))  # the comparison can fail


def test_reset_and_close() -> None:
    model, x = load(cnn(tail=True)), frame()
    with model.stream(0.1) as stream:
        assert stream.state_bytes == 0
        stream(x)
        held = stream.state_bytes
        assert held >= model.placement().state_bytes > 0
        stream(x)
        assert stream.last.recomputed == 0
        stream.reset()
        stream(x)
        assert stream.last.dense
        assert stream.state_bytes == held
    for call in (lambda: stream(x), stream.reset, stream.stale_pixels):
        with pytest.raises(ClosedError, match="the stream is closed"):
            call()
    stream.close()
    assert stream.state_bytes == 0


def test_another_size_or_batch_starts_anew() -> None:
    model = load(cnn())
    stream = model.stream()
    for x in (frame(), frame(), frame(16, 16), frame(16, 16, batch=2), frame()):
        assert _same(stream(x), model.run(x))
    assert stream.last.dense


def test_more_streams_than_sizes_are_kept() -> None:
    model = load(cnn())
    frames = [frame(16 + 2 * index, 16) for index in range(KEPT_SIZES + 2)]
    streams = [model.stream() for _ in frames]
    for turn in range(3):
        for stream, x in zip(streams, frames, strict=True):
            stream(x)
            assert stream.last.dense == (turn == 0)


def test_items_of_a_batch_have_states_of_their_own() -> None:
    stream = load(cnn()).stream()
    x = frame(batch=2)
    stream(x)
    x[1, :, 5, 6] += 1
    stream(x)
    assert not stream.stale_pixels(item=0).any()
    assert np.argwhere(stream.stale_pixels(item=1)).tolist() == [[5, 6]]
    assert 0 < stream.last.recomputed < 1
    with pytest.raises(InputError, match="no batch item 2"):
        stream.stale_pixels(item=2)


def test_where_a_step_worked() -> None:
    stream = load(cnn()).stream()
    with pytest.raises(InputError, match="has not had a frame"):
        stream.recomputed_map((24, 32))
    x = frame()
    stream(x)
    np.testing.assert_allclose(stream.recomputed_map((24, 32)), 1, rtol=1e-6)
    stream(x)
    assert not stream.recomputed_map((24, 32)).any()
    x = x.copy()
    x[0, :, 10, 12] += 1
    stream(x)
    worked = stream.recomputed_map((24, 32))
    assert worked.dtype == np.float32
    assert worked.mean() == pytest.approx(stream.last.recomputed, abs=1e-6)
    assert worked[10, 12] == pytest.approx(1)
    assert worked[23, 31] == 0
    with pytest.raises(InputError, match="'z' is not an input that the engine reads"):
        stream.stale_pixels("z")


def test_outputs_are_the_callers() -> None:
    stream, x = load(cnn(tail=True)).stream(), frame()
    first = stream(x)
    kept = {name: value.copy() for name, value in first.items()}
    for value in first.values():
        value[:] = -1
    second = stream(x)
    assert _same(second, kept)


def test_a_failing_tail_makes_the_next_step_dense(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(cnn(tail=True))
    stream = model.stream()
    frames = _sequence()
    stream(frames[0])
    stream(frames[1])
    with monkeypatch.context() as patch:

        def fail(*_: object) -> None:
            raise TailError("out of memory")

        patch.setattr(Tail, "run", fail)
        with pytest.raises(TailError, match="out of memory"):
            stream(frames[2])
    assert _same(stream(frames[2]), model.run(frames[2]))
    assert stream.last.dense
    assert _same(stream(frames[4]), model.run(frames[4]))
    assert not stream.last.dense


def test_a_wrong_input_leaves_the_stream_as_it_was() -> None:
    model = load(cnn())
    stream = model.stream()
    frames = _sequence()
    stream(frames[0])
    with pytest.raises(InputError, match="expected float32"):
        stream(frames[1].astype(np.uint8))
    with pytest.raises(InputError, match="add or drop axes"):
        stream(frames[1][0])
    assert _same(stream(frames[1]), model.run(frames[1]))
    assert not stream.last.dense


def test_streams_on_several_threads_give_the_same_bits() -> None:
    model = load(cnn(tail=True), threads=2)
    frames = _sequence(20)
    alone = model.stream(0.1)
    expected = [alone(x) for x in frames]
    wrong: list[int] = []

    def work(index: int) -> None:
        stream = model.stream(0.1)
        for x, result in zip(frames, expected, strict=True):
            if not _same(stream(x), result):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_tolerance_saves_work_and_can_be_set() -> None:
    model = load(cnn())
    x = frame()
    noisy = _noisy(x)
    exact, tolerant = model.stream(), model.stream(tolerance=0.1)
    for stream in (exact, tolerant):
        stream(x)
        stream(noisy)
    assert exact.last.recomputed == 1
    assert tolerant.last.recomputed == 0
    tolerant.tolerance = 0
    assert tolerant.tolerance == 0
    assert _same(tolerant(noisy), model.run(noisy))
    dense = []
    for value in (0, 0.1):  # as it was: nothing to forget; above 0: the deviations have to be measured
        tolerant.tolerance = value
        tolerant(noisy)
        dense.append(tolerant.last.dense)
    assert dense == [False, True]
    with pytest.raises(ProfileError, match="expected a number from 0"):
        tolerant.tolerance = -1


def test_profiles(tmp_path: Path) -> None:
    model = load(cnn())
    x = frame()
    noisy = _noisy(x)

    def share(profile: Profile) -> float:
        stream = model.stream(profile=profile)
        stream(x)
        stream(noisy)
        return stream.last.recomputed

    # with a factor on the input alone, the first convolution runs, and is cut off at its own tolerance
    assert share(Profile(0.1)) == 0
    assert share(Profile(0.1, {"x": MapProfile(factor=0.01)})) > 0.2
    assert share(Profile(0.1, {"x": MapProfile(weights=(1e6,) * 3)})) > 0.2
    assert share(Profile(0.1, {"x": MapProfile(deviation=(1e-3,) * 3)})) > 0.2
    assert share(Profile(0.1, {"x": MapProfile(weights=(0.0,) * 3)})) == 0
    path = tmp_path / "p.json"
    Profile(0.2, model=model.digest).save(path)
    assert model.stream(profile=path).tolerance == 0.2
    assert model.stream(0.3, profile=path).tolerance == 0.3
    assert model.stream(profile=json.loads(path.read_text())).tolerance == 0.2


def test_profiles_that_do_not_belong() -> None:
    model: Model = load(cnn())
    with pytest.raises(ProfileError, match="was made for model 00"):
        model.stream(profile=Profile(0.1, model="00"))
    with pytest.raises(ProfileError, match="speaks of a map 'nowhere'"):
        model.stream(profile=Profile(0.1, {"nowhere": MapProfile()}))(frame())
    with pytest.raises(ProfileError, match="map 'x', 2 channels"):
        model.stream(profile=Profile(0.1, {"x": MapProfile(weights=(1.0, 1.0))}))(frame())


def test_pooling_stops_what_it_swallows() -> None:
    """A pixel below its window's maximum changes no maximum: what reads the pooled map has nothing to do."""
    nodes = [
        helper.make_node("MaxPool", ["x"], ["pooled"], kernel_shape=[5, 5], strides=[1, 1], pads=[2, 2, 2, 2]),
        helper.make_node("Conv", ["pooled", "w"], ["y"], pads=[1, 1, 1, 1]),
    ]
    weight = np.random.default_rng(0).normal(0, 1, (8, 3, 3, 3)).astype(np.float32)
    model = load(network(nodes, {"w": weight}, [1, 3, 24, 32], ["y"]))
    stream = model.stream()
    assert stream.cut_maps == {}
    x = np.random.default_rng(1).uniform(0, 1, (1, 3, 24, 32)).astype(np.float32)
    x[:, :, 10, 10] = 0  # the maximum of no window
    stream(x)
    assert stream.cut_maps == {"x": (24, 32, 3), "pooled": (24, 32, 3), "y": (24, 32, 8)}
    lower = x.copy()
    lower[:, :, 10, 10] = -1
    assert _same(stream(lower), model.run(lower))
    assert stream.last.recomputed == 0
    assert stream.stale_pixels().any()
    higher = lower.copy()
    higher[:, :, 10, 10] = 3
    assert _same(stream(higher), model.run(higher))
    assert 0 < stream.last.recomputed < 0.2
