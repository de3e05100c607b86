"""First frames that say nothing about the scale of the maps: the stream keeps running dense until one does."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from reconv import _core
from tests.property.plans import Draft

Floats = NDArray[np.float32]
SHAPE = (24, 24, 3)


def make(tolerance: float) -> tuple[_core.Plan, _core.State]:
    random = np.random.default_rng(0)
    d = Draft()
    d.input(d.map(*SHAPE), "NHWC")
    out, pooled = d.map(*SHAPE), d.map(1, 1, 3)
    weight = random.standard_normal((3, 3, 3, 3)).astype(np.float32)
    d.conv(0, out, weight, None, pads=(1, 1), activation=("silu",))
    d.op("global_pool", pooled, x=out, kind="avg", cut=True)
    d.output(pooled)
    plan = d.build("")
    return plan, _core.State(plan, _core.Threads(1), False, tolerance)


def step(stream: _core.State, frame: Floats) -> bool:
    """Whether the step was dense."""
    stream.step([frame])
    return stream.was_dense


def noise(seed: int) -> Floats:
    return np.random.default_rng(seed).uniform(0, 1, SHAPE).astype(np.float32)


def full(value: float) -> Floats:
    return np.full(SHAPE, value, np.float32)


def with_one(value: float) -> Floats:
    frame = noise(1)
    frame[3, 4, 1] = value
    return frame


FIRST = {
    "black": full(0.0),
    "constant 0.1": full(0.1),
    "constant 114 / 255": full(114 / 255),
    "constant 114": full(114.0),
    "one colour": full(1.0) * np.array([0.1, 0.7, 0.3], np.float32),
    "not a number": with_one(np.nan),
    "infinite": with_one(np.inf),
    "too large to square": with_one(3e38),
}


@pytest.mark.parametrize("first", FIRST)
def test_a_degenerate_first_frame_is_estimated_again(first: str) -> None:
    plan, stream = make(0.1)
    fresh = make(0.1)[1]
    dense = [step(stream, frame) for frame in (FIRST[first], FIRST[first], FIRST[first], noise(2))]
    assert dense == [True] * 4, "ran sparse on deviations that mean nothing"
    fresh.step([noise(2)])
    for x in plan.cut_maps:
        np.testing.assert_array_equal(stream.deviation(x), fresh.deviation(x))
        assert np.isfinite(stream.deviation(x)).all()
        assert (stream.deviation(x) > 1e-3).all()
    assert not step(stream, noise(2) + np.float32(1e-5)), "still dense after a frame that gives deviations"
    assert stream.recomputed_macs == 0, "a change far below the tolerance was not cut off"
    assert not step(stream, noise(3))
    assert stream.recomputed_macs == plan.macs


def test_exact_streams_need_no_deviations() -> None:
    for first in FIRST.values():
        stream = make(0.0)[1]
        stream.step([first])
        stream.step([first])
        assert not stream.was_dense


def test_later_degenerate_frames_change_no_deviation() -> None:
    plan, stream = make(0.1)
    stream.step([noise(1)])
    before = {x: stream.deviation(x) for x in plan.cut_maps}
    for frame in FIRST.values():
        stream.step([frame])
        assert not stream.was_dense
    for x, deviation in before.items():
        np.testing.assert_array_equal(stream.deviation(x), deviation)


def test_deviations_are_those_of_the_channels() -> None:
    """sigma_c = max(std of channel c, 0.05 RMS of the map's stds); below 16 pixels the RMS of the vector."""
    plan, stream = make(0.1)
    frame = noise(5) * np.array([1.0, 0.3, 0.001], np.float32)
    stream.step([frame])
    deviations = frame.astype(np.float64).std(axis=(0, 1))
    expected = np.maximum(deviations, 0.05 * np.sqrt((deviations**2).mean()))
    assert expected[2] > deviations[2]
    np.testing.assert_allclose(stream.deviation(0), expected, rtol=1e-5)
    pooled = plan.cut_maps[-1]
    vector = stream.array(pooled)[0, 0].astype(np.float64)
    np.testing.assert_allclose(stream.deviation(pooled), np.full(3, np.sqrt((vector**2).mean())), rtol=1e-5)
