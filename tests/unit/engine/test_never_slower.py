"""Streams where most is stale: plain steps give what dense ones give and say so, lists come back when it is calm."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from reconv.engine import PixelArithmetic, load
from reconv.engine.glance import Glance
from reconv.engine.item import DenseItems, Item
from reconv.engine.pace import EARLIEST, LOOK, SHORTEST
from reconv.engine.pixels import Picture
from reconv.engine.stream import Stream
from reconv.engine.tail import Tail, same_bits
from reconv.errors import InputError, TailError
from tests.unit.small import Array, cnn, frame, text

NOISE = 12  # frames: enough to turn plain


def _noise(count: int, seed: int = 0, batch: int = 1) -> Iterator[Array]:
    for index in range(count):
        yield frame(seed=seed + index, batch=batch)


def _same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return list(a) == list(b) and all(same_bits(a[name], b[name]) for name in a)


def _plain(stream: Stream) -> Stream:
    """The stream, fed noise until its steps are plain."""
    for x in _noise(NOISE, seed=500):
        stream(x)
    assert stream.last.dense
    return stream


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("tail", [False, True])
@pytest.mark.parametrize("tolerance", [0.0, 0.1])
def test_noise_runs_plain_with_the_bits_of_run(tolerance: float, tail: bool, batch: int) -> None:
    model = load(cnn(tail=tail), threads=2)
    stream, dense = model.stream(tolerance), []
    for x in _noise(NOISE, batch=batch):
        assert _same(stream(x), model.run(x)) or not stream.last.dense
        dense.append(stream.last.dense)
    assert dense[:2] == [True, False]
    assert all(dense[4:])
    assert stream.last.recomputed == 1
    assert stream.last.changed == tuple(info.name for info in model.outputs)


def test_it_can_be_turned_off() -> None:
    model = load(cnn())
    stream = model.stream(never_slower=False)
    for x in _noise(NOISE):
        assert _same(stream(x), model.run(x))
    assert not stream.last.dense


@pytest.mark.parametrize("tolerance", [0.0, 0.1])
def test_lists_come_back_when_it_is_calm(tolerance: float) -> None:
    model = load(cnn(tail=True))
    stream = _plain(model.stream(tolerance))
    x, steps = frame(seed=9), []
    for index in range(40):
        x = x.copy()
        x[0, :, 3, index : index + 2] += 1
        outputs = stream(x)
        assert _same(outputs, model.run(x)) or tolerance
        steps.append(stream.last)
    returned = next(index for index, step in enumerate(steps) if not step.dense)
    assert returned <= SHORTEST // EARLIEST + LOOK
    assert not any(step.dense for step in steps[returned:])
    assert steps[-1].recomputed < 0.5


def test_lists_are_tried_now_and_then_whatever_moves() -> None:
    stream = _plain(load(cnn()).stream())
    tried = []
    for x in _noise(3 * SHORTEST):
        stream(x)
        tried.append(not stream.last.dense)
    assert 1 <= sum(tried) <= 4


def test_pictures_of_a_plain_step_show_everything() -> None:
    stream = _plain(load(cnn()).stream())
    assert stream.stale_pixels().shape == (24, 32)
    assert stream.stale_pixels().all()
    assert (stream.recomputed_map((12, 16)) == 1).all()
    with pytest.raises(InputError, match="'z' is not an input that the engine reads"):
        stream.stale_pixels("z")


def test_reset_size_and_tolerance_in_between() -> None:
    model = load(cnn())
    stream = _plain(model.stream())
    stream.reset()
    still = frame(seed=9)
    dense = []
    for _ in range(2):
        assert _same(stream(still), model.run(still))
        dense.append(stream.last.dense)
    assert dense == [True, False]
    _plain(stream)
    small = frame(16, 16)
    for _ in range(2):
        assert _same(stream(small), model.run(small))
    assert not stream.last.dense
    stream = _plain(model.stream(0.1))
    stream.tolerance = 0
    for x in _noise(2 * SHORTEST):
        assert _same(stream(x), model.run(x))


def test_a_state_holds_no_more_for_it() -> None:
    model = load(cnn())
    stream = model.stream()
    stream(frame())
    held = stream.state_bytes
    assert _plain(stream).state_bytes == held


def test_a_tail_that_fails_in_a_plain_step(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(cnn(tail=True))
    stream = _plain(model.stream())
    with monkeypatch.context() as patch:

        def fail(*_: object) -> None:
            raise TailError("out of memory")

        patch.setattr(Tail, "run", fail)
        with pytest.raises(TailError, match="out of memory"):
            stream(frame())
    for x in _sequence_after_failure():
        assert _same(stream(x), model.run(x))


def _sequence_after_failure() -> list[Array]:
    x = frame(seed=3)
    moved = x.copy()
    moved[0, :, 4:6, 4:6] = 0
    return [x, moved, x]


def test_a_memory_limit_that_a_dense_run_cannot_keep_leaves_streams_as_they_were() -> None:
    limited = load(cnn(), memory_limit_bytes=1)
    with pytest.raises(InputError, match="memory_limit_bytes"):
        limited.run(frame())
    stream = limited.stream()
    for x in _noise(NOISE):
        assert _same(stream(x), load(cnn()).run(x))
    assert not stream.last.dense


def test_a_model_that_the_engine_has_no_part_of() -> None:
    model = load(text("g (float[4,4] x) => (float[4,4] y) { y = Round(x) }"))
    stream = model.stream()
    for index in range(NOISE):
        x = np.full((4, 4), index + 0.4, np.float32)
        assert _same(stream(x), model.run(x))


# --- what a glance sees ---


def _glance(model: Any, x: Array, tolerance: float = 0.0, weights: Any = None) -> Glance:
    compiled = model.prepare(x).compiled
    found = Glance(compiled, weights or {}, tolerance)
    assert found.moved({"x": x}) is None
    found.keep({"x": x})
    return found


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_glance_at_rows_of_a_frame(share: float) -> None:
    x = frame(64, 96)
    glance = _glance(load(cnn()), x)
    moved = x.copy()
    moved[:, 1, :, : int(96 * share)] += 1
    assert glance.moved({"x": moved}) == pytest.approx(share)
    assert glance.moved({"x": x}) == 0
    x[:] = -1  # what was kept is a copy
    assert glance.moved({"x": moved}) == pytest.approx(share)


def test_a_glance_uses_the_rule_of_the_cutoff() -> None:
    x = np.zeros((1, 3, 64, 96), np.float32)
    weights = {"x": np.array([1 / 3, 1 / 3, 1 / 12], np.float32)}  # deviations 1, 1 and 2
    glance = _glance(load(cnn()), x, 0.1, weights)
    for channel, by, seen in ((0, 0.17, 0.0), (0, 0.18, 0.5), (2, 0.34, 0.0), (2, 0.35, 0.5), (1, np.nan, 0.5)):
        moved = x.copy()
        moved[0, channel, :, :48] = by
        assert glance.moved({"x": moved}) == seen


def test_a_glance_at_frames_of_bytes_sees_their_floats() -> None:
    model, pixels = load(cnn()), PixelArithmetic(scale=1 / 255)
    frames = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3)).astype(np.uint8)
    frames[1, :, 24:] = frames[0, :, 24:]
    floats = [pixels.apply(picture) for picture in frames]
    pictures = [Picture(picture, pixels, np.dtype(np.float32)) for picture in frames]
    glance = _glance(model, floats[0])
    for second in (floats[1], pictures[1]):
        assert glance.moved({"x": second}) == 0.25
    glance.keep({"x": pictures[0]})
    for second in (floats[1], pictures[1]):
        assert glance.moved({"x": second}) == 0.25


def test_a_plain_step_borrows_a_dense_item(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a state with lists: that is what takes the time."""
    stream = _plain(load(cnn()).stream())
    ran: list[bool] = []
    step = Item.step

    def seen(self: Item, feeds: Any) -> Any:
        ran.append(self._dense_only)
        return step(self, feeds)

    monkeypatch.setattr(Item, "step", seen)
    stream(frame(seed=77))
    assert ran == [True]
    assert isinstance(stream._held, DenseItems)
