"""What measured loop orders and branches at once are worth: dense runs with them over dense runs with the defaults.

Inception-v3 stands beside the usual models, built with random weights: it has branches.

Both models live in one process and take turns (our threads park between runs, so neither disturbs the other); within a
turn the first frame brings the caches back and is not counted. Neither changes a bit of the results, which is checked
here too.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.builders import inception_v3
from benchmarks.models import DENSE
from benchmarks.options import Options
from reconv import Model, load
from reconv.engine.orders import Order
from reconv.graph import Source
from reconv.measure import Array, median_interval

TURN_FRAMES = 4


def _turn(model: Model, feeds: dict[str, Any], frames: int) -> float:
    """Mean seconds of the frames after the first."""
    model.run(feeds)
    start = time.perf_counter()
    for _ in range(frames):
        model.run(feeds)
    return (time.perf_counter() - start) / frames


def _words(order: Order) -> str:
    part = f"{order.part} weights at a time" if order.part else "whole windows"
    return f"{order.outside} outside, {order.blocks} blocks, {part}"


def _models(options: Options) -> Iterator[tuple[str, Source, dict[str, Array], int]]:
    """Title, model, input and how many frames are measured."""
    for bench in DENSE[:2] if options.tiny else DENSE:
        yield bench.title, options.asset(bench.asset), bench.input(options), bench.frames
    if not options.tiny:
        noise = np.random.default_rng(0).random((1, 3, 299, 299), np.float32)
        built = inception_v3()
        yield "Inception-v3 299x299", built, {built.graph.input[0].name: noise}, 40


def _row(options: Options, model: tuple[str, Source, dict[str, Array], int], threads: int) -> dict[str, Any]:
    title, source, feeds, count = model
    shapes = {name: array.shape for name, array in feeds.items()}
    default = load(source, threads=threads, shapes=shapes)
    expected = default.run(feeds)
    start = time.perf_counter()
    measured = load(source, threads=threads, shapes=shapes, kernels="measured")
    loading = time.perf_counter() - start
    for name, array in measured.run(feeds).items():
        assert np.array_equal(array, expected[name], equal_nan=True), f"{title}: {name} depends on the loop order"
    turns = 2 if options.tiny else max(count // 2, 8)
    frames = 1 if options.tiny or count < 40 else TURN_FRAMES
    times: dict[Model, list[float]] = {default: [], measured: []}
    for turn in range(turns):
        for one in (default, measured) if turn % 2 else (measured, default):
            times[one].append(_turn(one, feeds, frames))
    ratios = np.array(times[measured]) / np.array(times[default])
    before, after = default.kernels.layers, measured.kernels.layers
    changed = {layer: order for layer, order in after.items() if order != before[layer]}
    low, high = median_interval(ratios)
    return {
        "model": title,
        "threads": threads,
        "default_ms": round(1e3 * float(np.median(times[default])), 3),
        "over_default": round(float(np.median(ratios)), 4),
        "interval": [round(low, 4), round(high, 4)],
        "loading_seconds": round(loading, 2),
        "convolutions": len(after),
        "changed": {layer: [_words(before[layer]), _words(order)] for layer, order in changed.items()},
        "orders": dict(Counter(_words(order) for order in changed.values()).most_common()),
        "channels_by_default": sum(order.outside == "channels" for order in before.values()),
        "forks": len(default.kernels.forks),
        "forks_chosen": sum(measured.kernels.forks.values()),
    }


def run(options: Options) -> dict[str, Any]:
    rows = []
    for threads in options.threads:
        for model in _models(options):
            options.say(f"orders: {model[0]}, {threads} thread(s)")
            rows.append(_row(options, model, threads))
    return {"rows": rows}
