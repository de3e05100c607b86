"""NaN stays NaN whatever its payload, and a constant side input does not keep a stream dense."""

from __future__ import annotations

import numpy as np
import pytest

from reconv import _core

PAYLOADS = np.array([0x7FC00000, 0x7FC00001, 0xFFC00001, 0x7FFFFFFF, 0x7F800001], np.uint32).view(np.float32)


def unary(isa: str, values: np.ndarray, *ops: str) -> np.ndarray:
    """One map (1, W, 2) of (value, 1) through the named op."""
    plan = _core.Plan(isa)
    width = len(values)
    x, out = plan.map(1, width, 2), plan.map(1, width, 2)
    plan.input(x, (2 * width, 2, 1))
    if ops == ("softmax",):
        plan.softmax(x, out)
    elif ops == ("max_pool",):
        plan.max_pool(x, out, (1, 1), (1, 1), (0, 0), (1, 1))
    else:
        plan.unary(x, out, ops)
    plan.output(out, (2 * width, 2, 1))
    plan.seal()
    state = _core.State(plan, _core.Threads(1), True, 0.0)
    state.step([np.stack([values, np.ones_like(values)], -1)])
    result = np.empty((width, 2), np.float32)
    state.read(0, result)
    return result


@pytest.mark.parametrize("isa", _core.isas())
@pytest.mark.parametrize("op", ["sigmoid", "silu", "tanh", "exp", "softmax", "max_pool"])
def test_a_nan_of_any_payload_stays_one(isa: str, op: str) -> None:
    assert np.isnan(unary(isa, PAYLOADS, op)[:, 0]).all()


@pytest.mark.parametrize("isa", _core.isas())
@pytest.mark.parametrize("kind", ["max", "min"])
@pytest.mark.parametrize("channels", [1, 35])
def test_maxima_of_two_maps_keep_a_nan(isa: str, kind: str, channels: int) -> None:
    for a, b in ((np.nan, 1.0), (1.0, np.nan)):
        plan = _core.Plan(isa)
        x, y, out = (plan.map(1, 1, channels) for _ in range(3))
        plan.input(x, (channels, channels, 1))
        plan.input(y, (channels, channels, 1))
        plan.binary(x, y, out, kind, ("none",))
        plan.output(out, (channels, channels, 1))
        plan.seal()
        state = _core.State(plan, _core.Threads(1), True, 0.0)
        state.step([np.full((1, 1, channels), v, np.float32) for v in (a, b)])
        result = np.empty((1, 1, channels), np.float32)
        state.read(0, result)
        assert np.isnan(result).all()


def two_inputs(picture: np.ndarray, side: np.ndarray) -> list[bool]:
    """Whether each of four steps at a tolerance was dense, for a sum of two inputs that stay as they are."""
    plan = _core.Plan()
    x, y, out = (plan.map(8, 8, 3) for _ in range(3))
    plan.input(x, (24, 3, 1))
    plan.input(y, (24, 3, 1))
    plan.binary(x, y, out, "add", ("none",))
    plan.output(out, (24, 3, 1))
    plan.seal()
    state, dense = _core.State(plan, _core.Threads(1), False, 0.1), []
    for _ in range(4):
        state.step([picture, side])
        dense.append(state.was_dense)
    return dense


CONSTANT = np.full((8, 8, 3), 0.5, np.float32)


def test_a_constant_side_input_does_not_keep_a_stream_dense() -> None:
    noise = np.random.default_rng(0).random((8, 8, 3)).astype(np.float32)
    assert two_inputs(noise, CONSTANT) == [True, False, False, False]


def test_a_stream_whose_inputs_are_all_constant_stays_dense() -> None:
    assert two_inputs(CONSTANT, CONSTANT) == [True, True, True, True]
