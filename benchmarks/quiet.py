"""A quiet scene: YOLOX-Nano over a webcam clip, one person who hardly moves.

A frozen first answer agrees as well here, so the error of the raw outputs is judged beside the frozen one's. The
tolerance is the largest that keeps that error on the first 200 frames; the others are judged.
"""

from __future__ import annotations

import itertools
from typing import Any

from benchmarks.clips import ClipInputs
from benchmarks.options import Options, field
from reconv.engine.model import load
from reconv.measure import OutputError, watch

KEPT = 0.45  # of the frozen answer's error, on the first frames; half is asked for on the others
TUNED_FRAMES = 200
TOLERANCES = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
ASKED = {"over_best": 0.1, "error_of_frozen": 0.5}


def choose_tolerance(options: Options, clip: ClipInputs, frames: int) -> dict[str, Any]:
    loaded = load(options.asset("yolox_nano"))
    tolerances = TOLERANCES[:2] if options.tiny else TOLERANCES
    streams = [loaded.stream(tolerance=tolerance) for tolerance in tolerances]
    errors = [OutputError() for _ in tolerances]
    for inputs in clip.frames(count=frames):
        dense = loaded.run(inputs)
        for stream, error in zip(streams, errors, strict=True):
            error.add(dense, stream(inputs))
    for stream in streams:
        stream.close()
    tried = [
        {"tolerance": tolerance, "error_of_frozen": round(error.of_frozen, 5)}
        for tolerance, error in zip(tolerances, errors, strict=True)
    ]
    kept = [entry["tolerance"] for entry in tried if entry["error_of_frozen"] <= KEPT]
    return {"frames": frames, "kept": KEPT, "tolerance": max(kept, default=min(tolerances)), "tried": tried}


def run(options: Options) -> dict[str, Any]:
    model, size = options.asset("yolox_nano"), (96, 128) if options.tiny else (480, 640)
    clip = ClipInputs(model, "yolox", options.asset("cap12"), size)
    tuned_frames, judged = (3, 4) if options.tiny else (TUNED_FRAMES, None)
    options.say(f"quiet: choosing a tolerance on {tuned_frames} frames")
    tuned = choose_tolerance(options, clip, tuned_frames)
    runs = []
    for threads in options.threads:
        options.say(f"quiet: tolerance {tuned['tolerance']}, {threads} thread(s)")
        contestants = field(model, threads, tuned["tolerance"])
        # The clip's first answer is the frozen one; the frames that chose the tolerance are left out.
        frames = itertools.chain(clip.frames(0, 1), clip.frames(tuned_frames, judged))
        seen = watch(contestants, frames, clip.recipe.decode, "onnxruntime", options.pace)
        rows = [row.to_json() for row in seen.rows(clip.recipe.agreement)]
        runs.append({"threads": threads, "best": seen.best, "rows": rows})
    return {"asked": ASKED, "tuned": tuned, "runs": runs}
