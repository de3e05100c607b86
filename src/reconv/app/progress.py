"""Live lines about a run: one per source, on a terminal only."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from reconv.app.many import Lane
from reconv.engine.stream import Step

__all__ = ["progress"]

RECENT = 30  # steps that the figures speak of


@contextmanager
def progress(talk: Console, lanes: Sequence[Lane], *, show: bool) -> Iterator[Callable[[Lane, Step], None]]:
    """What to tell of every step: shows frames/s, the recomputed share of the last second or so, and frames dropped."""
    if not show:
        yield lambda _lane, _step: None
        return
    columns = [BarColumn(20), MofNCompleteColumn(), TextColumn("{task.fields[speed]}"), TimeElapsedColumn()]
    names = [TextColumn("{task.description}", markup=False)] if len(lanes) > 1 else []
    with Progress(*names, *columns, console=talk, transient=True) as shown:
        tasks = {id(lane): shown.add_task(lane.name, total=lane.count, speed="") for lane in lanes}
        recent: dict[int, deque[tuple[float, float]]] = {id(lane): deque(maxlen=RECENT) for lane in lanes}

        def advance(lane: Lane, step: Step) -> None:
            last = recent[id(lane)]
            last.append((time.perf_counter(), step.recomputed))
            speed = f"recomputed {statistics.fmean(share for _, share in last):4.0%}"
            if len(last) > 1:
                speed = f"{(len(last) - 1) / (last[-1][0] - last[0][0]):5.1f} frames/s  {speed}"
            if lane.source.reader is not None and lane.source.reader.dropped:
                speed += f"  dropped {lane.source.reader.dropped}"
            shown.update(tasks[id(lane)], advance=1, speed=speed)

        yield advance
