"""Every method and every pair on networks trained on Fashion-MNIST: accuracy, bytes, and time of a batch of 16.

The networks are trained by `benchmarks.fashion`. Accuracy is on the 10,000 test pictures, which nothing is chosen by;
methods are given training pictures. Time is ONNX Runtime's, beside the untouched network's, in processes that take
turns. "packed" is what a general compressor makes of the file.
"""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.builders import written
from benchmarks.builders.fashion import mobilenet_28, resnet20
from benchmarks.fashion_data import INPUT, accuracy, samples
from benchmarks.options import Options
from reconv.compress import METHODS
from reconv.compress.forward import Feeds
from reconv.compress.result import SizeReport
from reconv.errors import ReconvError, one_line
from reconv.graph import Graph, load, save
from reconv.measure import Array, Contestant, take_turns
from reconv.optimize.folding import folded
from reconv.optimize.values import RuntimeForward
from scripts.assets import folder

ASKED = {"int8_points": 0.2, "pipeline_points": 0.5, "pipeline_faster": 4.0, "resnet20": 0.93}
BUILDERS: Mapping[str, Callable[[], Any]] = {"resnet20": resnet20, "mobilenet_28": mobilenet_28}
BATCH, FIT, SEED, FRAMES = 16, 256, 0, 120
OF_EACH = 3  # settings of a method that are shown: the mildest, the middle one, the boldest


@dataclass(frozen=True)
class Way:
    """A row of the table: what makes the network."""

    title: str
    make: Callable[[], Graph]


def run(options: Options) -> dict[str, Any]:
    rows = []
    for name in list(BUILDERS)[: 1 if options.tiny else None]:
        if name.startswith(options.only_model or ""):
            rows += _network(name, options)
    return {"asked": ASKED, "batch": BATCH, "rows": rows}


def _network(name: str, options: Options) -> list[dict[str, Any]]:
    path = _trained(name, options)
    graph = load(path)
    random = np.random.default_rng(SEED)
    fit, _ = samples("train", random.choice(60_000, 8 if options.tiny else FIT, replace=False))
    before = _figures(path, path, options)
    rows = [{"network": name, "method": "untouched", **before, "points": 0.0}]
    with TemporaryDirectory() as place:
        for way in _ways(name, graph, fit, options):
            options.say(f"compression: {name}, {way.title}")
            made = Path(place) / "made.onnx"
            try:
                save(way.make(), made)
            except ReconvError as error:
                rows.append({"network": name, "method": way.title, "failed": one_line(error)})
                continue
            found = _figures(path, made, options)
            points = round(100 * (before["accuracy"] - found["accuracy"]), 3)
            rows.append({"network": name, "method": way.title, **found, "points": points})
    return rows


def _trained(name: str, options: Options) -> Path:
    if options.tiny:  # training takes a while: the suite runs as well on what knows nothing
        return written(BUILDERS[name](), folder() / "built" / f"{name}_untrained.onnx")
    from benchmarks.fashion import trained  # noqa: PLC0415  # torch

    return trained(name, threads=options.threads[-1])


def _ways(name: str, graph: Graph, fit: Sequence[Feeds], options: Options) -> Iterator[Way]:
    """Every method alone, every other one with quantization behind it, and those that train."""
    forward = RuntimeForward(options.threads[-1])
    plain = folded(graph)

    def applied(method: str, settings: Mapping[str, Any], start: Graph = plain) -> Graph:
        return METHODS[method].apply(start, fit, forward, **settings).graph

    alone = [key for key, method in METHODS.items() if method.needs <= {"samples"} and "_quantize" not in key]
    alone = alone[:1] if options.tiny else alone
    chosen = {key: _spread(list(METHODS[key].settings(plain))) for key in alone}
    for key, each in chosen.items():
        for settings in each[: 1 if options.tiny else None]:
            yield Way(_title(key, settings), lambda k=key, s=settings: applied(k, s))  # type: ignore[misc]
    for key, each in chosen.items():
        for settings in each[:1] if key != "quantize" else ():
            title = f"{_title(key, settings)}, then quantize"
            yield Way(title, lambda k=key, s=settings: applied("quantize", {}, applied(k, s)))  # type: ignore[misc]
    if not options.tiny:
        yield Way("prune_quantize, in one call", lambda: applied("prune_quantize", {}))
    if not options.tiny and importlib.util.find_spec("torch"):
        yield from _trained_ways(name, graph, samples("train")[0], forward, options)


def _trained_ways(
    name: str, graph: Graph, feeds: Sequence[Feeds], forward: RuntimeForward, options: Options
) -> Iterator[Way]:
    """Those that train: what `benchmarks.fashion_pipeline` does step by step, and training through the codes alone."""
    from benchmarks.fashion import augmented_feeds  # noqa: PLC0415  # torch
    from benchmarks.fashion_pipeline import AWARE, STEPS, quick  # noqa: PLC0415
    from reconv.compress.train.qat import train_quantized  # noqa: PLC0415

    threads = options.threads[-1]
    _, classes = samples("train")
    course = replace(AWARE, threads=threads)
    yield Way(
        "distil while quantized",
        lambda: (
            train_quantized(
                folded(graph), feeds, forward, teacher=graph, labels=classes, course=course, augment=augmented_feeds
            ).graph
        ),
    )

    def step(title: str) -> Graph:
        return folded(load(quick(name, threads=threads)[title]))

    for title in STEPS:
        yield Way(title, lambda t=title: step(t))  # type: ignore[misc]
    yield Way("prune, quantize", lambda: METHODS["quantize"].apply(step("prune"), feeds[:FIT], forward).graph)


def _spread(settings: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    if len(settings) <= OF_EACH:
        return settings
    return [settings[0], settings[len(settings) // 2], settings[-1]]


def _title(name: str, settings: Mapping[str, Any]) -> str:
    said = [f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}" for key, value in settings.items()]
    return f"{name} ({', '.join(said)})" if said else name


def _figures(original: Path, made: Path, options: Options) -> dict[str, Any]:
    """Accuracy, bytes, and the time of a batch beside the untouched network's."""
    threads = options.threads[-1]
    shape = [size for size in load(made).inputs[0].shape[1:] if isinstance(size, int)]
    batch: Array = np.random.default_rng(0).standard_normal((BATCH, *shape)).astype(np.float32)
    contestants = [
        Contestant(name, "onnxruntime", str(path), threads) for name, path in (("before", original), ("after", made))
    ]
    frames = itertools.repeat({INPUT: batch}, 3 if options.tiny else FRAMES + 1)
    times = take_turns(contestants, frames, options.pace)
    ratio = times["after"].over(times["before"])
    size = SizeReport.of(load(made), packed=True)
    right = 0.0 if options.tiny else accuracy(made, threads=threads)
    return {
        "accuracy": right,
        "file_bytes": size.file,
        "packed_bytes": size.packed,
        "ms": round(1e3 * times["after"].median, 4),
        "faster": round(1 / ratio.median, 3),
    }
