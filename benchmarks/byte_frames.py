"""Frames of bytes: the whole path after decoding a webcam clip, and a frame that is the last one again.

The path is the recipe's preprocessing (OpenCV and numpy, the same for all), the network, and the decoding of boxes:
ours as a stream of bytes, ours as a stream of floats, and ONNX Runtime. An unchanged frame is the stream's step alone,
over a dense run of ours and over ONNX Runtime's. Frames reach every contestant as a decoder would leave them: bytes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.clips import read
from benchmarks.options import Options
from reconv.engine.model import load
from reconv.graph import TensorInfo
from reconv.graph import load as load_graph
from reconv.measure import PEERS, Array, Arrays, Contestant, Job, Runner, Times, take_turns
from reconv.recipes import RECIPES, Recipe
from reconv.recipes.agree import Boxes

SIZE = (480, 640)
TOLERANCES = (0.1, 0.2)
UNCHANGED_FRAMES = 80
ASKED = {"path_over_onnxruntime": 0.25, "unchanged_over_dense": 0.03}
FRAME = "frame"  # the name under which frames are sent

Step = Callable[[Array], Arrays]


@dataclass(frozen=True)
class Path:
    """Opens one way from a frame of bytes to boxes: `way` is bytes, shared (bytes, and outputs that are
    shared), floats (our streams), dense or onnxruntime."""

    way: str
    frame_shape: tuple[int, int]
    size: tuple[int, int]
    decodes: bool

    def recipe(self, info: TensorInfo) -> Recipe:
        return RECIPES["yolox"](info, self.frame_shape, self.size)

    def __call__(self, job: Job) -> Runner:
        return _Opened(self, job)


class _Opened:
    """A path in a contestant's process."""

    recomputed = 1.0

    def __init__(self, path: Path, job: Job) -> None:
        self._path, self._recipe = path, path.recipe(load_graph(job.model).inputs[0])
        name, pixels = self._recipe.input.name, self._recipe.pixels
        self._made: Array | None = None
        self._step: Step
        if path.way == "onnxruntime":
            session = PEERS["onnxruntime"].open(replace(job, shapes={name: (1, 3, *path.size)}))
            self._step = lambda frame: session({name: self._floats(frame)})
            return
        model = load(job.model, threads=job.threads)
        if path.way == "dense":
            self._step = lambda frame: model.run({name: self._floats(frame)})
            return
        stream = model.stream(job.tolerance, pixels=pixels, share_outputs=path.way == "shared")
        prepared = self._recipe.bytes if path.way in ("bytes", "shared") else self._floats

        def step(frame: Array) -> Arrays:
            outputs = stream({name: prepared(frame)})
            self.recomputed = stream.last.recomputed
            return outputs

        self._step = step

    def _floats(self, frame: Array) -> Array:
        """The network's input; of a step alone made once, as the frame stays what it is."""
        if self._path.decodes:
            return self._recipe.preprocess(frame)
        if self._made is None:
            self._made = self._recipe.preprocess(frame)
        return self._made

    def __call__(self, inputs: Arrays) -> dict[str, Array]:
        outputs = self._step(inputs[FRAME])
        if not self._path.decodes:
            return {}
        boxes: Boxes = self._recipe.decode(outputs)
        return {"corners": boxes.corners, "scores": boxes.scores, "classes": boxes.classes}

    def facts(self) -> dict[str, str | int]:
        return {"precision": "float32"}

    def close(self) -> None:
        del self._step


def contestants(
    model: str,
    threads: int,
    shape: tuple[int, int],
    size: tuple[int, int],
    ways: dict[str, tuple[str, float]],
    *,
    decodes: bool,
) -> list[Contestant]:
    """One per way: title -> (way, tolerance)."""
    peers = {
        "bytes": "reconv-stream",
        "shared": "reconv-stream",
        "floats": "reconv-stream",
        "dense": "reconv",
        "onnxruntime": "onnxruntime",
    }
    return [
        Contestant(title, peers[way], model, threads, tolerance, title=title, open=Path(way, shape, size, decodes))
        for title, (way, tolerance) in ways.items()
    ]


def _row(title: str, threads: int, times: dict[str, Times], rivals: dict[str, str]) -> dict[str, Any]:
    """Times of one contestant, and over those of the rivals: name of the figure -> title."""
    over = {}
    for name, rival in rivals.items():
        ratio = times[title].over(times[rival])
        over[name] = {"total": round(ratio.total, 4), "median": round(ratio.median, 4)}
    return {"title": title, "threads": threads, **over, **times[title].to_json()}


def _path_rows(options: Options, model: str, threads: int, size: tuple[int, int]) -> list[dict[str, Any]]:
    clip = options.asset("cap12")
    frames = ({FRAME: frame} for frame in read(clip, count=4 if options.tiny else None))
    first = next(frames)
    shape = first[FRAME].shape[:2]
    ways = {"ONNX Runtime": ("onnxruntime", 0.0)}
    for tolerance in TOLERANCES[-1:] if options.tiny else TOLERANCES:
        ways[f"stream of bytes, tolerance {tolerance:g}"] = ("bytes", tolerance)
        ways[f"stream of floats, tolerance {tolerance:g}"] = ("floats", tolerance)
    results: dict[str, list[Boxes]] = {title: [] for title in ways}

    def keep(title: str, _frame: int, found: dict[str, Array]) -> None:
        results[title].append(Boxes(found["corners"], found["scores"], found["classes"]))

    entrants = contestants(model, threads, shape, size, ways, decodes=True)
    times = take_turns(entrants, itertools.chain([first], frames), options.pace, keep)
    recipe = Path("dense", shape, size, True).recipe(load_graph(model).inputs[0])
    rows = []
    for title in ways:
        agreement = recipe.agreement(results[title], results["ONNX Runtime"])
        rows.append({**_row(title, threads, times, {"over_onnxruntime": "ONNX Runtime"}), "agreement": agreement})
    return rows


def _unchanged_rows(options: Options, model: str, threads: int, size: tuple[int, int]) -> list[dict[str, Any]]:
    decoded = next(read(options.asset("cap12"), skip=0 if options.tiny else 100, count=1))
    recipe = Path("bytes", (decoded.shape[0], decoded.shape[1]), size, False).recipe(load_graph(model).inputs[0])
    frame = recipe.bytes(decoded)  # of the network's size, so that nothing but the step is left
    ways = {
        "dense run": ("dense", 0.0),
        "ONNX Runtime": ("onnxruntime", 0.0),
        "stream of bytes": ("bytes", 0.0),
        "stream of bytes, outputs shared": ("shared", 0.0),
        "stream of floats": ("floats", 0.0),
    }
    entrants = contestants(model, threads, size, size, ways, decodes=False)
    # a new array every time, as a decoder gives
    frames = ({FRAME: np.array(frame)} for _ in range(4 if options.tiny else UNCHANGED_FRAMES))
    times = take_turns(entrants, frames, options.pace)
    rivals = {"over_dense": "dense run", "over_onnxruntime": "ONNX Runtime"}
    return [_row(title, threads, times, rivals) for title in ways]


def run(options: Options) -> dict[str, Any]:
    model, size = str(options.asset("yolox_nano")), (96, 128) if options.tiny else SIZE
    paths, unchanged = [], []
    for threads in options.threads:
        options.say(f"byte_frames: the whole path, {threads} thread(s)")
        paths += _path_rows(options, model, threads, size)
        options.say(f"byte_frames: an unchanged frame, {threads} thread(s)")
        unchanged += _unchanged_rows(options, model, threads, size)
    return {"asked": ASKED, "paths": paths, "unchanged": unchanged}
