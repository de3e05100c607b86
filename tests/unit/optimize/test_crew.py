"""Tasks on several threads: answers in order, errors in their turn, and nothing goes on that nobody waits for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from threading import Barrier, Event, get_ident

import pytest

from reconv.optimize.crew import in_order

BLOCKS = [[0, 1, 2], [3], [4, 5], [6, 7, 8], [9]]


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
def test_answers_come_in_order(workers: int) -> None:
    def answer(worker: str, task: int, _: Event) -> tuple[int, str, int]:
        time.sleep(0.003 * (task % 3))
        return task, worker, get_ident()

    names = [f"w{i}" for i in range(workers)]
    found = list(in_order(BLOCKS, names, answer))
    assert [task for task, _, _ in found] == list(range(10))
    assert {name for _, name, _ in found} <= set(names)
    of = {task: name for task, name, _ in found}
    assert all(len({of[task] for task in block}) == 1 for block in BLOCKS)


def test_two_work_at_the_same_time() -> None:
    both = Barrier(2)

    def answer(_: int, task: int, __: Event) -> int:
        both.wait(timeout=10)  # breaks where one has to wait for the other's end
        return task

    assert list(in_order([[0], [1]], [0, 1], answer)) == [0, 1]


def test_an_error_comes_in_its_turn_and_ends_the_rest() -> None:
    asked: list[int] = []

    def answer(_: int, task: int, __: Event) -> int:
        asked.append(task)
        if task == 3:
            raise ValueError("three")
        return task

    answers = in_order([[i] for i in range(50)], [0, 1], answer)
    assert [next(answers) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(answers)
    assert len(asked) < 10


@pytest.mark.parametrize("blocks", [[], [[]], [[], [1]]])
def test_nothing_to_do(blocks: Sequence[Sequence[int]]) -> None:
    assert list(in_order(blocks, [0, 1], lambda _, task, __: task)) == [task for block in blocks for task in block]


def test_whoever_closes_it_does_not_wait_for_all() -> None:
    ended: list[bool] = []

    def answer(_: int, task: int, stop: Event) -> int:
        if task > 1:
            ended.append(stop.wait(timeout=10))
        return task

    answers = in_order([[0], [1], [2, 3], [4, 5], [6]], [0, 1], answer)
    assert next(answers) == 0
    answers.close()
    assert all(ended)
    assert len(ended) <= 2
