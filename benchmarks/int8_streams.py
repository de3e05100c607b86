"""Reuse and 8 bits together: YOLOX-Nano dense and as a stream, in float32 and in the int8 that `optimize` found.

Two clips: a busy street (vtest, frames that the search did not see) and a quiet webcam (cap12, which it never saw).
F1 is against ONNX Runtime's float32 on every frame.
"""

from __future__ import annotations

from typing import Any

from benchmarks import optimize
from benchmarks.clips import ClipInputs
from benchmarks.models import YOLOX
from benchmarks.options import Options
from reconv.engine.tolerance import Profile
from reconv.measure import Contestant, watch

TOLERANCE = 0.1
CLIPS = (("vtest", (576, 768), optimize.SEEN, 200), ("cap12", (480, 640), 0, 300))


def run(options: Options) -> dict[str, Any]:
    net, _ = optimize.found(options, "onnxruntime" if options.tiny else "reconv")
    whole = options.asset(YOLOX.asset)
    runs = []
    for name, size, skip, count in CLIPS[:1] if options.tiny else CLIPS:
        clip = ClipInputs(whole, "yolox", options.asset(name), (96, 128) if options.tiny else size)
        for threads in options.threads:
            options.say(f"int8_streams: {name}, {threads} thread(s)")
            contestants = [Contestant("onnxruntime", "onnxruntime", str(whole), threads)]
            for kind, model in (("f32", whole), ("int8", net)):
                contestants.append(Contestant(f"dense {kind}", "reconv", str(model), threads, title=f"dense {kind}"))
            for kind, model in (("f32", whole), ("int8", net)):
                for tolerance in (0.0, TOLERANCE):
                    title = f"stream {kind}, tolerance {tolerance:g}"
                    profile = Profile(tolerance)
                    contestants.append(
                        Contestant(title, "reconv-stream", str(model), threads, tolerance, profile, title)
                    )
            frames = clip.frames(skip, 3 if options.tiny else count)
            seen = watch(contestants, frames, clip.recipe.decode, "onnxruntime", options.pace)
            rows = [row.to_json() for row in seen.rows(clip.recipe.agreement)]
            runs.append({"clip": name, "threads": threads, "rows": rows})
    return {"tolerance": TOLERANCE, "runs": runs}
