"""One contestant in a process of its own: opens its peer, then runs the frames that come over a pipe, turn by turn.

Pools of threads spin for a while after a run. Alone in its process and asleep on the pipe between its turns, a
contestant disturbs nobody, and its CPU seconds are its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np

from reconv.errors import one_line
from reconv.measure.peers import Array, Arrays, Job, Runner


@dataclass(frozen=True)
class Turn:
    """What to run. `warmup` runs the first frame that often, unmeasured, and nothing else."""

    frames: list[Arrays]
    keep_outputs: bool
    warmup: int = 0


@dataclass(frozen=True)
class Done:
    """What came of a turn; `cpu_seconds` is the process's total so far, read when the turn began."""

    seconds: list[float]
    recomputed: list[float]
    outputs: list[dict[str, Array]]
    cpu_seconds: float
    facts: dict[str, str | int]


@dataclass(frozen=True)
class Failed:
    reason: str


def serve(pipe: Connection, open_runner: Callable[[Job], Runner], job: Job) -> None:
    """The process's whole life: answers a Turn with a Done or Failed until None comes."""
    try:
        runner = open_runner(job)
        while (turn := pipe.recv()) is not None:
            pipe.send(_take(turn, runner))
        runner.close()
    except (EOFError, KeyboardInterrupt):
        return  # the parent is gone, or both were interrupted: nobody is left to tell
    except Exception as error:  # the parent raises it in one line
        pipe.send(Failed(f"{type(error).__name__}: {one_line(error)}"))


def _take(turn: Turn, runner: Runner) -> Done:
    cpu_seconds = time.process_time()
    seconds: list[float] = []
    recomputed: list[float] = []
    kept: list[dict[str, Array]] = []
    frames = [turn.frames[0]] * turn.warmup if turn.warmup else turn.frames
    for inputs in frames:
        start = time.perf_counter()
        outputs = runner(inputs)
        seconds.append(time.perf_counter() - start)
        recomputed.append(runner.recomputed)
        if turn.keep_outputs:  # as copies: a contestant may write to memory again that nobody holds
            kept.append({name: np.array(value) for name, value in outputs.items()})
    if turn.warmup:
        kept = kept[:1]
    return Done(seconds, recomputed, kept, cpu_seconds, runner.facts())
