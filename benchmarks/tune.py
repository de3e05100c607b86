"""What factors bring: YOLOX-Nano over vtest.avi, tuned on its first two thirds, judged in between and on the last one.

`tune` chooses a tolerance for all maps, and factors, on half of the stretches of the first two thirds. The other half
judges, and the last third: there both are played over a range of tolerances, and how much less work the factors need is
read where both agree equally, at each point of the curve with factors against the falling curve through the single
tolerances. The stretches in between show the same walkers as those that chose; the last third had no part in choosing.
Last, streams run through the whole clip, with the dense steps that the profile asks for and without, and agree on the
frames that judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.clips import Frame, read
from benchmarks.options import Options
from benchmarks.windows import Scored, Windows, compare
from reconv.engine.model import Model, load
from reconv.engine.tolerance import Profile
from reconv.engine.tuning import Window, parts_of, tune
from reconv.recipes import RECIPES, Recipe

AGREEMENT = 0.96
ASKED = {"saved": 0.15, "agreement": AGREEMENT}
ABOUT = (0.6, 0.7, 0.8, 0.9, 1.0, 1.12, 1.25, 1.45)  # single tolerances, times the chosen one
SCALES = (0.85, 1.0, 1.2)  # of the chosen profile's tolerance
BETWEEN, LAST = "between those that chose", "the last third"


def run(options: Options) -> dict[str, Any]:
    size = (96, 128) if options.tiny else (576, 768)
    model = load(options.asset("yolox_nano"), threads=options.threads[-1])
    frames = list(read(options.asset("vtest"), count=24 if options.tiny else None))
    recipe = RECIPES["yolox"].for_model(model, (frames[0].shape[0], frames[0].shape[1]), size)
    first = frames[: len(frames) * 2 // 3]
    found = tune(
        model, first, recipe, agreement=AGREEMENT, most_frames=len(first), say=lambda line: options.say(f"tune: {line}")
    )
    judges = judging(frames, len(first))
    judged = []
    for title, windows in judges.items():
        options.say(f"tune: judging other tolerances, {title}")
        judged.append({"part": title, **_judged(Windows(model, recipe, windows), found.single, found.profile, options)})
    options.say("tune: whole clip")
    streams = {
        "one tolerance, never refreshed": replace(found.single, refresh_every=None),
        "one tolerance": found.single,
        "with factors": found.profile,
    }
    return {
        "asked": ASKED,
        "tuned": found.to_json(),
        "judged": judged,
        "streams": [{"title": title} | whole(model, recipe, frames, judges, each) for title, each in streams.items()],
    }


def judging(frames: Sequence[Frame], first: int) -> dict[str, list[Window]]:
    """The windows that judge, in places of the whole clip: of its `first` frames those that do not choose, and all of
    the frames after them."""
    last = parts_of(frames[first:], None, len(frames) - first)
    after = sorted((*last.tuning, *last.judged), key=lambda window: window.places.start)
    return {
        BETWEEN: list(parts_of(frames[:first], None, first).judged),
        LAST: [Window(frames, _moved(w.places, first), tuple(_moved(b, first) for b in w.blocks)) for w in after],
    }


def _moved(places: range, by: int) -> range:
    return range(places.start + by, places.stop + by)


def _judged(windows: Windows, best: Profile, chosen: Profile, options: Options) -> dict[str, Any]:
    """Single tolerances and scaled profiles on windows, and what the profiles save."""
    about, scales = (ABOUT[3:5], SCALES[1:2]) if options.tiny else (ABOUT, SCALES)
    base = best.tolerance or 0.1
    single = _played(windows, (Profile(round(base * x, 4)) for x in about))
    factors = _played(windows, (replace(chosen, tolerance=round(chosen.tolerance * x, 4)) for x in scales))
    found = compare([p for _, p in factors], [p for _, p in single])
    pairs = zip(factors, found.each, found.intervals, strict=True)
    points = [{"tolerance": t} | p.to_json() | _saved(saved, interval) for (t, p), saved, interval in pairs]
    return {
        "frames": sum(single[0][1].frames),
        "windows": len(single[0][1].frames),
        "single": [{"tolerance": t} | p.to_json() for t, p in single],
        "factors": points,
        "chosen": {key: points[scales.index(1.0)][key] for key in ("saved", "interval")},
        "mean": _saved(found.mean, found.mean_interval),
    }


def _played(windows: Windows, profiles: Iterable[Profile]) -> list[tuple[float, Scored]]:
    return [(profile.tolerance, windows.play(profile)) for profile in profiles]


def _saved(share: float, interval: tuple[float, float]) -> dict[str, Any]:
    return {"saved": round(share, 4), "interval": [round(bound, 4) for bound in interval]}


def whole(
    model: Model, recipe: Recipe, frames: Sequence[Frame], judges: Mapping[str, Sequence[Window]], profile: Profile
) -> dict[str, Any]:
    """One stream through the whole clip: its share, and its agreement on the frames of each part that judges."""
    part_of = {place: title for title, windows in judges.items() for w in windows for place in w.counted}
    ours: dict[str, list[Any]] = {title: [] for title in judges}
    dense: dict[str, list[Any]] = {title: [] for title in judges}
    shares = []
    with model.stream(profile=profile) as stream:
        for place, frame in enumerate(frames):
            feeds = recipe.feeds(frame)
            outputs = stream(feeds)
            shares.append(stream.last.recomputed)
            if place in part_of:
                ours[part_of[place]].append(recipe.decode_brief(outputs))
                dense[part_of[place]].append(recipe.decode_brief(model.run(feeds)))
    agreement = {
        title: {name: round(value, 5) for name, value in recipe.agreement(ours[title], dense[title]).items()}
        for title in judges
    }
    return {"tolerance": profile.tolerance, "share": round(float(np.mean(shares[1:])), 5), "agreement": agreement}
