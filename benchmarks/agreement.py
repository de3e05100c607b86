"""What 8 bits change: how often MobileNetV2 in int8 tells the same class as in float32, on real pictures.

Ranges are taken from photographs and from frames of the first half of each clip. Judged are frames of the second
halves, a second or more apart, and ImageNet pictures. Which layers stay float is chosen by a sensitivity sweep over the
photographs alone. What is measured is the file itself in ONNX Runtime. ONNX Runtime's own quantizer (per channel,
min-max) and NNCF's stand beside it, with the same pictures and the same layers left float. Last, the time of our runs.
"""

from __future__ import annotations

import importlib.util
import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx

from benchmarks.options import Options
from benchmarks.pictures import frames, imagenet_input, photographs
from reconv.cache import Cache
from reconv.compress.quantize import quantize
from reconv.compress.quantize.quantize import OPSET
from reconv.compress.quantize.scheme import Scheme
from reconv.graph import Graph, load, save, to_onnx, with_shapes
from reconv.graph.opset import at_least_opset
from reconv.measure import Array, Contestant, take_turns
from reconv.optimize.layerwise import layer_names, one_by_one
from reconv.optimize.metric import Judge
from reconv.optimize.samples import open_samples
from reconv.optimize.sensitivity import CACHE_BYTES, Runs, sensitivities
from reconv.optimize.values import RuntimeForward

ASKED = {"top1": 0.93, "pictures": 200, "clips": 8}
LEFT = (0, 5, 10, 15)  # layers in float
FRAMES = 64  # of the clips, that ranges are taken from
SETTINGS: dict[str, dict[str, Any]] = {
    "ours, equalised": {"equalize": True},
    "ours, min-max alone": {"calibration": "minmax", "correct_bias": False, "clip_weights": False},
}
Feeds = dict[str, Array]
Make = Callable[[], Graph]


def run(options: Options) -> dict[str, Any]:
    graph = load(options.asset("mobilenet_v2"))
    name = graph.inputs[0].name
    graph = at_least_opset(with_shapes(graph, {name: (1, 3, 224, 224)}), OPSET)
    still = [{name: imagenet_input(x)} for x in photographs(options.asset)][: 2 if options.tiny else None]
    first, judged = halves(options, name)
    apart = max(1, len(first) // FRAMES)
    fit = still + first[::apart]
    forward = RuntimeForward(2)
    names = [info.name for info in graph.outputs]
    feeds = [each for _, each in judged]
    judge = Judge(open_samples(feeds, graph), forward(graph, names, feeds), "top1_agreement")
    order = [] if options.tiny else by_sensitivity(graph, still, forward, options)
    rows: list[dict[str, Any]] = []
    with TemporaryDirectory() as folder:
        for title, left, make in _ways(graph, fit, forward, order, options):
            options.say(f"agreement: {title}")
            verdict = judge(forward(made := make(), names, feeds))
            path = Path(folder) / f"{len(rows)}.onnx"
            save(made, path)
            told = {
                "title": title,
                "left_float": left,
                "top1": round(verdict.value, 5),
                "error": round(verdict.error, 5),
            }
            rows.append(told | _speed(options, path, feeds[0], ours=title.startswith("ours")))
    counts = Counter(where for where, _ in judged)
    return {"asked": ASKED, "pictures": dict(counts), "calibrated_on": len(fit), "order": order, "rows": rows}


def halves(options: Options, name: str) -> tuple[list[Feeds], list[tuple[str, Feeds]]]:
    """Frames of the first halves of all clips; those of the second halves and ImageNet pictures, with where from."""
    of: dict[str, list[Feeds]] = {}
    for where, x in frames(options.asset, 2 if options.tiny else None):
        of.setdefault(where, []).append({name: imagenet_input(x)})
    first, judged = [], []
    for where, each in of.items():
        half = 0 if where == "imagenet" else len(each) // 2
        first += each[:half]
        judged += [(where, x) for x in each[half:]]
    return first, judged


def by_sensitivity(graph: Graph, pictures: Sequence[Feeds], forward: RuntimeForward, options: Options) -> list[str]:
    """Layers, the one whose 8 bits change the outputs most first."""
    options.say("agreement: sensitivity of the layers")
    samples = open_samples(list(pictures), graph)
    ways = one_by_one(graph, list(pictures), forward, Scheme(target="reconv"))
    runs = Runs(graph, list(samples), layer_names(graph), Cache(CACHE_BYTES, "lru"), options.threads[-1])
    found = sensitivities(runs, ways, Judge(samples, runs.original(), "top1_agreement"))
    return [each.layer for each in sorted(found, key=lambda each: -each.error)]


def _ways(
    graph: Graph, fit: Sequence[Feeds], forward: RuntimeForward, order: Sequence[str], options: Options
) -> list[tuple[str, int, Make]]:
    """(title, how many layers stay float, what makes the graph)"""
    found: list[tuple[str, int, Make]] = []
    for left in LEFT[:1] if options.tiny else LEFT:
        about: dict[str, Any] = {"exclude": order[:left], "target": "reconv"}
        found.append(("ours", left, lambda a=about: quantize(graph, fit, forward, **a).graph))  # type: ignore[misc]
    if options.tiny:
        return found
    for title, chosen in SETTINGS.items():
        found.append((title, 0, lambda c=chosen: quantize(graph, fit, forward, target="reconv", **c).graph))  # type: ignore[misc]
    for left in (0, 10):
        found.append(("ONNX Runtime's quantizer", left, lambda k=left: by_onnxruntime(graph, fit, order[:k])))  # type: ignore[misc]
        if importlib.util.find_spec("nncf"):
            found.append(("NNCF", left, lambda k=left: by_nncf(graph, fit, order[:k])))  # type: ignore[misc]
    return found


def _speed(options: Options, path: Path, feeds: Feeds, *, ours: bool) -> dict[str, float]:
    """How many times as fast as our float32 our run of the file is."""
    if not ours:
        return {}
    threads = options.threads[-1]
    files = {"float": options.asset("mobilenet_v2"), "int8": path}
    contestants = [Contestant(name, "reconv", str(file), threads) for name, file in files.items()]
    times = take_turns(contestants, itertools.repeat(feeds, 3 if options.tiny else 121), options.pace)
    return {"faster": round(1 / times["int8"].over(times["float"]).median, 3)}


def _named(graph: Graph) -> onnx.ModelProto:
    """The model with the names of its nodes that others are told to leave alone: the file may have none."""
    model = to_onnx(graph)
    for node, known in zip(model.graph.node, graph.nodes, strict=True):
        node.name = known.name
    return model


def by_onnxruntime(graph: Graph, fit: Sequence[Feeds], exclude: Sequence[str]) -> Graph:
    """The model quantized by ONNX Runtime: static, per channel, min-max."""
    from onnxruntime.quantization import (  # noqa: PLC0415  # only here
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter(fit)

        def get_next(self) -> Any:
            return next(self._left, None)

    with TemporaryDirectory() as folder:
        files = [Path(folder) / "float.onnx", Path(folder) / "int8.onnx"]
        onnx.save(_named(graph), files[0])
        quantize_static(
            str(files[0]),
            str(files[1]),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=list(exclude),
        )
        return load(files[1].read_bytes())


def by_nncf(graph: Graph, fit: Sequence[Feeds], exclude: Sequence[str]) -> Graph:
    """The model quantized by NNCF, as it comes."""
    import nncf  # noqa: PLC0415  # it takes half a minute to be imported

    ignored = nncf.IgnoredScope(names=list(exclude)) if exclude else None
    made = nncf.quantize(_named(graph), nncf.Dataset(fit), subset_size=len(fit), ignored_scope=ignored)
    return load(made.SerializeToString())
