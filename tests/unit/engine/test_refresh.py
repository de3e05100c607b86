"""Dense steps in between: `refresh_every`."""

from __future__ import annotations

import numpy as np
import pytest

from reconv.engine import load
from reconv.engine.tail import same_bits
from reconv.errors import ProfileError
from tests.unit.small import Array, cnn, frame


def _drifting(count: int) -> list[Array]:
    """Frames that move by little enough to be within a tolerance of 0.5 of each other."""
    noise = np.random.default_rng(1).normal(0, 0.1, (count, 1, 3, 24, 32))
    return [np.asarray(frame() + each, np.float32) for each in noise]


@pytest.mark.parametrize("every", [1, 2, 3, 7])
def test_every_nth_step_is_dense(every: int) -> None:
    model = load(cnn(tail=True))
    stream = model.stream(0.5, refresh_every=every)
    dense = []
    for x in _drifting(15):
        outputs = stream(x)
        dense.append(stream.last.dense)
        assert same_bits(outputs["y"], model.run(x)["y"]) == stream.last.dense
    assert dense == [index % every == 0 for index in range(15)]


def test_a_reset_counts_as_one() -> None:
    stream = load(cnn()).stream(0.5, refresh_every=4)
    dense = []
    for index, x in enumerate(_drifting(9)):
        if index == 2:
            stream.reset()
        stream(x)
        dense.append(stream.last.dense)
    assert [index for index, each in enumerate(dense) if each] == [0, 2, 6]


def test_without_it_only_the_first_is_dense() -> None:
    stream = load(cnn()).stream(0.5)
    dense = []
    for x in _drifting(40):
        stream(x)
        dense.append(stream.last.dense)
    assert dense == [True] + 39 * [False]


def test_exact_streams_stay_exact() -> None:
    model = load(cnn())
    stream = model.stream(refresh_every=2)
    for x in _drifting(6):
        assert same_bits(stream(x)["y"], model.run(x)["y"])


@pytest.mark.parametrize("every", [0, -1, 2.5, True])
def test_numbers_that_make_no_sense(every: float) -> None:
    with pytest.raises(ProfileError, match=r"refresh_every is .* expected a number of steps from 1 up"):
        load(cnn()).stream(refresh_every=every)  # type: ignore[arg-type]
