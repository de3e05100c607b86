"""When a stream turns plain and when it tries lists again: counts alone."""

from __future__ import annotations

import pytest

from reconv.engine.pace import EARLIEST, LIMIT, LONGEST, LOOK, SHORTEST, Pace


def _listed(share: float, most: int = 1000) -> int | None:
    """Steps with lists at one share until the pace is plain."""
    pace = Pace()
    for step in range(1, most):
        pace.listed(share, lambda: 1.0)
        if pace.plain:
            return step
    return None


def _wait(pace: Pace, moved: float | None = None) -> int:
    """Plain steps until lists are tried, where every look sees `moved`."""
    for step in range(10 * LONGEST):
        assert not (pace.keeps and pace.looks)
        if pace.returns(moved if pace.looks else None):
            return step
    raise AssertionError("never")


@pytest.mark.parametrize(("share", "steps"), [(1.0, 2), (0.85, 3), (LIMIT, None), (0.3, None)])
def test_debt_turns_a_stream_plain(share: float, steps: int | None) -> None:
    assert _listed(share) == steps


def test_a_cut_now_and_then_does_not() -> None:
    pace = Pace()
    for step in range(1000):
        pace.listed(1.0 if step % 10 == 0 else 0.5, lambda: 1.0)
        assert not pace.plain


def test_waits_double_while_lists_do_not_pay_and_shrink_when_they_did() -> None:
    pace, waits = Pace(), []
    for _ in range(8):
        while not pace.plain:
            pace.listed(1.0, lambda: 1.0)
        waits.append(_wait(pace))
    assert waits == [SHORTEST, 128, 256, LONGEST, LONGEST, LONGEST, LONGEST, LONGEST]
    for _ in range(100):
        pace.listed(0.1, lambda: 1.0)
    while not pace.plain:
        pace.listed(1.0, lambda: 1.0)
    assert _wait(pace) == SHORTEST


def test_the_tries_cost_little() -> None:
    """Of a thousand steps of noise; a step with lists is taken to cost 1.4 dense ones, the one before it 1.1."""
    pace, cost = Pace(), 1.1
    fresh = False
    for _ in range(1000):
        if not pace.plain:
            cost += 1.1 if fresh else 1.4
            if not fresh:
                pace.listed(1.0, lambda: 1.0)
            fresh = False
        elif pace.returns(1.0 if pace.looks else None):
            cost, fresh = cost + 1.1, False
        else:
            cost += 1.0
    assert cost < 1.02 * 1000


@pytest.mark.parametrize(("moved", "soon"), [(0.0, True), (0.2, True), (0.3, False), (1.0, False)])
def test_calm_inputs_bring_lists_back_soon(moved: float, soon: bool) -> None:
    pace = Pace()
    while not pace.plain:
        pace.listed(1.0, lambda: 0.9)
    waited = _wait(pace, moved)
    assert (waited <= SHORTEST // EARLIEST + LOOK) == soon
    assert soon or waited == SHORTEST
