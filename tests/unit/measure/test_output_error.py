"""The error of raw outputs: zero when equal, one when frozen, and it sees a wrong answer."""

from __future__ import annotations

import numpy as np
import pytest

from reconv.measure import OutputError


def outputs(value: float) -> dict[str, np.ndarray]:
    return {"y": np.full((1, 4), value, np.float32)}


def test_equal_frozen_and_between() -> None:
    equal, frozen, half = OutputError(), OutputError(), OutputError()
    for value in (0.0, 2.0, 4.0):
        equal.add(outputs(value), outputs(value))
        frozen.add(outputs(value), outputs(0.0))
        half.add(outputs(value), outputs(value / 2))
    assert (equal.of_frozen, equal.mean, equal.largest) == (0, 0, 0)
    assert frozen.of_frozen == 1
    assert half.of_frozen == pytest.approx(0.5)
    assert half.largest == 2


def test_wrong_where_frozen_is_right() -> None:
    error = OutputError()
    error.add(outputs(1.0), outputs(1.0))
    error.add(outputs(1.0), outputs(1.5))
    assert error.of_frozen == float("inf")


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="outputs"):
        OutputError().add(outputs(1.0), {})
    with pytest.raises(ValueError, match="output y"):
        OutputError().add(outputs(1.0), {"y": np.zeros(3, np.float32)})
