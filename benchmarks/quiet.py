"""A quiet scene: YOLOX-Nano over a webcam clip, one person who hardly moves.

A frozen first answer agrees as well here, so the error of the raw outputs is judged beside the frozen one's. The
profile is chosen by that error on the first 200 frames; the others are judged.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from benchmarks.clips import ClipInputs
from benchmarks.options import Options, field
from benchmarks.tuning import Chosen, Play, choose
from reconv.engine.model import Model, load
from reconv.engine.tolerance import Profile
from reconv.engine.tuning import Played
from reconv.measure import Array, OutputError, watch

KEPT = 0.45  # of the frozen answer's error, on the first frames; half is asked for on the others
TUNED_FRAMES = 200
ASKED = {"over_best": 0.1, "error_of_frozen": 0.5}


def player(model: Model, clip: ClipInputs, frames: int) -> Play:
    """Runs the first frames under a profile."""
    dense = [model.run(inputs) for inputs in clip.frames(count=frames)]

    def play(profile: Profile) -> Played:
        error, shares = OutputError(), []
        with model.stream(profile=profile) as stream:
            for inputs, right in zip(clip.frames(count=frames), dense, strict=True):
                error.add(right, stream(inputs))
                shares.append(stream.last.recomputed)
        figure = {"1 - error_of_frozen": 1 - error.of_frozen}
        return Played(sum(shares[1:]) / (frames - 1), error.of_frozen, figure, ())

    return play


def chosen_for(clip: ClipInputs, options: Options, suite: str) -> tuple[Chosen, dict[str, Any]]:
    """The profile chosen on the first frames of a clip, and how, for the report."""
    frames = 3 if options.tiny else TUNED_FRAMES
    options.say(f"{suite}: choosing a profile on {frames} frames")
    model = load(clip.model)
    play, first = player(model, clip, frames), next(clip.frames())
    chosen = choose(play, model, first, 1 - KEPT, options.say, factors=not options.tiny)
    return chosen, {"frames": frames, "kept": KEPT, "figure": "error_of_frozen", **chosen.report}


def shown(clip: ClipInputs, tuned: int, options: Options) -> Iterator[dict[str, Array]]:
    """The frames that are run: the clip's first, whose answer is the frozen one, then those that did not choose."""
    return itertools.chain(clip.frames(0, 1), clip.frames(tuned, 4 if options.tiny else None))


def run(options: Options) -> dict[str, Any]:
    path, size = options.asset("yolox_nano"), (96, 128) if options.tiny else (480, 640)
    clip = ClipInputs(path, "yolox", options.asset("cap12"), size)
    chosen, tuned = chosen_for(clip, options, "quiet")
    runs = []
    for threads in options.threads:
        options.say(f"quiet: tolerance {chosen.profile.tolerance}, {threads} thread(s)")
        contestants = field(path, threads, {"": chosen.profile, "one tolerance": chosen.single})
        frames = shown(clip, tuned["frames"], options)
        seen = watch(contestants, frames, clip.recipe.decode, "onnxruntime", options.pace)
        rows = [row.to_json() for row in seen.rows(clip.recipe.agreement)]
        runs.append({"threads": threads, "best": seen.best, "rows": rows})
    return {"asked": ASKED, "tuned": tuned, "runs": runs}
