"""What factors bring: YOLOX-Nano over vtest.avi, tuned and judged on stretches of the clip that take turns.

`tune` chooses a tolerance for all maps, and factors, on half of the stretches. On the other half both are played over
a range of tolerances: how much less work the factors need is read where both agree equally, at each point of the curve
with factors against the falling curve through the single tolerances. Last, streams run through the whole clip, with the
dense steps that the profile asks for and without, and agree on the frames that judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.clips import Frame, read
from benchmarks.options import Options
from reconv.engine.model import Model, load
from reconv.engine.tolerance import Profile
from reconv.engine.tuning import Parts, Played, Player, parts_of, tune
from reconv.engine.tuning.ladder import falling
from reconv.recipes import RECIPES, Recipe

AGREEMENT = 0.96
ASKED = {"saved": 0.15, "agreement": AGREEMENT}
FRAMES = 700
ABOUT = (0.6, 0.7, 0.8, 0.9, 1.0, 1.12, 1.25, 1.45)  # single tolerances, times the chosen one
SCALES = (0.85, 1.0, 1.2)  # of the chosen profile's tolerance


def run(options: Options) -> dict[str, Any]:
    size, most = ((96, 128), 16) if options.tiny else ((576, 768), FRAMES)
    about, scales = (ABOUT[3:5], SCALES[1:2]) if options.tiny else (ABOUT, SCALES)
    model = load(options.asset("yolox_nano"), threads=options.threads[-1])
    frames = list(read(options.asset("vtest"), count=most if options.tiny else None))
    recipe = RECIPES["yolox"].for_model(model, (frames[0].shape[0], frames[0].shape[1]), size)
    found = tune(
        model, frames, recipe, agreement=AGREEMENT, most_frames=most, say=lambda line: options.say(f"tune: {line}")
    )
    parts = parts_of(frames, None, most)
    player = Player(model, recipe, parts.judged)
    options.say("tune: judging other tolerances")
    base, chosen = found.single.tolerance or 0.1, found.profile
    single = [(t, player.play(Profile(t))) for t in (round(base * x, 4) for x in about)]
    spread = [(t, player.play(replace(chosen, tolerance=t))) for t in (round(chosen.tolerance * x, 4) for x in scales)]
    points = [
        {"tolerance": t} | p.to_json() | {"saved": round(1 - p.share / share_at([q for _, q in single], p.headline), 4)}
        for t, p in spread
    ]
    options.say("tune: whole clip")
    streams = {
        "one tolerance, never refreshed": replace(found.single, refresh_every=None),
        "one tolerance": found.single,
        "with factors": chosen,
    }
    return {
        "asked": ASKED,
        "tuned": found.to_json(),
        "single": [{"tolerance": t} | p.to_json() for t, p in single],
        "factors": points,
        "saved": next(point["saved"] for point, x in zip(points, scales, strict=True) if x == 1.0),
        "mean_saved": round(float(np.mean([point["saved"] for point in points])), 4),
        "streams": [{"title": title} | whole(model, recipe, frames, parts, each) for title, each in streams.items()],
    }


def share_at(single: Sequence[Played], agreement: float) -> float:
    """The share that one tolerance for all maps needs for an agreement: on the falling curve through what was played,
    its ends where the agreement lies outside."""
    order = sorted(single, key=lambda p: -p.share)
    curve = falling([p.headline for p in order])
    return float(np.interp(agreement, curve[::-1], [p.share for p in order][::-1]))


def whole(model: Model, recipe: Recipe, frames: Sequence[Frame], parts: Parts, profile: Profile) -> dict[str, Any]:
    """One stream through the whole clip: its share, and its agreement on the frames that judge."""
    judged = {place for window in parts.judged for place in window.counted}
    ours, dense, shares = [], [], []
    with model.stream(profile=profile) as stream:
        for place, frame in enumerate(frames):
            feeds = recipe.feeds(frame)
            outputs = stream(feeds)
            shares.append(stream.last.recomputed)
            if place in judged:
                ours.append(recipe.decode_brief(outputs))
                dense.append(recipe.decode_brief(model.run(feeds)))
    agreement = {name: round(value, 5) for name, value in recipe.agreement(ours, dense).items()}
    return {"tolerance": profile.tolerance, "share": round(float(np.mean(shares[1:])), 5), "agreement": agreement}
