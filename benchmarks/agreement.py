"""What 8 bits change: how often MobileNetV2 in int8 tells the same class as in float32, on real pictures.

Pictures are frames of all clips, a second or more apart, and ImageNet photographs. Every fourth is for calibration, the
others are judged. What is measured is the file itself in ONNX Runtime. ONNX Runtime's own quantizer, per channel on the
same calibration pictures, stands beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.options import Options
from benchmarks.pictures import frames, imagenet_input
from reconv.compress.quantize import quantize
from reconv.graph import Graph, load, save, with_shapes
from reconv.measure import Array
from reconv.optimize.metric import Judge
from reconv.optimize.samples import open_samples
from reconv.optimize.values import RuntimeForward

ASKED = {"top1": 0.93, "pictures": 200}
SETTINGS: dict[str, dict[str, Any]] = {
    "ours, as it comes": {},
    "ours, no equalisation": {"equalize": False},
    "ours, min-max alone": {
        "calibration": "minmax",
        "equalize": False,
        "correct_bias": False,
        "clip_weights": False,
    },
}


def run(options: Options) -> dict[str, Any]:
    graph = load(options.asset("mobilenet_v2"))
    name = graph.inputs[0].name
    graph = with_shapes(graph, {name: (1, 3, 224, 224)})
    taken = [(where, imagenet_input(x)) for where, x in frames(options.asset, 2 if options.tiny else None)]
    fit = [{name: x} for _, x in taken[::4]]
    judged = [(where, {name: x}) for place, (where, x) in enumerate(taken) if place % 4]
    forward = RuntimeForward(2)
    names = [info.name for info in graph.outputs]
    feeds = [each for _, each in judged]
    judge = Judge(open_samples(feeds, graph), forward(graph, names, feeds), "top1_agreement")
    rows = []
    settings = dict(list(SETTINGS.items())[-1:]) if options.tiny else SETTINGS
    for title, chosen in settings.items():
        options.say(f"agreement: {title}")
        made = quantize(graph, fit, forward, **chosen).graph
        rows.append({"title": title, **_judged(judge, forward, made, names, feeds)})
    if not options.tiny:
        options.say("agreement: ONNX Runtime's quantizer")
        made = by_onnxruntime(graph, fit)
        rows.append({"title": "ONNX Runtime's quantizer, per channel", **_judged(judge, forward, made, names, feeds)})
    counts = Counter(where for where, _ in judged)
    return {"asked": ASKED, "pictures": dict(counts), "calibrated_on": len(fit), "rows": rows}


def _judged(
    judge: Judge, forward: RuntimeForward, graph: Graph, names: Sequence[str], feeds: Sequence[Any]
) -> dict[str, Any]:
    verdict = judge(forward(graph, names, feeds))
    return {"top1": round(verdict.value, 5), "error": round(verdict.error, 5)}


def by_onnxruntime(graph: Graph, fit: Sequence[dict[str, Array]]) -> Graph:
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
        save(graph, files[0])
        quantize_static(
            str(files[0]),
            str(files[1]),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return load(files[1].read_bytes())
