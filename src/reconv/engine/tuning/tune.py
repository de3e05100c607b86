"""`Model.tune`: the profile that recomputes least and agrees with dense runs as asked, chosen on real frames.

    1. the largest tolerance that meets the agreement        (`ladder`)
    2. a factor on it for each group of maps                 (`groups`, `factors`)
    3. the largest tolerance with those factors
    4. both played on frames that had no part in choosing    (`stretches`)

Where no tolerance meets the agreement the answer is tolerance 0, which is dense to the bit. The search can be cut short
at any time and gives the best so far.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from reconv.engine.tolerance import Profile
from reconv.engine.tuning.groups import group_maps, leads_to
from reconv.engine.tuning.player import Played, Player, Stopped, Subject
from reconv.engine.tuning.search import Search
from reconv.engine.tuning.stretches import REFRESH, parts_of
from reconv.errors import InputError

if TYPE_CHECKING:
    from reconv.engine.model import Model

__all__ = ["FRAMES", "INTERRUPT", "Tuned", "groups_of", "picture_shape", "tune"]

FRAMES = 640  # of both parts together, where nobody says how many
BUDGET, INTERRUPT = "the time was up", "interrupted"


@dataclass(frozen=True)
class Tuned:
    """What was found, and how it does on frames that it was not chosen on.

    profile: tolerance and factors. single: the best tolerance for all maps. asked: the agreement, of `measure`.
    tuning, judged: what both gave on the frames that chose and on the others, by "profile" and "single"; empty where
    the search was interrupted before. tried: every tolerance with what it gave, "single" and with "factors". factors:
    of each group of maps. frames: of the two parts. trials: profiles played. stopped: why the search ended early, or
    "". notes: sentences.
    """

    profile: Profile
    single: Profile
    asked: float
    measure: str
    tuning: Mapping[str, Played]
    judged: Mapping[str, Played]
    tried: Mapping[str, Mapping[float, Played]]
    factors: tuple[tuple[tuple[str, ...], float], ...]
    frames: tuple[int, int]
    trials: int
    stopped: str = ""
    notes: tuple[str, ...] = field(default=())

    def signed(self, model: str, recipe: Subject, refresh_every: int | None) -> Tuned:
        """With what the profiles are for written into them."""
        told = {
            "recipe": getattr(recipe, "name", type(recipe).__name__),
            "measure": self.measure,
            "asked": self.asked,
            **{part: p.to_json() for part in ("tuning", "judged") if (p := getattr(self, part).get("profile"))},
        }
        profile = replace(self.profile, model=model, refresh_every=refresh_every if self.met else None, tuned=told)
        single = replace(self.single, model=model, refresh_every=refresh_every if self.single.tolerance else None)
        return replace(self, profile=profile, single=single)

    @property
    def met(self) -> bool:
        """Whether a tolerance above 0 agrees as asked on the frames that chose it."""
        return self.profile.tolerance > 0

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON can say it."""
        parts = {"tuning": self.tuning, "judged": self.judged}
        return {
            "tolerance": self.profile.tolerance,
            "single_tolerance": self.single.tolerance,
            "refresh_every": self.profile.refresh_every,
            "asked": self.asked,
            "measure": self.measure,
            "met": self.met,
            "frames": dict(zip(parts, self.frames, strict=True)),
            **{part: {name: p.to_json() for name, p in played.items()} for part, played in parts.items()},
            "tried": {
                kind: [{"tolerance": t} | p.to_json() for t, p in sorted(found.items())]
                for kind, found in self.tried.items()
            },
            "factors": [{"from": group[0], "maps": len(group), "factor": factor} for group, factor in self.factors],
            "trials": self.trials,
            "stopped": self.stopped,
            "notes": list(self.notes),
        }


def tune(
    model: Model,
    frames: Iterable[Any],
    recipe: Subject | type[Any],
    *,
    agreement: float,
    factors: bool = True,
    refresh_every: int | None = REFRESH,
    count: int | None = None,
    most_frames: int = FRAMES,
    seconds: float | None = None,
    say: Callable[[str], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> Tuned:
    """See `Model.tune`; ``count`` is how many frames will come, where they come one by one and somebody knows."""
    if isinstance(agreement, bool) or not isinstance(agreement, (int, float)) or not 0 < agreement <= 1:
        raise InputError(f"agreement is {agreement!r}, expected a share above 0 and up to 1, as in 0.98")
    if isinstance(recipe, str):
        raise InputError(f"model.tune takes a recipe itself; reconv.tune(model, frames, {recipe!r}) takes a name")
    if refresh_every is not None and (isinstance(refresh_every, bool) or refresh_every < 1):
        raise InputError(f"refresh_every is {refresh_every!r}, expected a number of steps from 1 up, or None")
    clock = _Clock(stop, None if seconds is None else time.monotonic() + seconds)
    parts = parts_of(frames, count, most_frames, refresh_every)
    first = parts.first
    subject: Subject = recipe.for_model(model, picture_shape(first), None) if isinstance(recipe, type) else recipe
    say(f"dense runs of {parts.counts[0]} frames")
    search: Search | None = None
    try:
        search = Search(Player(model, subject, parts.tuning, clock.check).play, agreement, say)
        search.run(groups_of(model, dict(subject.feeds(first))) if factors else ())
    except Stopped:
        if search is None or not search.played:
            raise InputError(f"{clock.over} before a tolerance was tried; nothing was found") from None
    profiles = {"profile": search.best, "single": search.single}
    judged: dict[str, Played] = {}
    if clock.over != INTERRUPT:
        say(f"judging on {parts.counts[1]} other frames")
        with suppress(Stopped):
            player = Player(model, subject, parts.judged, clock.check_stop)
            judged = {name: player.play(profile) for name, profile in profiles.items()}
    tuning = {name: found for name, profile in profiles.items() if (found := search.known(profile)) is not None}
    used = search.factors if profiles["profile"].maps else None
    return Tuned(
        profile=profiles["profile"],
        single=profiles["single"],
        asked=float(agreement),
        measure=search.played[0][1].measure,
        tuning=tuning,
        judged=judged,
        tried=search.tried,
        factors=tuple(zip(used.groups, used.factors, strict=True)) if used else (),
        frames=parts.counts,
        trials=len(search.played),
        stopped=clock.over,
        notes=tuple(search.notes),
    ).signed(model.digest, subject, None if refresh_every is None else parts.refreshed)


class _Clock:
    """Ends a search: by the user's wish, or when its time is up."""

    def __init__(self, stop: Callable[[], bool], deadline: float | None) -> None:
        self._stop, self._deadline = stop, deadline
        self.over = ""

    def check_stop(self) -> None:
        if self._stop():
            self.over = INTERRUPT
            raise Stopped

    def check(self) -> None:
        self.check_stop()
        if self._deadline is not None and time.monotonic() > self._deadline:
            self.over = BUDGET
            raise Stopped


def picture_shape(frame: Any) -> tuple[int, int] | None:
    """(height, width) of a frame that is a picture."""
    is_one = isinstance(frame, np.ndarray) and frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3
    return (int(frame.shape[0]), int(frame.shape[1])) if is_one else None


def groups_of(model: Model, inputs: Any) -> list[tuple[str, ...]]:
    """The groups of a model's maps under cutoff, for inputs of these sizes."""
    with model.stream() as stream:
        stream(inputs)
        maps = stream.cut_maps
    return group_maps({name: size[:2] for name, size in maps.items()}, leads=leads_to(model.graph, maps))
