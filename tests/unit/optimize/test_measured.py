"""Two models taking turns, and measurements that are remembered."""

from __future__ import annotations

import numpy as np
import pytest

from reconv.cache import Cache
from reconv.errors import InputError
from reconv.exchange.rules.pool_before_conv1x1 import RULE
from reconv.exchange.view import View, look, look_again
from reconv.graph import Rewrite
from reconv.optimize.measured import Measured, Paired, drawn, paired, peer_of


class Clock:
    """Stands still but for what the calls take."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_ratio_of_two_calls() -> None:
    clock = Clock()
    random = np.random.default_rng(0)

    def first() -> None:
        clock.now += 0.010 * random.uniform(0.9, 1.1)

    def second() -> None:
        clock.now += 0.008 * random.uniform(0.9, 1.1)

    found = paired(first, second, 2.0, clock=clock)
    assert found.ratio == pytest.approx(0.8, rel=0.05)
    assert found.low < found.ratio < found.high < 1.0
    assert found.before_ms == pytest.approx(10, rel=0.05)
    assert found.after_ms == pytest.approx(8, rel=0.05)


def test_drift_of_the_machine_hits_both() -> None:
    clock = Clock()
    calls = 0

    def call() -> None:
        nonlocal calls
        calls += 1
        clock.now += 0.001 * (1 + calls / 100)

    found = paired(call, call, 1.0, clock=clock)
    assert found.ratio == pytest.approx(1.0, abs=0.05)
    assert found.low <= 1.0 <= found.high


def _views() -> tuple[View, View]:
    old = look(RULE.example.graph(), {"x": (1, 6, 9, 7)})
    for node in old.graph.nodes:
        answer = RULE.match(old, node)
        if isinstance(answer, Rewrite):
            return old, look_again(old, answer)
    raise AssertionError


@pytest.mark.parametrize("target", ["onnxruntime", "reconv", "openvino"])
def test_a_measurement_is_taken_once(target: str) -> None:
    old, new = _views()
    memo = Cache(1 << 20)
    meter = Measured(target, 1, memo, part_seconds=0.0, whole_seconds=0.0)
    first = meter.change(old, new)
    assert first is not None
    assert first.before > 0
    assert meter.measured == 1
    again = Measured(target, 1, memo, part_seconds=0.0, whole_seconds=0.0)
    assert again.change(old, new) == first
    assert again.measured == 0
    assert Measured(target, 1, part_seconds=0.0).change(old, new) is not None  # its own memo


def test_threads_sizes_and_weights_count_in_the_memo() -> None:
    old, new = _views()
    memo = Cache(1 << 20)
    Measured("onnxruntime", 1, memo, part_seconds=0.0).change(old, new)
    other = Measured("onnxruntime", 2, memo, part_seconds=0.0)
    other.change(old, new)
    assert other.measured == 1


def test_the_same_model_is_not_measured() -> None:
    old, _ = _views()
    meter = Measured("onnxruntime", 1)
    assert meter.change(old, old) is None
    assert meter.whole(old, old) == Paired(0.0, 0.0, 1.0, 1.0, 1.0)
    assert meter.measured == 0


def test_an_unknown_target() -> None:
    with pytest.raises(InputError, match="no target is called 'tensorrt'; there are reconv, onnxruntime"):
        peer_of("tensorrt")


def test_drawn_values_have_the_types_of_the_inputs() -> None:
    found = drawn({"x": (2, 3), "n": (4,)}, {"x": np.dtype(np.float16), "n": np.dtype(np.int64)})
    assert found["x"].dtype == np.float16
    assert found["n"].dtype == np.int64
    assert not found["n"].any()


@pytest.mark.parametrize(
    ("whole", "gain_ms", "agrees"),
    [
        (Paired(10.0, 9.5, 0.95, 0.90, 0.99), 0.5, True),  # faster
        (Paired(10.0, 9.95, 0.995, 0.98, 1.01), 0.1, True),  # 1 % of 10 ms was gained, and it may be that
        (Paired(10.0, 10.01, 1.001, 0.98, 1.02), 0.1, False),
        (Paired(10.0, 9.98, 0.998, 0.995, 1.01), 0.4, False),  # 4 % would have been seen
    ],
)
def test_what_gains_little_has_to_agree_with_the_whole(
    whole: Paired, gain_ms: float, agrees: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = _views()
    monkeypatch.setattr(Measured, "whole", lambda *_: whole)
    assert Measured("onnxruntime", 1).agrees(old, new, gain_ms) is agrees


@pytest.mark.parametrize("kept", [{"ms": 3.0}, "nonsense", {"before_ms": 1.0}])
def test_a_memo_that_holds_something_else_is_measured_anew(kept: object) -> None:
    old, new = _views()

    class Memo(Cache):
        def get(self, key: object, default: object = None) -> object:
            return kept

    meter = Measured("onnxruntime", 1, Memo(1 << 20), part_seconds=0.0)
    assert meter.change(old, new) is not None
    assert meter.measured == 1


def test_a_lucky_session_confirms_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The middle ratio, and the widest interval of all."""
    found = {0: Paired(10.0, 9.5, 0.95, 0.94, 0.96), 1: Paired(10.0, 10.1, 1.01, 0.99, 1.03)}
    found[2] = Paired(10.0, 9.9, 0.99, 0.98, 0.995)
    monkeypatch.setattr(Measured, "_ask", lambda *arguments: found[arguments[4]])
    confirmed = Measured("onnxruntime", 1).confirmed(*_views())
    assert (confirmed.ratio, confirmed.low, confirmed.high) == (0.99, 0.94, 1.03)
