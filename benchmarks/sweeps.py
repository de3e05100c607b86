"""Sensitivity sweeps: MobileNetV2 layer by layer in 8 bits over 64 pictures, with the prefix cache and without it.

Both sweeps run the same variants, made beforehand, over the same pictures with the same engine, from nothing: opening
models counts. They take turns, and their results are compared number by number.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from benchmarks.options import Options
from benchmarks.pictures import frames, imagenet_input
from reconv.cache import Cache
from reconv.compress.quantize.quantize import OPSET
from reconv.compress.quantize.scheme import Scheme
from reconv.graph import Graph, load, with_shapes
from reconv.graph.opset import at_least_opset
from reconv.optimize.layerwise import layer_names, one_by_one
from reconv.optimize.metric import Judge
from reconv.optimize.samples import Samples, open_samples
from reconv.optimize.sensitivity import CACHE_BYTES, Runs, Sensitivity, sensitivities
from reconv.optimize.values import RuntimeForward

ASKED = {"faster": 1.8}
PICTURES, RANGED, ROUNDS = 64, 16, 2


def run(options: Options) -> dict[str, Any]:
    graph = load(options.asset("mobilenet_v2"))
    name = graph.inputs[0].name
    graph = at_least_opset(with_shapes(graph, {name: (1, 3, 224, 224)}), OPSET)
    taken = [{name: imagenet_input(x)} for _, x in frames(options.asset, 1 if options.tiny else 12)]
    count = 2 if options.tiny else PICTURES
    samples = open_samples(taken, graph).most(count)
    ranges = list(samples.most(RANGED))
    ways = list(one_by_one(graph, ranges, RuntimeForward(2), Scheme(target="reconv")))
    variants: list[tuple[str, Graph]] = [(layer, make()) for layer, make in (ways[::18] if options.tiny else ways)]
    runs = []
    for threads in options.threads:
        options.say(f"sweeps: {len(variants)} layers, {len(samples)} pictures, {threads} thread(s)")
        seconds: dict[str, list[float]] = {"with": [], "without": []}
        found: dict[str, list[Sensitivity]] = {}
        for _ in range(1 if options.tiny else ROUNDS):
            for word, taken_seconds in seconds.items():
                once, found[word] = _sweep(graph, samples, variants, threads, shared=word == "with")
                taken_seconds.append(once)
        with_cache, without = min(seconds["with"]), min(seconds["without"])
        pairs = list(zip(found["with"], found["without"], strict=True))
        off = max(abs(a.error - b.error) / max(b.error, 1e-12) for a, b in pairs)
        runs.append(
            {
                "threads": threads,
                "seconds": {word: [round(s, 3) for s in each] for word, each in seconds.items()},
                "faster": round(without / with_cache, 4),
                "equal": sum(a == b for a, b in pairs),
                "largest_difference": off,
            }
        )
    worst = sorted(found["with"], key=lambda each: -each.error)[:5]
    return {
        "asked": ASKED,
        "pictures": len(samples),
        "layers": len(variants),
        "runs": runs,
        "most_sensitive": [{"layer": s.layer, "error": round(s.error, 5), "loss": round(s.loss, 5)} for s in worst],
    }


def _sweep(
    graph: Graph, samples: Samples, variants: list[tuple[str, Graph]], threads: int, *, shared: bool
) -> tuple[float, list[Sensitivity]]:
    """Seconds and results of one sweep from nothing."""
    feeds = list(samples)
    ways: list[tuple[str, Callable[[], Graph]]] = [(layer, lambda made=made: made) for layer, made in variants]  # type: ignore[misc]
    start = time.perf_counter()
    runs = Runs(graph, feeds, layer_names(graph), Cache(CACHE_BYTES, "lru") if shared else None, threads)
    found = sensitivities(runs, ways, Judge(samples, runs.original(), "top1_agreement"))
    return time.perf_counter() - start, found
