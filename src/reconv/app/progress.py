"""Live lines about a run: one per source, on a terminal only."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from reconv.app.many import Lane
from reconv.engine.stream import Step

__all__ = ["progress"]

RECENT = 30  # steps that the figures speak of


@contextmanager
def progress(
    talk: Console, lanes: Sequence[Lane], *, show: bool, several: bool
) -> Iterator[Callable[[Lane, Step], None]]:
    """What to tell of every step: shows frames/s, the recomputed share of the last second or so, and frames dropped.

    `lanes` are those from the start on; others are shown from their first step on. `several`: each with its name.
    """
    if not show:
        yield lambda _lane, _step: None
        return
    columns = [BarColumn(20), MofNCompleteColumn(), TextColumn("{task.fields[speed]}"), TimeElapsedColumn()]
    names = [TextColumn("{task.description}", markup=False)] if several else []
    with Progress(*names, *columns, console=talk, transient=True) as shown:
        tasks: dict[int, TaskID] = {}
        recent: dict[int, deque[tuple[float, float]]] = {}

        def enter(lane: Lane) -> None:
            tasks[id(lane)] = shown.add_task(lane.name, total=lane.count, speed="")
            recent[id(lane)] = deque(maxlen=RECENT)

        for each in lanes:
            enter(each)

        def advance(lane: Lane, step: Step) -> None:
            if id(lane) not in tasks:
                enter(lane)
            last = recent[id(lane)]
            last.append((time.perf_counter(), step.recomputed))
            speed = f"recomputed {statistics.fmean(share for _, share in last):4.0%}"
            if len(last) > 1:
                speed = f"{(len(last) - 1) / (last[-1][0] - last[0][0]):5.1f} frames/s  {speed}"
            if lane.source.reader is not None and lane.source.reader.dropped:
                speed += f"  dropped {lane.source.reader.dropped}"
            shown.update(tasks[id(lane)], advance=1, speed=speed)

        yield advance
