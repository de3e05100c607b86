"""Frame holding and the motion gate run the share of frames that they are given, and hold the right answer."""

from __future__ import annotations

import numpy as np
import pytest

from reconv.errors import InputError
from reconv.measure import gate_schedule, held, hold_schedule, thumbnail


@pytest.mark.parametrize(
    ("share", "runs"),
    [
        (1.0, [0, 1, 2, 3, 4, 5, 6, 7]),
        (0.5, [0, 2, 4, 6]),
        (0.25, [0, 4]),
        (0.01, [0]),
    ],
)
def test_holding_is_even(share: float, runs: list[int]) -> None:
    assert np.flatnonzero(hold_schedule(8, share)).tolist() == runs


def test_holding_may_be_uneven() -> None:
    assert hold_schedule(1000, 0.37).mean() == pytest.approx(0.37, abs=0.002)


def test_held_answers() -> None:
    assert held(list("abcdef"), np.array([True, False, False, True, False, True])) == list("aaaddf")


def test_gate_runs_where_something_moved() -> None:
    frames = [np.zeros((1, 3, 16, 16), np.float32) for _ in range(10)]
    frames[0][0, 0, 0, 0] = 1.0  # gives the value range
    for index in range(1, 10):
        frames[index][:] = frames[index - 1]
        if index == 6:
            frames[index][0, :, 4:12, 4:12] = 1.0
    assert np.flatnonzero(gate_schedule(frames, 0.2)).tolist() == [0, 6]


def test_gate_comes_near_the_share() -> None:
    random = np.random.default_rng(0)
    frames = [random.random((1, 3, 32, 32), np.float32)]
    for index in range(60):
        frames.append(frames[-1].copy())
        side = 4 * (1 + index % 7)
        frames[-1][..., :side, :side] = random.random((1, 3, side, side), np.float32)
    assert gate_schedule(frames, 0.3).mean() == pytest.approx(0.3, abs=0.1)


def test_a_share_outside_is_refused() -> None:
    with pytest.raises(InputError, match=r"share in \(0, 1\]"):
        hold_schedule(5, 0)
    with pytest.raises(InputError, match="0 frames"):
        gate_schedule([], 0.5)


def test_a_thumbnail_has_fewer_pixels_and_all_channels() -> None:
    assert thumbnail(np.zeros((1, 3, 128, 256), np.float32)).shape == (1, 3, 64, 128)
    assert thumbnail(np.zeros((1, 40), np.float32)).shape == (1, 40)
    picture = np.arange(192 * 128 * 3, dtype=np.uint8).reshape(192, 128, 3)
    assert np.array_equal(thumbnail(picture), picture[::2, ::2])
