"""Every recipe on a real model and a real clip: our streams, exact and with a tolerance, beside the dense runtimes.

The tolerance is the largest that agrees as asked on the first frames of the clip, with raw outputs whose error is at
most `KEPT` of a frozen first answer's: where the answer hardly changes, a frozen one agrees as well. The frames after
them are judged, beside frame holding and a motion gate at the same time and at the same share of the work. What is
asked is of ONNX Runtime's time; the best dense runtime in any precision takes part as well.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.holding import held_rows
from benchmarks.options import Options, field
from reconv.app.demo import recording
from reconv.engine.model import Model, load
from reconv.engine.tolerance import Profile
from reconv.engine.tuning.ladder import Ladder
from reconv.measure import Array, Clip, OutputError, watch
from reconv.recipes import RECIPES, Recipe
from reconv.recipes.sources import open_source

SCREEN = "screen.mp4"
KEPT = 0.45  # of the frozen answer's error, on the first frames; as for the quiet scene
ASKED = {"recipe": "dbnet", "over_onnxruntime": 1 / 3, "f1@0.75": 0.98}


@dataclass(frozen=True)
class Case:
    """model, clip: assets, or the demo's recording; size: of the network's input, None for the frames' own; agreement:
    asked of the headline measure on the `first` frames; judged: frames after these; skip: frames before; without: peers
    that cannot run the model; tiny: the size in tiny mode."""

    recipe: str
    title: str
    model: str
    clip: str
    agreement: float = 0.99
    size: tuple[int, int] | None = None
    first: int = 40
    judged: int = 80
    skip: int = 0
    without: tuple[str, ...] = ()
    tiny: tuple[int, int] | None = (96, 128)

    def inputs(self, recipe: Recipe, path: Path, skip: int, count: int) -> Iterator[dict[str, Array]]:
        """`count` inputs of the network after the first `skip` of the case."""
        frames = recipe.framed(open_source(str(path))).frames()
        for frame in itertools.islice(frames, self.skip + skip, self.skip + skip + count):
            yield recipe.feeds(frame)


CASES: tuple[Case, ...] = (
    Case("dbnet", "PP-OCRv4 text detector", "ppocr_det", SCREEN, agreement=0.995),
    Case("yolov8", "YOLOv8n (nudenet)", "yolov8n_nudenet", "cap12", first=80, judged=240),
    Case("centerface", "CenterFace", "centerface_clean", "cap12", first=80, judged=240),
    Case("centerface", "CenterFace", "centerface_clean", "franck", first=60, judged=120),
    Case("imagenet", "MobileNetV2", "mobilenet_v2", "cap12", first=80, judged=240),
    Case("imagenet_tf", "EfficientNet-Lite0", "efficientnet_lite0", "vtest", first=80, judged=240),
    Case("super_resolution", "waifu2x 2x", "waifu2x", SCREEN, first=5, judged=8, tiny=(48, 64)),
    Case("audio", "CREPE tiny", "crepe_tiny", "speech", first=200, judged=400, tiny=None),
    Case("audio", "CREPE tiny", "crepe_tiny", "announcement", first=40, judged=80, tiny=None),
    # ten seconds choose: in fewer hardly anything has a pitch
    Case("audio", "SwiftF0", "swift_f0", "music", first=80, judged=120, tiny=None),
)


@dataclass(frozen=True)
class Played:
    """What a tolerance gave on the first frames; `headline` is at least what is asked for where both bars are met."""

    share: float
    agreement: float
    error_of_frozen: float
    headline: float

    def to_json(self) -> dict[str, float]:
        return {name: round(getattr(self, name), 5) for name in ("share", "agreement", "error_of_frozen")}


def player(model: Model, recipe: Recipe, frames: list[dict[str, Array]], asked: float) -> Callable[[float], Played]:
    """Runs frames at a tolerance."""
    outputs = [model.run(inputs) for inputs in frames]
    dense = [recipe.decode_brief(each) for each in outputs]

    def play(tolerance: float) -> Played:
        results, shares, error = [], [], OutputError()
        with model.stream(tolerance) as stream:
            for inputs, right in zip(frames, outputs, strict=True):
                ours = stream(inputs)
                results.append(recipe.decode_brief(ours))
                shares.append(stream.last.recomputed)
                error.add(right, ours)
        agreement = next(iter(recipe.agreement(results[1:], dense[1:]).values()))
        headline = min(agreement, asked + KEPT - error.of_frozen)
        return Played(sum(shares[1:]) / (len(shares) - 1), agreement, error.of_frozen, headline)

    return play


def run(options: Options) -> dict[str, Any]:
    few = {(case.recipe == "audio"): case for case in reversed(CASES)}  # one of pictures and one of sounds
    cases = few.values() if options.tiny else CASES
    return {"asked": ASKED, "threads": options.threads[-1], "rows": [_case(case, options) for case in cases]}


def _clip(case: Case, options: Options) -> AbstractContextManager[Path]:
    return recording() if case.clip == SCREEN else nullcontext(options.asset(case.clip))


def _case(case: Case, options: Options) -> dict[str, Any]:
    threads, path = options.threads[-1], options.asset(case.model)
    first, judged = (3, 4) if options.tiny else (case.first, case.judged)
    model = load(path, threads=threads)
    with _clip(case, options) as clip:
        shape = open_source(str(clip)).shape
        recipe = RECIPES[case.recipe].for_model(model, shape, case.tiny if options.tiny else case.size)
        options.say(f"recipes: {case.recipe}, {case.title}: choosing a tolerance on {first} frames")
        play = player(model, recipe, list(case.inputs(recipe, clip, 0, first)), case.agreement)
        ladder: Ladder[Played] = Ladder(play, case.agreement)
        tolerance = ladder.climb(close=1.3 if options.tiny else 1.12) or 0.0
        options.say(f"recipes: {case.recipe}, {case.title}: tolerance {tolerance:g}, {judged} frames are judged")
        streams = {"": Profile(tolerance), "exact": Profile(0.0)}
        left_out = (*case.without, *["openvino", "openvino-f32"] * options.tiny)
        contestants = [each for each in field(path, threads, streams) if each.peer not in left_out]
        seen = watch(
            contestants, case.inputs(recipe, clip, first, judged), recipe.decode_brief, "onnxruntime", options.pace
        )
        results = _judged(seen, recipe, model, case.inputs(recipe, clip, first, judged))
    return {
        "recipe": case.recipe,
        "model": case.title,
        "clip": case.clip,
        "size": list(recipe.size),
        "tuned": {
            "frames": first,
            "agreement": case.agreement,
            "tolerance": tolerance,
            "error_of_frozen": KEPT,
            "tried": [{"tolerance": t, **played.to_json()} for t, played in sorted(ladder.tried.items())],
        },
        "without": list(case.without),
        "frames": judged,
        **results,
    }


def _judged(seen: Clip, recipe: Recipe, model: Model, frames: Iterable[dict[str, Array]]) -> dict[str, Any]:
    rows = seen.rows(recipe.agreement)
    ours = next(row for row in rows if row.name == "reconv-stream")
    runtime = seen.times["onnxruntime"].mean
    return {
        "best": seen.best,
        "over_onnxruntime": {row.name: round(row.mean_ms / 1e3 / runtime, 4) for row in rows},
        "contestants": [row.to_json() for row in rows],
        **held_rows(seen, recipe.agreement, {"same_time": ours.over_best, "same_work": ours.share}, model, frames),
    }
