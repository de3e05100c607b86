"""Frames of bytes: the whole path after decoding a webcam clip, and a frame that is the last one again.

The path is the recipe's preprocessing (OpenCV and numpy, the same for all), the network, and the decoding of boxes:
ours as a stream of bytes, ours as a stream of floats, and the dense runtimes. The profile is that of the quiet scene,
chosen on the same first frames by the same bar; the others are judged, beside frame holding and a motion gate, whose
error of raw outputs is counted too: where the answer hardly changes, a held one agrees as well. An unchanged frame is
the stream's step alone, over a dense run of ours and over ONNX Runtime's. Frames reach every contestant as a decoder
would leave them: bytes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.clips import ClipInputs, read
from benchmarks.holding import held_rows
from benchmarks.options import Options
from benchmarks.quiet import ASKED as ASKED_OF_QUIET
from benchmarks.quiet import chosen_for, shown
from benchmarks.tuning import Chosen
from reconv.engine.model import load
from reconv.engine.tolerance import Profile
from reconv.graph import TensorInfo
from reconv.graph import load as load_graph
from reconv.measure import (
    PEERS,
    Array,
    Arrays,
    Contestant,
    Job,
    Runner,
    Times,
    take_turns,
    watch,
)
from reconv.recipes import RECIPES, Recipe

SIZE = (480, 640)
UNCHANGED_FRAMES = 80
ASKED = {
    "path_over_onnxruntime": 0.25,
    "unchanged_over_dense": 0.03,
    "error_of_frozen": ASKED_OF_QUIET["error_of_frozen"],
}
FRAME = "frame"  # the name under which frames are sent
BYTES, RUNTIME = "stream of bytes", "onnxruntime"
RIVALS = (RUNTIME, "openvino")  # of OpenVINO the faster one: its default, bfloat16 where the CPU has it

Step = Callable[[Array], Arrays]


@dataclass(frozen=True)
class Path:
    """Opens one way from a frame of bytes to boxes: `way` is bytes, shared (bytes, and outputs that are shared), floats
    (our streams), dense (ours) or a rival of PEERS. Boxes are made and dropped: what is given are the outputs, without
    `decodes` nothing."""

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
        self._facts: dict[str, str | int] = {"precision": "float32"}
        if path.way in PEERS:
            session = PEERS[path.way].open(replace(job, shapes={name: (1, 3, *path.size)}))
            self._facts = session.facts()
            self._step = lambda frame: session({name: self._floats(frame)})
            return
        model = load(job.model, threads=job.threads)
        if path.way == "dense":
            self._step = lambda frame: model.run({name: self._floats(frame)})
            return
        stream = model.stream(job.tolerance, profile=job.profile, pixels=pixels, share_outputs=path.way == "shared")
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
        self._recipe.decode(outputs)
        return dict(outputs)

    def facts(self) -> dict[str, str | int]:
        return self._facts

    def close(self) -> None:
        del self._step


def contestants(
    model: str,
    threads: int,
    shape: tuple[int, int],
    size: tuple[int, int],
    ways: Mapping[str, tuple[str, Profile]],
    *,
    decodes: bool,
) -> list[Contestant]:
    """One per way: title -> (way, profile)."""
    peers = {"bytes": "reconv-stream", "shared": "reconv-stream", "floats": "reconv-stream", "dense": "reconv"}
    return [
        Contestant(
            title,
            peers.get(way, way),
            model,
            threads,
            profile.tolerance,
            profile,
            title,
            open=Path(way, shape, size, decodes),
        )
        for title, (way, profile) in ways.items()
    ]


def _row(title: str, threads: int, times: dict[str, Times], rivals: dict[str, str]) -> dict[str, Any]:
    """Times of one contestant, and over those of the rivals: name of the figure -> title."""
    over = {}
    for name, rival in rivals.items():
        ratio = times[title].over(times[rival])
        over[name] = {"total": round(ratio.total, 4), "median": round(ratio.median, 4)}
    return {"title": title, "threads": threads, **over, **times[title].to_json()}


def _paths(options: Options, clip: ClipInputs, threads: int, chosen: Chosen, tuned: int) -> dict[str, Any]:
    """All ways from bytes to boxes over the frames that did not choose."""
    frames = itertools.chain(read(clip.clip, count=1), read(clip.clip, tuned, 4 if options.tiny else None))
    shape = clip.recipe.frame_shape
    taking_part = [name for name in RIVALS if not PEERS[name].missing()]
    rivals = {PEERS[name].title: name for name in (taking_part[:1] if options.tiny else taking_part)}
    ways = {
        BYTES: ("shared", chosen.profile),  # outputs are decoded and dropped
        f"{BYTES}, outputs its own": ("bytes", chosen.profile),
        f"{BYTES}, one tolerance": ("shared", chosen.single),
        "stream of floats": ("floats", chosen.profile),
        **{title: (way, Profile(0.0)) for title, way in rivals.items()},
    }
    reference = PEERS[RUNTIME].title
    entrants = contestants(str(clip.model), threads, shape, clip.recipe.size, ways, decodes=True)
    sent = ({FRAME: frame} for frame in frames)
    seen = watch(entrants, sent, clip.recipe.decode, reference, options.pace)
    rows = seen.rows(clip.recipe.agreement)
    ours = next(row for row in rows if row.name == BYTES)
    over = {row.name: seen.times[row.name].over(seen.times[reference]) for row in rows}
    return {
        "threads": threads,
        "best": seen.best,
        "rows": [{**row.to_json(), "over_onnxruntime": {"total": round(over[row.name].total, 4)}} for row in rows],
        **held_rows(
            seen,
            clip.recipe.agreement,
            {"same_time": ours.over_best, "same_work": ours.share},
            load(clip.model),
            shown(clip, tuned, options),
        ),
    }


def _unchanged_rows(options: Options, model: str, threads: int, size: tuple[int, int]) -> list[dict[str, Any]]:
    decoded = next(read(options.asset("cap12"), skip=0 if options.tiny else 100, count=1))
    recipe = Path("bytes", (decoded.shape[0], decoded.shape[1]), size, False).recipe(load_graph(model).inputs[0])
    frame = recipe.bytes(decoded)  # of the network's size, so that nothing but the step is left
    exact = Profile(0.0)
    ways = {
        "dense run": ("dense", exact),
        "ONNX Runtime": (RUNTIME, exact),
        BYTES: ("bytes", exact),
        f"{BYTES}, outputs shared": ("shared", exact),
        "stream of floats": ("floats", exact),
    }
    entrants = contestants(model, threads, size, size, ways, decodes=False)
    # a new array every time, as a decoder gives
    frames = ({FRAME: np.array(frame)} for _ in range(4 if options.tiny else UNCHANGED_FRAMES))
    times = take_turns(entrants, frames, options.pace)
    rivals = {"over_dense": "dense run", "over_onnxruntime": "ONNX Runtime"}
    return [_row(title, threads, times, rivals) for title in ways]


def run(options: Options) -> dict[str, Any]:
    model, size = options.asset("yolox_nano"), (96, 128) if options.tiny else SIZE
    clip = ClipInputs(model, "yolox", options.asset("cap12"), size)
    chosen, tuned = chosen_for(clip, options, "byte_frames")
    paths, unchanged = [], []
    for threads in options.threads:
        options.say(f"byte_frames: the whole path, {threads} thread(s)")
        paths.append(_paths(options, clip, threads, chosen, tuned["frames"]))
        options.say(f"byte_frames: an unchanged frame, {threads} thread(s)")
        unchanged += _unchanged_rows(options, str(model), threads, size)
    return {
        "asked": ASKED,
        "size": list(size),
        "frame_shape": list(clip.recipe.frame_shape),
        "tuned": tuned,
        "paths": paths,
        "unchanged": unchanged,
    }
