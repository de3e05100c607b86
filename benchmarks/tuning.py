"""Choosing a profile on the first frames of a clip, by a figure that a suite is about (see `reconv.engine.tuning`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from reconv.engine.model import Model
from reconv.engine.tolerance import Profile
from reconv.engine.tuning import Played, Search, groups_of

Play = Callable[[Profile], Played]


@dataclass(frozen=True)
class Chosen:
    """The profile, the best one of a single tolerance, and the way to both for the report."""

    profile: Profile
    single: Profile
    report: dict[str, Any]


def choose(
    play: Play,
    model: Model,
    inputs: Mapping[str, Any],
    asked: float,
    say: Callable[[str], None],
    *,
    factors: bool = True,
) -> Chosen:
    """A profile whose headline figure is at least `asked`; `inputs` tell the sizes."""
    search = Search(play, asked, say)
    profile = search.run(groups_of(model, inputs) if factors else ())
    used = search.factors if profile.maps else None
    report = {
        "single": {"tolerance": search.single.tolerance, "tried": _tried(search.tried["single"])},
        "tolerance": profile.tolerance,
        "tried": _tried(search.tried["factors"]),
        "trials": len(search.played),
        "factors": [
            {"from": group[0], "maps": len(group), "factor": factor}
            for group, factor in zip(used.groups, used.factors, strict=True)
        ]
        if used
        else [],
        "notes": list(search.notes),
    }
    return Chosen(profile, search.single, report)


def _tried(found: Mapping[float, Played]) -> list[dict[str, Any]]:
    return [{"tolerance": tolerance} | played.to_json() for tolerance, played in sorted(found.items())]
