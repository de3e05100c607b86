"""Measured loop orders and forks: what is timed, what is chosen from it, what is remembered. The times are made up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from reconv import _core, load
from reconv.engine import quickest
from reconv.engine.lower import Lowered, lower
from reconv.engine.orders import Order, forks_of, layers_of, order_of
from reconv.engine.quickest import CANDIDATES, Memo, Setting, measure
from reconv.graph import load as read
from tests.unit.engine.test_orders import CONV, classifier, two_heads

TEAM = _core.Threads(2)
BEST = Order("pixels", 16, 0)


def lowered() -> Lowered:
    return lower(read(classifier()), {"x": (1, 64, 7, 7)})


def forked() -> Lowered:
    return lower(read(two_heads()), {"x": (1, 8, 6, 6)})


class FakeClock:
    """Ten milliseconds for every op whatever is set, but for `BEST` and a fork that is on: `first` in the first
    measurement and then `second`."""

    step_seconds = 0.001
    first, second = 0.008, 0.008
    made: list[FakeClock]

    def __init__(self, *_: Any) -> None:
        self.asked: list[tuple[list[Setting], list[list[int]], int]] = []
        type(self).made.append(self)

    def times(self, settings: Sequence[Setting], groups: Sequence[Sequence[int]], rounds: int) -> Any:
        self.asked.append((list(settings), [list(ops) for ops in groups], rounds))
        good = self.first if len(self.asked) == 1 else self.second
        return np.array(
            [
                [good if s.orders.get(ops[0]) == BEST or i in s.forks else 0.010 for i, ops in enumerate(groups)]
                for s in settings
            ]
        )


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> type[FakeClock]:
    class Clock(FakeClock):
        made: list[FakeClock] = []  # noqa: RUF012  # each test has a class of its own

    monkeypatch.setattr(quickest, "_Clock", Clock)
    return Clock


def chosen(memo: Memo | None = None, budget: float = 4.0) -> dict[str, Order]:
    model = lowered()
    measure(model, TEAM, memo or Memo(), budget)
    return {layer: order_of(model.plan, op) for op, layer in layers_of(model.plan).items()}


def test_the_best_order_is_taken(clock: type[FakeClock]) -> None:
    default = {layer: order_of(lowered().plan, op) for op, layer in layers_of(lowered().plan).items()}
    assert chosen() == {**default, CONV: BEST}  # the matrix product is too small to be timed
    (one,) = clock.made
    (first, groups, rounds), (second, again, confirming) = one.asked
    ((op,),) = groups
    assert again == groups
    assert layers_of(lowered().plan)[op] == CONV
    assert [setting.orders for setting in first] == [{op: order} for order in (default[CONV], *CANDIDATES)]
    assert [setting.orders for setting in second] == [{op: default[CONV]}, {op: BEST}]
    assert rounds == quickest.ROUNDS
    assert confirming == quickest.CONFIRMING_ROUNDS


@pytest.mark.parametrize(("first", "second"), [(0.0098, 0.005), (0.011, 0.005), (0.008, 0.00995), (0.008, 0.012)])
def test_what_is_not_clear_or_not_confirmed_is_not_taken(clock: type[FakeClock], first: float, second: float) -> None:
    clock.first, clock.second = first, second
    assert chosen()[CONV] != BEST
    model = forked()
    measure(model, TEAM, Memo())
    assert model.plan.chosen_forks(2) == []


def test_what_is_known_is_not_timed_again(clock: type[FakeClock]) -> None:
    memo = Memo()
    assert chosen(memo)[CONV] == BEST
    assert chosen(memo)[CONV] == BEST
    assert len(clock.made) == 1
    alone = lowered()
    measure(alone, _core.Threads(1), memo)  # another number of threads is another measurement
    assert len(clock.made) == 2
    assert {order.outside for setting in clock.made[1].asked[0][0][1:] for order in setting.orders.values()} == {
        "pixels"
    }
    assert {(layer, threads) for layer, _, threads in memo.orders} == {(CONV, 1), (CONV, 2)}


def test_a_default_that_stays_is_remembered_too(clock: type[FakeClock]) -> None:
    clock.first = 0.02
    memo = Memo()
    before = chosen(memo)
    assert chosen(memo) == before
    assert len(clock.made) == 1
    assert len(clock.made[0].asked) == 1  # nothing to confirm


def test_a_slow_model_is_timed_less(clock: type[FakeClock]) -> None:
    for step_seconds in (0.02, 0.05, 1.0):
        clock.step_seconds = step_seconds
        chosen()
    steps = [sum(2 * rounds * len(settings) for settings, _, rounds in one.asked) for one in clock.made]
    for seconds, count in zip((0.02, 0.05, 1.0), steps, strict=True):
        assert count <= max(quickest.BUDGET_SECONDS / seconds, 2 * quickest.LEAST_TIMINGS)
    assert min(len(one.asked[0][0]) for one in clock.made) >= 2  # at least one candidate


def test_branches_that_are_quicker_at_once_run_at_once(clock: type[FakeClock]) -> None:
    memo, model = Memo(), forked()
    measure(model, TEAM, memo)
    assert model.plan.chosen_forks(2) == [0]
    assert list(memo.forks.items()) == [((forks_of(model.plan, 2)[0], model.plan.isa, 2), True)]
    (one,) = clock.made  # its convolutions are too small to be timed
    (first, groups, _), (second, _, _) = one.asked
    assert [setting.forks for setting in first] == [setting.forks for setting in second] == [(), (0,)]
    assert sorted(groups[0]) == sorted(op for branch in model.plan.forks(2)[0] for op in branch)
    again = forked()
    measure(again, TEAM, memo)
    assert again.plan.chosen_forks(2) == [0]
    assert len(clock.made) == 1
    measure(alone := forked(), _core.Threads(1), memo)  # one thread has no use for them
    assert alone.plan.chosen_forks(2) == []
    assert len(clock.made) == 1


def test_measured_for_real() -> None:
    """The clock times every layer in every setting, leaves the plan usable, and the results are the same bits."""
    model = lowered()
    op = next(iter(layers_of(model.plan)))
    settings = [Setting({op: BEST}), Setting({op: CANDIDATES[0]})]
    times = quickest._Clock(model, TEAM).times(settings, [[op]], 2)
    assert times.shape == (2, 1)
    assert (times > 0).all()
    x = np.random.default_rng(1).random((1, 64, 7, 7), np.float32)
    plain, measured = load(classifier(), threads=2), load(classifier(), threads=2, kernels="measured")
    assert (CONV, _core.default_isa(), 2) in quickest.PROCESS.orders
    assert np.array_equal(measured.run(x)["y"], plain.run(x)["y"])
    with measured.stream() as stream:
        assert np.array_equal(stream(x)["y"], plain.run(x)["y"])


def test_forks_measured_for_real() -> None:
    model = forked()
    (fork,) = model.plan.forks(2)
    ops = [op for branch in fork for op in branch]
    times = quickest._Clock(model, TEAM).times([Setting({}), Setting({}, (0,))], [ops, ops[1:]], 2)
    assert times.shape == (2, 2)
    assert (times[0] > 0).all()
    assert times[1, 0] > 0  # the time of all branches is that of the fork's first op
    first = min(ops)
    assert quickest._Clock(forked(), TEAM).times([Setting({}, (0,))], [[op for op in ops if op != first]], 1)[0, 0] == 0
    x = np.random.default_rng(1).random((1, 8, 6, 6), np.float32)
    plain, measured = load(two_heads(), threads=2), load(two_heads(), threads=2, kernels="measured")
    assert len(measured.kernels.forks) == 1
    for name, array in plain.run(x).items():
        assert np.array_equal(measured.run(x)[name], array)
