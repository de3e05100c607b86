"""What a step costs beside its share of the work: YOLOX-Nano, a part of the frame changing, and a clip of hard cases.

A square of the given share of the frame is replaced by noise in every frame, at tolerance 0, so that the share of the
multiply-adds is exact; an unchanged frame is the square of size 0. bikes.mp4 has cuts and a moving camera: there nearly
everything is stale, and the time beside ONNX Runtime's is what trying to reuse costs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.clips import ClipInputs
from benchmarks.models import YOLOX
from benchmarks.options import Options
from reconv.measure import Array, Contestant, take_turns

SQUARES = (0.0, 0.0005, 0.002, 0.01, 0.03, 0.08, 0.2, 0.5, 1.0)  # share of the frame's pixels
FRAMES = 60
BIKES_TOLERANCE = 0.1
ASKED = {"per_share": 1.1, "fixed": 0.10, "unchanged": 0.06, "bikes": 1.25}


def noisy_square(options: Options, share: float, count: int) -> Iterator[dict[str, Array]]:
    """One picture over and over, with new noise in a square in its middle that covers `share` of it."""
    ((name, picture),) = YOLOX.input(options).items()
    random = np.random.default_rng(1)
    height, width = picture.shape[2:]
    h, w = round(height * share**0.5), round(width * share**0.5)
    y, x = (height - h) // 2, (width - w) // 2
    for _ in range(count):
        frame = picture.copy()
        frame[..., y : y + h, x : x + w] = random.integers(0, 256, (1, 3, h, w))
        yield {name: frame}


def run(options: Options) -> dict[str, Any]:
    model, frames = str(options.asset(YOLOX.asset)), 4 if options.tiny else FRAMES + 1
    clip = ClipInputs(
        options.asset(YOLOX.asset), "yolox", options.asset("bikes"), (96, 128) if options.tiny else (288, 640)
    )
    squares: list[dict[str, Any]] = []
    bikes: list[dict[str, Any]] = []
    for threads in options.threads:
        rival = Contestant("onnxruntime", "onnxruntime", model, threads)
        exact = Contestant("reconv-stream", "reconv-stream", model, threads, 0.0)
        for square in (0.0, 0.2) if options.tiny else SQUARES:
            options.say(f"overhead: {square:.2%} of the frame changes, {threads} thread(s)")
            times = take_turns([exact, rival], noisy_square(options, square, frames), options.pace)
            ours, ratio = times["reconv-stream"], times["reconv-stream"].over(times["onnxruntime"])
            over = {"threads": threads, "square": square, "over_onnxruntime": round(ratio.median, 4)}
            squares.append({**over, **ours.to_json()})
        options.say(f"overhead: bikes.mp4, {threads} thread(s)")
        tolerant = Contestant("reconv-stream", "reconv-stream", model, threads, BIKES_TOLERANCE)
        times = take_turns([tolerant, rival], clip.frames(count=4 if options.tiny else None), options.pace)
        ratio = times["reconv-stream"].over(times["onnxruntime"])
        over = {"threads": threads, "tolerance": BIKES_TOLERANCE, "over_onnxruntime": round(ratio.total, 4)}
        bikes.append({**over, **times["reconv-stream"].to_json()})
    return {"asked": ASKED, "squares": squares, "bikes": bikes}
