"""A busy scene: YOLOX-Nano over vtest.avi, a street with 3 to 10 walkers.

One tolerance for the whole clip: the largest that keeps the agreement on the first 200 frames; judged on all the
others, beside the best rival in any precision and beside what costs nothing at the same time per frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.clips import ClipInputs
from benchmarks.options import Options, field
from reconv.engine.model import load
from reconv.measure import BASELINES, watch

HEADLINE = "f1@0.75"
KEPT = 0.95  # on the first frames, where a box more or less weighs most: they have the fewest walkers
TUNED_FRAMES = 200
TOLERANCES = (0.06, 0.08, 0.1, 0.12, 0.14)
ASKED = {HEADLINE: 0.96, "over_best": 0.5, "above_holding": 0.1}


def choose_tolerance(model: Path, clip: ClipInputs, frames: int, tolerances: Sequence[float]) -> dict[str, Any]:
    """The largest tolerance whose agreement on the first frames is at least KEPT, and what each one gave."""
    loaded = load(model)
    dense = [clip.recipe.decode(loaded.run(inputs)) for inputs in clip.frames(count=frames)]
    tried: list[dict[str, float]] = []
    for tolerance in tolerances:
        with loaded.stream(tolerance=tolerance) as stream:
            results, shares = [], []
            for inputs in clip.frames(count=frames):
                results.append(clip.recipe.decode(stream(inputs)))
                shares.append(stream.last.recomputed)
        agreement = clip.recipe.agreement(results[1:], dense[1:])[HEADLINE]
        tried.append({"tolerance": tolerance, HEADLINE: round(agreement, 5), "share": sum(shares[1:]) / (frames - 1)})
    kept = [entry["tolerance"] for entry in tried if entry[HEADLINE] >= KEPT]
    return {"frames": frames, "kept": KEPT, "tolerance": max(kept, default=min(tolerances)), "tried": tried}


def run(options: Options) -> dict[str, Any]:
    model, size = options.asset("yolox_nano"), (96, 128) if options.tiny else (576, 768)
    clip = ClipInputs(model, "yolox", options.asset("vtest"), size)
    tuned_frames = 3 if options.tiny else TUNED_FRAMES
    options.say(f"busy: choosing a tolerance on {tuned_frames} frames")
    tuned = choose_tolerance(model, clip, tuned_frames, TOLERANCES[:2] if options.tiny else TOLERANCES)
    runs = []
    for threads in options.threads:
        options.say(f"busy: tolerance {tuned['tolerance']}, {threads} thread(s)")
        frames = clip.frames(tuned_frames, 4 if options.tiny else None)
        seen = watch(field(model, threads, tuned["tolerance"]), frames, clip.recipe.decode, "onnxruntime", options.pace)
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
