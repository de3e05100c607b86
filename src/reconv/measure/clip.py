"""Reuse judged on a clip: time, work and agreement together, for every contestant and for what costs nothing.

Never one number alone: a row has the wall-clock ratio to the best dense rival, the share of the multiply-adds that was
spent, the agreement of decoded results with dense ones, and the error of the raw outputs beside a frozen answer's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from reconv.errors import InputError
from reconv.measure.baselines import Schedule, gate_schedule, held, hold_schedule, thumbnail
from reconv.measure.output_error import OutputError
from reconv.measure.peers import PEERS, Array, Arrays
from reconv.measure.protocol import Contestant, Pace, take_turns
from reconv.measure.times import Times

Decode = Callable[[Mapping[str, Array]], Any]
Agree = Callable[[Sequence[Any], Sequence[Any]], dict[str, float]]

BASELINES: dict[str, str] = {"hold": "frame holding", "gate": "motion gate"}


@dataclass(frozen=True)
class Row:
    """A line of the table. Times are per frame; `over_best` is the mean time over the best dense rival's.

    share: of the multiply-adds of a dense run on every frame. measured: False where time follows from the share.
    """

    name: str
    title: str
    mean_ms: float
    over_best: float
    share: float
    agreement: Mapping[str, float]
    error_of_frozen: float | None
    measured: bool = True
    facts: Mapping[str, object] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        error = None if self.error_of_frozen is None else round(self.error_of_frozen, 5)
        return {
            "name": self.name,
            "title": self.title,
            "mean_ms": round(self.mean_ms, 4),
            "over_best": round(self.over_best, 4),
            "share": round(self.share, 5),
            "agreement": {name: round(value, 5) for name, value in self.agreement.items()},
            "error_of_frozen": error,
            "measured": self.measured,
            **self.facts,
        }


@dataclass(frozen=True)
class Clip:
    """What was measured on one clip. The first frame, which warms up, is in `results` but not in `times`."""

    contestants: Mapping[str, Contestant]
    reference: str
    times: Mapping[str, Times]
    results: Mapping[str, list[Any]]
    errors: Mapping[str, OutputError]
    thumbnails: Sequence[npt.NDArray[np.generic]]

    @property
    def best(self) -> str:
        """The dense rival with the least time per frame."""
        rivals = [name for name, contestant in self.contestants.items() if PEERS[contestant.peer].rival]
        if not rivals:
            raise InputError("no rival took part: a ratio needs ONNX Runtime or another runtime beside ours")
        return min(rivals, key=lambda name: self.times[name].mean)

    def rows(self, agree: Agree) -> list[Row]:
        """One row per contestant, in their order."""
        best = self.times[self.best]
        return [
            Row(
                name,
                self.contestants[name].title or PEERS[self.contestants[name].peer].title,
                1e3 * times.mean,
                times.over(best).total,
                times.share,
                agree(self.results[name][1:], self.results[self.reference][1:]),
                self.errors[name].of_frozen,
                facts=times.to_json(),
            )
            for name, times in self.times.items()
        ]

    def schedule(self, name: str, share: float) -> Schedule:
        """Which frames run under one of BASELINES at a share of the frames; the first always does."""
        frames = len(self.results[self.reference])
        return hold_schedule(frames, share) if name == "hold" else gate_schedule(self.thumbnails, share)

    def baseline(self, name: str, share: float, agree: Agree) -> Row:
        """A line of BASELINES at a share of the frames: dense answers held, at that share of the best rival's time."""
        schedule = self.schedule(name, share)  # the first frame always runs and is not judged
        ran = float(schedule[1:].mean())
        dense = self.results[self.reference]
        return Row(
            name,
            BASELINES[name],
            1e3 * self.times[self.best].mean * ran,
            ran,
            ran,
            agree(held(dense, schedule)[1:], dense[1:]),
            None,
            measured=False,
        )


def watch(
    contestants: Sequence[Contestant],
    frames: Iterable[Arrays],
    decode: Decode,
    reference: str,
    pace: Pace = Pace(),
) -> Clip:
    """Runs a clip through all contestants. `reference` names the one whose answers count as right.

    frames: the network's inputs, input name -> array; read as they are needed. Raises as `take_turns` does.
    """
    names = [contestant.name for contestant in contestants]
    if reference not in names:
        raise InputError(f"reference {reference!r} is not a contestant; there are {', '.join(names)}")
    results: dict[str, list[Any]] = {name: [] for name in names}
    errors = {name: OutputError() for name in names}
    waiting: dict[int, dict[str, dict[str, Array]]] = {}  # outputs of frames that some have not run yet
    thumbnails: list[npt.NDArray[np.generic]] = []

    def note(name: str, frame: int, outputs: dict[str, Array]) -> None:
        results[name].append(decode(outputs))
        of_frame = waiting.setdefault(frame, {})
        of_frame[name] = outputs
        if len(of_frame) == len(names):
            for each, its in waiting.pop(frame).items():
                errors[each].add(of_frame[reference], its)

    def seen() -> Iterator[Arrays]:
        for inputs in frames:
            thumbnails.append(thumbnail(max(inputs.values(), key=np.size)))  # the others stay as they are
            yield inputs

    times = take_turns(contestants, seen(), pace, note)
    return Clip({c.name: c for c in contestants}, reference, times, results, errors, thumbnails)
