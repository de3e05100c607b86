"""Several sources at one model: those that are there take turns, and those that are on their way hold up nobody.

A camera or an address has a reader, which opens it in a thread of its own. All that needs the model, making a lane of
it, is done between two turns of the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from reconv.app.console import Interrupt
from reconv.app.many import Lane, Task
from reconv.engine.stream import Step
from reconv.errors import ReconvError, one_line
from reconv.recipes.sources import Reader, Source, stop_all

__all__ = ["Coming", "open_lane", "take_turns"]

PAUSE = 0.002  # seconds between looks at several sources of which none has a frame


class Coming:
    """Readers by the name of their lane, until their first frame is there or they give up; its length is how many."""

    def __init__(self, make: Callable[[str, Source], Lane]) -> None:
        """`make` gives the lane of a source that came; what it raises ends that source alone."""
        self.errors: dict[str, Exception] = {}  # of those that gave up, by name
        self._make = make
        self._readers: dict[str, Reader] = {}

    def __len__(self) -> int:
        return len(self._readers)

    def add(self, name: str, reader: Reader) -> None:
        self._readers[name] = reader

    def arrived(self) -> tuple[list[Lane], list[Exception]]:
        """The lanes of those that have come since the last time, and why others never will."""
        lanes: list[Lane] = []
        failed: list[Exception] = []
        for name in [name for name, reader in self._readers.items() if reader.settled]:
            try:
                source = self._readers[name].source()
                lanes.append(self._make(name, source))
            except (ReconvError, OSError) as error:
                self._readers[name].stop()
                self.errors[name] = error
                failed.append(error)
            del self._readers[name]
        return lanes, failed

    def close(self) -> None:
        """Lets go of those that have not come. Twice is fine."""
        stop_all(self._readers.values())
        self._readers.clear()


def open_lane(name: str, source: Source, task: Task, target: str | None, *, say: Callable[[str], None]) -> Lane:
    """A lane for a source that is there; ends the source where that fails. Raises InputError, MissingError."""
    try:
        return Lane(name, source, task, target, say)
    except BaseException:
        if source.reader is not None:
            source.reader.stop()
        raise


def take_turns(
    lanes: list[Lane],
    coming: Coming,
    interrupt: Interrupt,
    advance: Callable[[Lane, Step], None],
    say: Callable[[str], None],
) -> None:
    """One frame of every source that has one, again and again, until all have ended; then everything is closed.

    `lanes` grows by those of `coming` that arrive.
    """

    def tell(error: Exception) -> None:
        others = coming or any(lane.open for lane in lanes)
        if others:
            say(f"{one_line(error)}; the others go on")

    try:
        while not interrupt and (coming or any(lane.open for lane in lanes)):
            arrived, failed = coming.arrived()
            lanes += arrived
            for error in failed:
                tell(error)
            moved = False
            for lane in lanes:
                step = lane.turn() if lane.open and not interrupt else None
                if step is not None:
                    advance(lane, step)
                    moved = True
            if not moved:
                _wait([lane for lane in lanes if lane.open], coming)
            for lane in lanes:
                if not (lane.open or lane.closed):
                    lane.close()  # its file is whole as soon as it can be
                    if lane.error is not None:
                        tell(lane.error)
    finally:
        coming.close()
        for lane in lanes:
            lane.close()


def _wait(lanes: list[Lane], coming: Coming) -> None:
    """A moment, or until the only source has something."""
    reader = lanes[0].source.reader if len(lanes) == 1 and not coming else None
    if reader is not None:
        reader.wait()
    else:
        time.sleep(PAUSE)
