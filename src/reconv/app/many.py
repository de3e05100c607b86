"""What becomes of one source among several at one model: it has a stream, a sink and a tally of its own."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reconv.app.opened import open_recipe
from reconv.app.sinks import Answer, Sink
from reconv.app.tally import Tally, compare_every
from reconv.engine.audit import Agreement
from reconv.engine.model import Model
from reconv.engine.room import room
from reconv.engine.stream import Step, Stream
from reconv.errors import ReconvError, SourceError
from reconv.recipes import Recipe
from reconv.recipes.sources import Frame, Source, parts_of

__all__ = ["Lane", "Task", "inputs_of", "names_of"]


def inputs_of(frame: Frame, recipe: Recipe) -> Any:
    """What the network takes."""
    return recipe.feeds(frame)


def bytes_of(frame: Frame, recipe: Recipe) -> Any:
    """What a stream with the recipe's pixels takes: bytes where the recipe has them, and else as `inputs_of`."""
    if isinstance(frame, dict) or not recipe.takes_bytes:
        return inputs_of(frame, recipe)
    return {**recipe.others, recipe.input.name: recipe.bytes(frame)}


@dataclass(frozen=True)
class Task:
    """What is done with the frames of every source. `open_stream` is given a recipe, and what its audits are to ask."""

    model: Model
    recipe: str
    size: tuple[int, int] | None
    open_stream: Callable[[Recipe, Agreement], Stream]
    every: int = 1
    limit: int | None = None
    compare: float = 0.0
    overlay: bool = False
    given: Mapping[str, np.ndarray[Any, Any]] | None = None


class Lane:
    """One source on its way through the model. Whatever goes wrong with it is its `error`, and ends it alone."""

    def __init__(self, name: str, source: Source, task: Task, target: str | None, say: Callable[[str], None]) -> None:
        """Raises InputError when the recipe does not fit the model or the frames."""
        self.recipe = open_recipe(task.recipe, task.model, source.shape, task.size, task.given)
        source = self.recipe.framed(source)
        self.name, self.source, self.target = name, source, target
        self.sink: Sink | None = None
        self.error: Exception | None = None
        self.open, self.closed = True, False
        self.size_changes = 0
        self.count = source.count and min(-(-source.count // task.every), task.limit or source.count)
        self.tally = Tally(task.model, self.recipe, compare_every(task.compare, self.count))
        self.stream = task.open_stream(self.recipe, self._agreement)
        self._task, self._say = task, say
        self._shape = source.shape
        self._frames: Iterator[tuple[int, Frame]] | None = None if source.reader else enumerate(source.frames())
        self._due = 0  # the number of the next frame to run
        self._state_bytes = 0

    @property
    def rate(self) -> float | None:
        """Of the frames that are run, per second."""
        return self.source.rate and self.source.rate / self._task.every

    def turn(self) -> Step | None:
        """Runs one frame if there is one now; what it cost."""
        try:
            taken = self._next()
            step = None if taken is None else self._run(*taken)
            if self.tally.frames == self._task.limit:
                self.open = False
        except (ReconvError, OSError) as error:
            if isinstance(error, BrokenPipeError):  # who read our stdout has gone, and with him the reason to go on
                raise
            self.error, self.open, step = error, False, None
        return step

    def _next(self) -> tuple[int, Frame] | None:
        """The next frame and its number in the source; None when there is none yet, or no more."""
        reader = self.source.reader
        while True:
            taken = next(self._frames, None) if self._frames is not None else reader.poll() if reader else None
            if taken is None:
                self.open = reader is not None and not reader.over
                if not self.open and reader is not None and reader.error is not None:
                    raise reader.error
                return None
            if taken[0] >= self._due:
                self._due = taken[0] + self._task.every
                return taken

    def _run(self, index: int, frame: Frame) -> Step:
        if self._shape is not None and isinstance(frame, np.ndarray) and frame.shape[:2] != self._shape:
            self._resize((frame.shape[0], frame.shape[1]), index)
        recipe, stream = self.recipe, self.stream
        with room("a frame"):
            inputs = bytes_of(frame, recipe)
        outputs = stream(inputs)
        step = stream.last
        result = recipe.decode(outputs)
        if self.sink is not None:
            stale = None
            if self._task.overlay and self._shape is not None:
                stale = recipe.on_frame(stream.stale_pixels(recipe.input.name))
            place = index // self._task.every
            self.sink.write(Answer(index, place, frame, recipe, outputs, result, step.recomputed, stale))
        self.tally.add(step)
        self.tally.compare(inputs, outputs, result, recipe)
        return step

    def _agreement(self, outputs: Mapping[str, Any], dense_outputs: Mapping[str, Any]) -> float:
        """As the recipe has it that the frames have now: with their size it changes, and the stream stays."""
        return self.recipe.audit(outputs, dense_outputs)

    def _resize(self, shape: tuple[int, int], index: int) -> None:
        """Frames have another size from here on: a recipe for that, and a stream that starts anew."""
        task = self._task
        self.recipe = open_recipe(task.recipe, task.model, shape, task.size, task.given)
        self.stream.reset()
        self.size_changes += 1
        if self.size_changes == 1 and self._shape is not None:  # a folder may change with every picture
            before, now = ("x".join(str(extent) for extent in each) for each in (self._shape, shape))
            self._say(f"{self.source.name}: frames are {now} from frame {index} on, {before} before; starting anew")
        self._shape = shape

    def close(self) -> None:
        """Makes the results whole and lets go of everything. Twice is fine."""
        if self.closed:
            return
        self.open, self.closed = False, True
        if self.source.reader is not None:
            self.source.reader.stop()
        self._state_bytes = self.stream.state_bytes
        self.stream.close()
        sink, self.sink = self.sink, None
        try:
            if sink is not None:
                sink.close()
        except OSError as error:
            self.error = self.error or error

    def summary(self) -> dict[str, Any]:
        """Everything as JSON can say it."""
        reader = self.source.reader
        return {
            "source": self.source.name,
            **self.tally.summary(self._state_bytes),
            "dropped": reader.dropped if reader else 0,
            "reconnects": reader.reconnects if reader else 0,
            "size_changes": self.size_changes,
            "audit": None if (audit := self.stream.audit) is None else asdict(audit),
            "output": self.target,
        }


def names_of(sources: Sequence[str]) -> list[str]:
    """Short names for what the user wrote, fit for files, no two alike."""
    names: list[str] = []
    for source in sources:
        if "://" in source:
            text = ""
            with suppress(SourceError):  # no address: told when it is opened
                parts = parts_of(source)
                text = f"{parts.hostname or ''}{parts.path}"
        elif source.isdecimal():
            text = f"camera{source}"
        else:
            path = Path(source).absolute()
            text = path.name if path.is_dir() else path.stem
        base = re.sub(r"[^\w.-]+", "_", text).strip("._") or "source"
        numbers = itertools.count(2)
        name = base
        while name in names:
            name = f"{base}-{next(numbers)}"
        names.append(name)
    return names
