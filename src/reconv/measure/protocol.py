"""The timing protocol: contestants take turns on the same frames, each in a process of its own.

The first frame warms up and is not measured (for a stream it is the dense one). Then every contestant runs the next few
frames, one contestant after the other, the one who begins moving on by one each round; between turns all is still for a
moment, so that pools of threads have stopped spinning. Processes inherit the affinity of this one.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from reconv.engine.tolerance import Profile
from reconv.errors import InputError, MissingError, ReconvError
from reconv.measure.peers import PEERS, Array, Arrays, Job, Runner
from reconv.measure.times import Times
from reconv.measure.worker import Done, Failed, Turn, serve

OnOutputs = Callable[[str, int, dict[str, Array]], None]


class ContestantError(ReconvError):
    """A contestant's library refused the model or failed on a frame."""


@dataclass(frozen=True)
class Contestant:
    """Who takes part: a key of PEERS on one model. `name` is unique in a run, `title` is for tables. `open` is what to
    open instead of the peer: one that does more than a network, as the way from a frame to boxes. It is pickled."""

    name: str
    peer: str
    model: str
    threads: int
    tolerance: float = 0.0
    profile: Profile | None = None
    title: str = ""
    open: Callable[[Job], Runner] | None = None

    def __post_init__(self) -> None:
        if self.peer not in PEERS:
            raise InputError(f"no peer is called {self.peer!r}; there are {', '.join(PEERS)}")
        allowed = allowed_threads()
        if not 1 <= self.threads <= allowed:
            raise InputError(f"{self.name}: {self.threads} threads, but this process may use 1 to {allowed}")


@dataclass(frozen=True)
class Pace:
    """How turns are taken: warm-up runs of the first frame, frames per turn, stillness before each turn."""

    warmup_frames: int = 5
    turn_frames: int = 8
    settle_seconds: float = 0.05


@dataclass
class _Record:
    seconds: list[float] = field(default_factory=list)
    recomputed: list[float] = field(default_factory=list)
    turns: list[int] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)  # totals at the start of each turn and at the end
    facts: dict[str, str | int] = field(default_factory=dict)

    def add(self, done: Done) -> None:
        self.seconds += done.seconds
        self.recomputed += done.recomputed
        self.turns.append(len(done.seconds))
        self.cpu_seconds.append(done.cpu_seconds)

    def times(self, cpu_seconds: float) -> Times:
        cpu = np.diff(np.array([*self.cpu_seconds, cpu_seconds]))
        return Times(np.array(self.seconds), np.array(self.recomputed), tuple(self.turns), cpu, self.facts)


def allowed_threads() -> int:
    """How many CPUs this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def take_turns(
    contestants: Sequence[Contestant],
    frames: Iterable[Arrays],
    pace: Pace = Pace(),
    on_outputs: OnOutputs | None = None,
) -> dict[str, Times]:
    """Times of every contestant over `frames` (each input name -> array; all of one shape), the first one apart.

    on_outputs(name, frame, outputs) is called for every contestant and frame, the first included, in frame order per
    contestant. Raises InputError for fewer than two frames or a name that comes twice, MissingError for a peer whose
    library is not installed, ContestantError when one fails.
    """
    if len({contestant.name for contestant in contestants}) != len(contestants):
        raise InputError(f"contestants' names must differ: {', '.join(c.name for c in contestants)}")
    for contestant in contestants:
        if reason := PEERS[contestant.peer].missing():
            raise MissingError(reason)
    coming = iter(frames)
    first = next(coming, None)
    if first is None:
        raise InputError("no frames to measure")
    shapes = {name: tuple(int(size) for size in array.shape) for name, array in first.items()}
    records = {contestant.name: _Record() for contestant in contestants}
    with ExitStack() as stack:
        pipes = {c.name: stack.enter_context(_process(c, shapes)) for c in contestants}

        def turn(name: str, work: Turn) -> Done:
            time.sleep(pace.settle_seconds)
            return _ask(name, pipes[name], work)

        keep = on_outputs is not None
        warm_up = Turn([first], keep, max(pace.warmup_frames, 1))
        for name, record in records.items():
            done = turn(name, warm_up)
            record.facts = done.facts
            _hand_over(on_outputs, name, 0, done)
        count = 1
        for round_number, block in enumerate(_blocks(coming, pace.turn_frames)):
            for name in _rotated(list(records), round_number):
                done = turn(name, Turn(block, keep))
                records[name].add(done)
                _hand_over(on_outputs, name, count, done)
            count += len(block)
        if count == 1:
            raise InputError("one frame only: the first one warms up and is not measured")
        return {name: record.times(turn(name, Turn([], False)).cpu_seconds) for name, record in records.items()}


@contextmanager
def _process(contestant: Contestant, shapes: dict[str, tuple[int, ...]]) -> Iterator[Connection]:
    context = multiprocessing.get_context("spawn")  # a fork would inherit the pools of libraries that run here
    ours, theirs = context.Pipe()
    job = Job(contestant.model, shapes, contestant.threads, contestant.tolerance, contestant.profile)
    opens = contestant.open or PEERS[contestant.peer].open
    process = context.Process(target=serve, args=(theirs, opens, job), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours
        with suppress(BrokenPipeError):  # it has ended already
            ours.send(None)
        process.join(timeout=10)
    finally:
        ours.close()
        if process.is_alive():
            process.terminate()
        process.join()


def _ask(name: str, pipe: Connection, work: Turn) -> Done:
    try:
        pipe.send(work)
        answer: Any = pipe.recv()
    except (EOFError, BrokenPipeError, ConnectionResetError):
        # What it said before it ended is still in the pipe when only the sending failed.
        answer = _last_words(pipe) or Failed("its process ended")
    if isinstance(answer, Done):
        return answer
    raise ContestantError(f"{name}: {answer.reason}")


def _last_words(pipe: Connection) -> Failed | None:
    try:
        answer = pipe.recv() if pipe.poll() else None
    except (EOFError, ConnectionResetError):
        return None
    return answer if isinstance(answer, Failed) else None


def _hand_over(on_outputs: OnOutputs | None, name: str, first: int, done: Done) -> None:
    if on_outputs is not None:
        for offset, outputs in enumerate(done.outputs):
            on_outputs(name, first + offset, outputs)


def _blocks(frames: Iterator[Arrays], size: int) -> Iterator[list[Arrays]]:
    while block := list(itertools.islice(frames, size)):
        yield block


def _rotated(names: list[str], by: int) -> list[str]:
    by %= len(names)
    return names[by:] + names[:by]
