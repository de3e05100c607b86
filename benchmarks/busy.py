"""A busy scene: YOLOX-Nano over vtest.avi, a street with 3 to 10 walkers.

One profile for the whole clip, chosen on its first 200 frames; judged on all the others, beside the best rival in any
precision and beside what costs nothing at the same time per frame.
"""

from __future__ import annotations

from typing import Any

from benchmarks.clips import ClipInputs
from benchmarks.options import Options, field
from benchmarks.tuning import Play, choose
from reconv.engine.model import Model, load
from reconv.engine.tolerance import Profile
from reconv.engine.tuning import Played
from reconv.measure import BASELINES, watch
from reconv.recipes.agree import box_f1

HEADLINE = "f1@0.75"
TUNED_FRAMES = 200
OVERLAPS = tuple(0.5 + 0.05 * i for i in range(10))  # a smooth loss: the mean over ten bars for "the same box"
KEPT = 0.95  # on the first frames, which are few and have the fewest walkers
ASKED = {HEADLINE: 0.96, "over_best": 0.5, "above_holding": 0.1}


def player(model: Model, clip: ClipInputs, frames: int) -> Play:
    """Runs the first frames under a profile."""
    dense = [clip.recipe.decode(model.run(inputs)) for inputs in clip.frames(count=frames)]

    def play(profile: Profile) -> Played:
        results, shares = [], []
        with model.stream(profile=profile) as stream:
            for inputs in clip.frames(count=frames):
                results.append(clip.recipe.decode(stream(inputs)))
                shares.append(stream.last.recomputed)
        f1 = clip.recipe.agreement(results[1:], dense[1:])[HEADLINE]
        loss = 1 - sum(box_f1(results[1:], dense[1:], iou) for iou in OVERLAPS) / len(OVERLAPS)
        return Played(sum(shares[1:]) / (frames - 1), loss, {HEADLINE: f1}, ())

    return play


def run(options: Options) -> dict[str, Any]:
    path, size = options.asset("yolox_nano"), (96, 128) if options.tiny else (576, 768)
    clip = ClipInputs(path, "yolox", options.asset("vtest"), size)
    frames = 3 if options.tiny else TUNED_FRAMES
    options.say(f"busy: choosing a profile on {frames} frames")
    model = load(path)
    play, first = player(model, clip, frames), next(clip.frames())
    chosen = choose(play, model, first, KEPT, options.say, factors=not options.tiny)
    tuned = {"frames": frames, "kept": KEPT, "figure": HEADLINE, **chosen.report}
    runs = []
    for threads in options.threads:
        options.say(f"busy: tolerance {chosen.profile.tolerance}, {threads} thread(s)")
        contestants = field(path, threads, {"": chosen.profile, "one tolerance": chosen.single})
        judged = clip.frames(frames, 4 if options.tiny else None)
        seen = watch(contestants, judged, clip.recipe.decode, "onnxruntime", options.pace)
        rows = seen.rows(clip.recipe.agreement)
        ours = next(row for row in rows if row.name == "reconv-stream")
        same_time = [seen.baseline(name, min(ours.over_best, 1.0), clip.recipe.agreement) for name in BASELINES]
        same_work = [seen.baseline(name, min(ours.share or 1e-3, 1.0), clip.recipe.agreement) for name in BASELINES]
        runs.append(
            {
                "threads": threads,
                "best": seen.best,
                "rows": [row.to_json() for row in rows],
                "same_time": [row.to_json() for row in same_time],
                "same_work": [row.to_json() for row in same_work],
            }
        )
    return {"asked": ASKED, "tuned": tuned, "runs": runs}
