"""What costs nothing beside a measured clip: frame holding and the motion gate, with the error of what they hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from reconv.measure import BASELINES, Array, Clip, OutputError
from reconv.measure.baselines import Schedule
from reconv.measure.clip import Agree

Which = tuple[str, str]  # a share of the work, a baseline


class Dense(Protocol):
    """A model's dense run."""

    def run(self, inputs: dict[str, Array], /) -> dict[str, Array]: ...


def held_rows(
    seen: Clip, agree: Agree, shares: Mapping[str, float], model: Dense, frames: Iterable[Mapping[str, Array]]
) -> dict[str, list[dict[str, Any]]]:
    """Lines of both at shares of the frames (share's name -> share). `frames` are the clip's once more, as the model's
    inputs: nobody kept what all of them gave."""
    at = {(key, name): min(max(share, 1e-3), 1.0) for key, share in shares.items() for name in BASELINES}
    errors = held_errors(model, frames, {which: seen.schedule(which[1], share) for which, share in at.items()})
    found: dict[str, list[dict[str, Any]]] = {key: [] for key in shares}
    for (key, name), share in at.items():
        row = replace(seen.baseline(name, share, agree), error_of_frozen=errors[key, name])
        found[key].append(row.to_json())
    return found


def held_errors(
    model: Dense, frames: Iterable[Mapping[str, Array]], schedules: Mapping[Which, Schedule]
) -> dict[Which, float]:
    """The error of dense outputs that are held where a schedule does not run, over the frozen first ones'."""
    errors = {which: OutputError() for which in schedules}
    last: dict[Which, dict[str, Array]] = {}
    for place, inputs in enumerate(frames):
        outputs = model.run(dict(inputs))
        for which, schedule in schedules.items():
            if schedule[place]:
                last[which] = outputs
            errors[which].add(outputs, last[which])
    return {which: error.of_frozen for which, error in errors.items()}
