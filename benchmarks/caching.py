"""What the caches save on real convolutions (MobileNetV2 224x224), and that they cost nothing where they save nothing.

Contestants take turns within each pair, so that a slow second of the machine meets both.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from benchmarks.options import Options
from reconv.cache import POLICIES, Cache, replay
from reconv.cache.tiers import DiskTier
from reconv.engine import Model, load
from reconv.reuse.cached import cached
from reconv.reuse.features import Features
from reconv.reuse.keys import result_key
from reconv.reuse.local import local_keys
from reconv.reuse.prefix import SharedPrefix

Array = np.ndarray[Any, Any]
Pictures = list[dict[str, Array]]

ASKED = {
    "heads": 5.0,
    "second_epoch": 5.0,
    "unique_loss": 0.02,
    "back_within": 1000,
    "back_hits": 0.9,
    "batch_over_misses": 1.1,
}
HEADS = 10


def pictures(model: Model, count: int, seed: int = 0) -> Pictures:
    """Noise: what is in a picture decides neither its time nor the bytes of its result."""
    info = model.inputs[0]
    random = np.random.default_rng(seed)
    return [{info.name: random.random((1, 3, 224, 224), np.float32)} for _ in range(count)]


def seconds(work: Callable[..., object], *arguments: object) -> float:
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


def zipf(count: int, objects: int, seed: int = 0) -> list[int]:
    """Which picture each request asks for: the k-th with weight 1 / k."""
    weights = 1 / np.arange(1, objects + 1)
    return [int(i) for i in np.random.default_rng(seed).choice(objects, count, p=weights / weights.sum())]


def popular(model: Model, options: Options) -> dict[str, Any]:
    """200 requests over 50 pictures; the cache holds a fifth of the results' bytes."""
    count, objects = (12, 5) if options.tiny else (200, 50)
    asked, shown = zipf(count, objects), pictures(model, objects)
    model.run(shown[0])
    probe = Cache(1 << 30)
    cached(model, probe).run(shown[0])
    entry = probe.bytes
    capacity = entry * objects // 5
    plain = [seconds(model.run, shown[i]) for i in asked]
    costs = [statistics.median(plain)] * count
    rows = []
    for policy in POLICIES:
        fast = cached(model, Cache(capacity, policy))
        spent = sum(seconds(fast.run, shown[i]) for i in asked)
        told = replay(asked, [entry] * count, costs, policy=policy, capacity_bytes=capacity)
        rows.append(
            {
                "policy": policy,
                "hits": fast.stats.hits,
                "seconds_saved": round(1 - spent / sum(plain), 4),
                "replayed": round(told.share_of_seconds_saved, 4),
            }
        )
    bound = replay(asked, [entry] * count, costs, policy="belady", capacity_bytes=capacity)
    return {"requests": count, "pictures": objects, "rows": rows, "belady": round(bound.share_of_seconds_saved, 4)}


def heads_of(path: Path, count: int) -> list[onnx.ModelProto]:
    """Classifiers on one stem: global pooling and a fully connected layer of 100 classes each."""
    base = onnx.load(path)
    pool = next(node for node in base.graph.node if node.op_type in ("GlobalAveragePool", "ReduceMean"))
    stem = list(base.graph.node)[: list(base.graph.node).index(pool)]
    channels = next(
        numpy_helper.to_array(w).shape[0]
        for node in reversed(stem)
        if node.op_type == "Conv"
        for w in base.graph.initializer
        if w.name == node.input[1]
    )
    made = []
    for seed in range(count):
        weight = np.random.default_rng(seed).normal(0, 0.1, (channels, 100)).astype(np.float32)
        nodes = [
            *stem,
            helper.make_node("GlobalAveragePool", [pool.input[0]], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("Gemm", ["flat", "head"], ["classes"]),
        ]
        used = {name for node in nodes for name in node.input}
        weights = [w for w in base.graph.initializer if w.name in used]
        output = helper.make_tensor_value_info("classes", onnx.TensorProto.FLOAT, None)
        graph = helper.make_graph(
            nodes, "head", list(base.graph.input), [output], [*weights, numpy_helper.from_array(weight, "head")]
        )
        made.append(helper.make_model(graph, opset_imports=base.opset_import, ir_version=base.ir_version))
    return made


def heads(path: Path, threads: int, options: Options) -> dict[str, Any]:
    """Ten heads on one stem, beside ten separate runs."""
    models = [load(proto, threads=threads) for proto in heads_of(path, 3 if options.tiny else HEADS)]
    shared = SharedPrefix(models)
    shown = pictures(models[0], 3 if options.tiny else 20)
    shared(shown[0])
    for model in models:
        model.run(shown[0])
    apart, together = [], []
    for inputs in shown:
        apart.append(sum(seconds(model.run, inputs) for model in models))
        together.append(seconds(shared, inputs))
    ratio = statistics.median(a / b for a, b in zip(apart, together, strict=True))
    return {"heads": len(models), "times_faster": round(ratio, 2), "kept_bytes": shared.cut.bytes}


def epochs(path: Path, threads: int, options: Options) -> dict[str, Any]:
    """Two epochs over features that are kept on disk."""
    model = load(heads_of(path, 1)[0], threads=threads)
    shown = pictures(model, 4 if options.tiny else 128)
    samples = [(inputs, i % 10) for i, inputs in enumerate(shown)]
    with tempfile.TemporaryDirectory() as folder:
        cache = Cache(10_000, below=DiskTier(folder, 1 << 30))  # too small a memory: the features come from disk
        features = Features(model, samples, cache, at="flat", batch=16)
        first, second = (seconds(lambda: sum(len(labels) for _, labels in features)) for _ in range(2))
        cache.close()
    return {"samples": len(samples), "times_faster": round(first / second, 2)}


def unique(model: Model, options: Options) -> dict[str, Any]:
    """Requests that never come again, alternating with a model without a cache; then a return to popular pictures."""
    count, after = (20, 20) if options.tiny else (2000, 1000)
    fast = cached(model, Cache(1 << 24, "arc"))
    random = np.random.default_rng(1)
    inputs = pictures(model, 1)[0]
    name = next(iter(inputs))
    model.run(inputs)
    ratios = []
    for _ in range(count):
        inputs[name] = random.random((1, 3, 224, 224), np.float32)
        turns = (fast, model) if random.random() < 0.5 else (model, fast)
        taken = {turn: seconds(turn.run, inputs) for turn in turns}
        ratios.append(taken[fast] / taken[model])
    shown, asked = pictures(model, 50, seed=2), zipf(after, 50, seed=3)
    fresh = cached(model, Cache(1 << 24, "arc"))
    hits = {}
    for words, runs in (("back", fast), ("normal", fresh)):
        start = runs.stats.hits
        for i in asked[: -after // 4]:
            runs.run(shown[i])
        middle = runs.stats.hits
        for i in asked[-after // 4 :]:
            runs.run(shown[i])
        hits[words] = (middle - start, runs.stats.hits - middle)
    return {
        "requests": count,
        "median_over_plain": round(statistics.median(ratios), 4),
        "times_aside": fast.stats.times_aside,
        "passed_by": fast.stats.passed_by,
        "return_requests": after,
        "hits_of_the_last_quarter_over_normal": round(hits["back"][1] / max(hits["normal"][1], 1), 4),
        "hits_over_normal": round(sum(hits["back"]) / max(sum(hits["normal"]), 1), 4),
    }


def batches(model: Model, options: Options) -> dict[str, Any]:
    """A batch of 16 of which 12 are known, beside a batch of the 4 others alone."""
    name = model.inputs[0].name
    ratios = []
    for turn in range(2 if options.tiny else 40):
        shown = [inputs[name] for inputs in pictures(model, 16, seed=100 + turn)]
        fast = cached(model, Cache(1 << 26))
        fast.run({name: np.concatenate(shown[:12])})
        whole, four = np.concatenate(shown), np.concatenate(shown[12:])
        model.run({name: four})
        jobs = {"batch": (fast.run, whole), "misses": (model.run, four)}
        taken = {job: seconds(jobs[job][0], {name: jobs[job][1]}) for job in sorted(jobs, reverse=turn % 2 == 0)}
        ratios.append(taken["batch"] / taken["misses"])
    return {"median_over_misses": round(statistics.median(ratios), 4)}


def keys(model: Model) -> dict[str, Any]:
    """What a key costs, over a run: of a cache in memory alone, and of one with a tier below."""
    inputs = pictures(model, 1)[0]
    model.run(inputs)
    runs = [seconds(model.run, inputs) for _ in range(20)]
    local = [seconds(local_keys, model, [inputs]) for _ in range(20)]
    shared = [seconds(result_key, model, inputs) for _ in range(20)]
    return {
        "key_over_run": round(statistics.median(local) / statistics.median(runs), 4),
        "shared_key_over_run": round(statistics.median(shared) / statistics.median(runs), 4),
    }


def _suites(path: Path, threads: int, options: Options) -> Iterator[tuple[str, dict[str, Any]]]:
    model = load(path, threads=threads)
    steps: Sequence[tuple[str, Callable[[], dict[str, Any]]]] = (
        ("key", lambda: keys(model)),
        ("popular", lambda: popular(model, options)),
        ("heads", lambda: heads(path, threads, options)),
        ("epochs", lambda: epochs(path, threads, options)),
        ("unique", lambda: unique(model, options)),
        ("batch", lambda: batches(model, options)),
    )
    for name, step in steps:
        options.say(f"caching: {name}, {threads} thread(s)")
        yield name, step()


def run(options: Options) -> dict[str, Any]:
    path = options.asset("mobilenet_v2")
    return {"asked": ASKED, "runs": [{"threads": n, **dict(_suites(path, n, options))} for n in options.threads]}
