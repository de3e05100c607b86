"""Tasks on several threads, each with a worker of its own, answers in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from threading import Event
from typing import TypeVar

__all__ = ["in_order"]

Worker = TypeVar("Worker")
Task = TypeVar("Task")
Answer = TypeVar("Answer")


def in_order(
    blocks: Sequence[Sequence[Task]], workers: Sequence[Worker], answer: Callable[[Worker, Task, Event], Answer]
) -> Generator[Answer, None, None]:
    """The answers to all tasks, block after block; close it to stop early.

    Args:
        blocks: tasks that one worker does one after the other.
        workers: one for each thread; a single one works on the caller's thread.
        answer: makes an answer; may end early once the event is set, as nobody waits for it any more.

    What a task raises is raised here in its turn. No more blocks are under way or wait than there are workers, and one.
    """
    stop = Event()
    if len(workers) == 1 or len(blocks) == 1:
        for block in blocks:
            for task in block:
                yield answer(workers[0], task, stop)
        return
    spare: SimpleQueue[Worker] = SimpleQueue()
    for worker in workers:
        spare.put(worker)

    def work(block: Sequence[Task]) -> list[Answer]:
        own = spare.get()
        try:
            return [answer(own, task, stop) for task in block if not stop.is_set()]
        finally:
            spare.put(own)

    with ThreadPoolExecutor(len(workers)) as pool:
        coming: deque[Future[list[Answer]]] = deque()
        try:
            for block in blocks:
                coming.append(pool.submit(work, block))
                if len(coming) > len(workers):
                    yield from coming.popleft().result()
            while coming:
                yield from coming.popleft().result()
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
