"""What reuse costs where there is nothing to reuse: cuts, a moving camera, a swaying one, and white noise.

Streams at tolerance 0 and 0.1, and at 0.1 with plain steps on what is faster, beside our own dense run and ONNX
Runtime's. They run plain where most is stale, and try lists now and then (see `reconv.engine.pace`); the share of
plain steps and the recomputed share are counts.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.clips import ClipInputs
from benchmarks.options import Options
from reconv.measure import Array, Contestant, take_turns
from reconv.measure.peers.ours import open_stream_measured

STREAMS = ((0.0, "reconv"), (0.1, "reconv"), (0.1, "measured"))  # tolerance, and what plain steps run on
FRAMES = 250
ASKED = {"over_dense": 1.05, "over_onnxruntime": 1.10, "at_par": 1.0}


@dataclass(frozen=True)
class Scene:
    """clip: an asset, or "noise" for frames of which no two share a pixel; size: of the network's input."""

    model: str
    recipe: str
    clip: str
    size: tuple[int, int]
    tiny: tuple[int, int] = (96, 128)


SCENES = (
    Scene("yolox_nano", "yolox", "bikes", (288, 640)),
    Scene("yolox_nano", "yolox", "tree", (256, 320)),
    Scene("yolox_nano", "yolox", "noise", (288, 640)),
    Scene("mobilenet_v2", "imagenet", "bikes", (224, 224), (224, 224)),
    Scene("mobilenet_v2", "imagenet", "noise", (224, 224), (224, 224)),
)


def frames_of(scene: Scene, options: Options, count: int) -> Iterator[dict[str, Array]]:
    """Inputs of the network: of the clip, or the recipe's arithmetic on noise."""
    size = scene.tiny if options.tiny else scene.size
    clip = scene if scene.clip != "noise" else replace(scene, clip="bikes")  # for the recipe's sake
    inputs = ClipInputs(options.asset(scene.model), scene.recipe, options.asset(clip.clip), size)
    if scene.clip != "noise":
        yield from inputs.frames(count=count)
        return
    random = np.random.default_rng(0)
    for _ in range(count):
        yield {inputs.input: inputs.recipe.pixels.apply(random.integers(0, 256, (*size, 3)).astype(np.uint8))}


def run(options: Options) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    count = 4 if options.tiny else FRAMES
    for scene, threads in itertools.product(SCENES[:1] if options.tiny else SCENES, options.threads):
        options.say(f"hard: {scene.model} on {scene.clip}, {threads} thread(s)")
        model = str(options.asset(scene.model))
        streams = [
            Contestant(
                f"stream {tolerance}, {plain}",
                "reconv-stream",
                model,
                threads,
                tolerance,
                open=open_stream_measured if plain == "measured" else None,
            )
            for tolerance, plain in STREAMS
        ]
        dense = [Contestant(peer, peer, model, threads) for peer in ("reconv", "onnxruntime")]
        times = take_turns([dense[0], *streams, dense[1]], frames_of(scene, options, count), options.pace)
        ours, rival = times["reconv"], times["onnxruntime"]
        for (tolerance, plain), stream in zip(STREAMS, streams, strict=True):
            measured = times[stream.name]
            rows.append(
                {
                    "model": scene.model,
                    "clip": scene.clip,
                    "size": list(scene.size),
                    "threads": threads,
                    "tolerance": tolerance,
                    "dense": plain,
                    "over_dense": round(measured.over(ours).total, 4),
                    "over_dense_quartiles": [round(measured.over(ours).low, 4), round(measured.over(ours).high, 4)],
                    "over_onnxruntime": round(measured.over(rival).total, 4),
                    "dense_over_onnxruntime": round(ours.over(rival).total, 4),
                    "plain": round(float(np.mean(measured.recomputed == 1)), 4),
                    **measured.to_json(),
                }
            )
    return {"asked": ASKED, "rows": rows}
