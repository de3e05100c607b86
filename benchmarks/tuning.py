"""Choosing a profile on the first frames of a clip: a tolerance, then factors of the maps, then the tolerance again.

The search for factors goes by a smooth loss; the tolerances, before and after, are the largest that a bar allows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconv.engine.model import Model
from reconv.engine.tolerance import Profile
from reconv.optimize import Factors, Trial, exchange_rate, group_maps, tune_factors


@dataclass(frozen=True)
class Played:
    """What a profile gave on the first frames. `kept`: it meets the bar; `figure` is what the bar is about."""

    share: float
    loss: float
    figure: float
    kept: bool


Play = Callable[[Profile], Played]


@dataclass(frozen=True)
class Chosen:
    """The profile, the best one of a single tolerance, and the way to both for the report."""

    profile: Profile
    single: Profile
    report: dict[str, Any]


def cut_maps(model: Model, inputs: Mapping[str, Any]) -> dict[str, tuple[int, int, int]]:
    """The maps that a profile may speak of, for inputs of these sizes."""
    with model.stream() as stream:
        stream(inputs)
        return stream.cut_maps


def _largest(
    play: Play, profile_at: Callable[[float], Profile], tolerances: Sequence[float]
) -> tuple[float, list[Any]]:
    played = {tolerance: play(profile_at(tolerance)) for tolerance in tolerances}
    tried = [
        {"tolerance": t, "figure": round(p.figure, 5), "share": round(p.share, 5), "loss": round(p.loss, 5)}
        for t, p in played.items()
    ]
    return max((t for t, p in played.items() if p.kept), default=min(tolerances)), tried


def choose(
    play: Play,
    maps: Mapping[str, tuple[int, int, int]],
    tolerances: Sequence[float],
    scales: Sequence[float],
    say: Callable[[str], None],
) -> Chosen:
    """A profile of the maps' factors; `scales` are the tolerances tried with the factors, as shares of the first."""
    alone, tried = _largest(play, Profile, tolerances)
    single = {"tolerance": alone, "tried": tried}
    try:
        rate = exchange_rate([Trial(entry["share"], entry["loss"]) for entry in tried])
    except ValueError as error:
        say(f"no factors: {error}")
        return Chosen(Profile(alone), Profile(alone), {"single": single, "tolerance": alone, "factors": []})
    # the search starts where one tolerance is best by the cost that it lowers
    first: float = min(tried, key=lambda entry: entry["share"] + rate * entry["loss"])["tolerance"]
    say(f"one tolerance: {alone}; factors from {first}, where a unit of loss is worth {rate:.2f} of the work")

    def trial(profile: Profile) -> Trial:
        played = play(profile)
        return Trial(played.share, played.loss)

    groups = group_maps({name: size[:2] for name, size in maps.items()})
    found: Factors = tune_factors(trial, groups, first, rate, say=say)
    last, again = _largest(play, found.profile, [round(first * scale, 4) for scale in scales])
    report = {
        "single": single,
        "tolerance": last,
        "tried": again,
        "start": first,
        "rate": round(rate, 4),
        "trials": found.trials,
        "factors": [
            {"from": group[0], "maps": len(group), "size": list(maps[group[0]][:2]), "factor": factor}
            for group, factor in zip(found.groups, found.factors, strict=True)
        ],
    }
    return Chosen(found.profile(last), Profile(alone), report)
