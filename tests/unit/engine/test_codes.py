"""Maps of codes in the core: one quantized convolution against numpy, streams of it, and what a plan refuses."""

from typing import Any

import numpy as np
import pytest

from reconv import _core

SIZE = (9, 13)


def quantized(values: np.ndarray[Any, Any], scale: float, zero: int) -> np.ndarray[Any, Any]:
    """uint8 codes as the kernels make them: in float32, to the nearest, ties to even."""
    steps = np.rint(values.astype(np.float32) * (np.float32(1) / np.float32(scale)))
    codes: np.ndarray[Any, Any] = np.clip(steps + zero, 0, 255).astype(np.uint8)
    return codes


class Net:
    """Frame -> codes -> 3x3 convolution with relu -> a table -> floats."""

    def __init__(self, isa: str, fused_table: bool = False) -> None:
        random = np.random.default_rng(3)
        (height, width), inputs, outputs = SIZE, 5, 19
        self.weight = random.integers(-128, 128, (outputs, inputs, 3, 3)).astype(np.int8)
        self.bias = random.integers(-1000, 1000, outputs).astype(np.int32)
        self.scale = random.uniform(0.001, 0.01, outputs).astype(np.float32)
        self.table = random.permutation(256).astype(np.uint8)
        plan = self.plan = _core.Plan(isa)
        self.frame = plan.map(height, width, inputs)
        plan.input(self.frame, (width * inputs, inputs, 1))
        self.codes = plan.map8(height, width, inputs, 7)
        plan.quantize(self.frame, self.codes, 0.02, 7)
        self.made, self.looked = plan.map8(height, width, outputs, 3), plan.map8(height, width, outputs, 3)
        last = self.looked if fused_table else self.made
        args = (self.weight, self.bias, self.scale, 0.02, 7, 0.05, 3, (1, 1), (1, 1), (1, 1), 1, ("relu",))
        plan.conv8(self.codes, last, *args, table=self.table if fused_table else None)
        if not fused_table:
            plan.table8(self.made, self.looked, self.table)
        floats = plan.map(height, width, outputs)
        plan.dequantize(self.looked, floats, 0.05, 3)
        plan.output(floats, (width * outputs, outputs, 1))
        plan.seal()

    def expected(self, frame: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The convolution's codes, in whole numbers up to the sums."""
        codes = np.pad(quantized(frame, 0.02, 7), ((1, 1), (1, 1), (0, 0)), constant_values=7).astype(np.int64) - 7
        windows = np.lib.stride_tricks.sliding_window_view(codes, (3, 3), (0, 1))
        sums = np.einsum("hwcyx,ocyx->hwo", windows, self.weight.astype(np.int64)) + self.bias
        real = np.maximum(sums.astype(np.float32) * (np.float32(0.02) * self.scale), 0)
        return quantized(real, 0.05, 3)


@pytest.mark.parametrize("isa", _core.isas())
def test_a_quantized_convolution_is_that_of_numpy(isa: str) -> None:
    net, other = Net(isa), Net(isa, fused_table=True)
    random = np.random.default_rng(1)
    frame = random.normal(size=(*SIZE, 5)).astype(np.float32)
    state, fused = (_core.State(n.plan, _core.Threads(1), False, 0.0) for n in (net, other))
    for _ in range(4):
        state.step([frame])
        fused.step([frame])
        expected = net.expected(frame)
        assert len(np.unique(expected)) > 3
        assert np.array_equal(state.array(net.made), expected)
        assert np.array_equal(state.array(net.looked), net.table[expected])
        assert np.array_equal(fused.array(other.looked), net.table[expected])
        frame = frame.copy()
        frame[random.integers(0, SIZE[0]), random.integers(0, SIZE[1])] += np.float32(0.3)


def test_a_change_within_a_code_stops_at_once() -> None:
    net = Net("")
    state = _core.State(net.plan, _core.Threads(1), False, 0.0)
    frame = np.full((*SIZE, 5), 0.2, np.float32)
    state.step([frame])
    frame = frame + np.float32(0.001)  # a twentieth of a step
    state.step([frame])
    assert state.stale(net.frame).all()
    assert not state.stale(net.codes).any()
    assert state.recomputed_macs == 0


def test_deviations_are_in_codes() -> None:
    net = Net("")
    state = _core.State(net.plan, _core.Threads(1), False, 0.1)
    state.step([np.random.default_rng(5).normal(size=(*SIZE, 5)).astype(np.float32)])
    codes = state.array(net.made).astype(np.float64)
    deviation = codes.std((0, 1))
    least = 0.05 * np.sqrt((deviation**2).mean())
    assert np.allclose(state.deviation(net.made), np.maximum(deviation, least), rtol=1e-5)


def test_misuse_is_refused() -> None:
    plan = _core.Plan("")
    floats, codes, other = plan.map(4, 4, 8), plan.map8(4, 4, 8, 1), plan.map8(4, 4, 8, 1)
    plan.input(floats, (32, 8, 1))
    with pytest.raises(ValueError, match="0 to 255"):
        plan.map8(4, 4, 8, 256)
    with pytest.raises(ValueError, match="a frame brings floats"):
        plan.input(codes, (32, 8, 1))
    with pytest.raises(ValueError, match="no map of codes"):
        plan.quantize(floats, floats, 0.1, 1)
    with pytest.raises(ValueError, match="a scale is positive"):
        plan.quantize(floats, codes, 0.0, 1)
    with pytest.raises(ValueError, match="multiple of 4"):
        plan.part_of(codes, 2, 4)
    plan.quantize(floats, codes, 0.1, 1)
    with pytest.raises(ValueError, match="no map of floats"):
        plan.unary(codes, other, ("silu",))
    with pytest.raises(ValueError, match="256 codes"):
        plan.table8(codes, other, np.zeros(255, np.uint8))
    weight, scale = np.ones((8, 8, 3, 3), np.int8), np.ones(8, np.float32)
    where = ((1, 1), (1, 1), (1, 1), 1)
    with pytest.raises(ValueError, match="another zero point"):
        plan.conv8(codes, other, weight, None, scale, 0.1, 2, 0.1, 1, *where)
    with pytest.raises(ValueError, match="32 bits"):
        plan.conv8(codes, other, weight, np.full(8, 2**31 - 1, np.int32), scale, 0.1, 1, 0.1, 1, *where)
    with pytest.raises(ValueError, match="handed out as floats"):
        plan.output(codes, (32, 8, 1))
