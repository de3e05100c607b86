"""What is computed of an array is computed once, and forgotten with the array."""

from __future__ import annotations

from typing import Any

import numpy as np

from reconv.exchange.rules.once import once_for_each


def test_each_array_and_argument_once() -> None:
    asked: list[Any] = []

    @once_for_each
    def total(array: np.ndarray[Any, Any], times: int) -> float:
        asked.append((array, times))
        return float(array.sum()) * times

    one, equal = np.ones(3), np.ones(3)
    assert [total(one, 2), total(one, 2), total(one, 3), total(equal, 2)] == [6.0, 6.0, 9.0, 6.0]
    assert [times for _, times in asked] == [2, 3, 2]
    assert [array is one for array, _ in asked] == [True, True, False]  # equal is not the same


def test_an_array_that_is_gone_is_forgotten() -> None:
    results = iter(range(100))

    @once_for_each
    def next_of(_: np.ndarray[Any, Any]) -> int:
        return next(results)

    seen = set()
    for _ in range(20):  # memory, and with it the identity, is used again
        array = np.zeros(1000)
        seen.add(next_of(array))
        del array
    assert len(seen) == 20
