"""8 bits: our dense int8 beside ONNX Runtime's and OpenVINO's, and beside our own float32.

One file in QuantizeLinear and DequantizeLinear goes to ours and to OpenVINO; OpenVINO also gets what NNCF, its own
quantizer, makes of the float model, and counts with whichever is faster. ONNX Runtime gets the file that our quantizer
makes for it. Ranges are taken from noise: the time of a dense run does not depend on what is seen. Our own times are
then taken again on every instruction set of the machine.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import geometric_mean
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.models import DENSE, BenchModel
from benchmarks.options import Options
from reconv import _core
from reconv.compress.quantize import quantize
from reconv.graph import Graph, load, save, with_shapes
from reconv.measure import PEERS, Array, Contestant, Times, take_turns
from reconv.optimize.values import RuntimeForward

ASKED = {"over_openvino": 1.1, "over_own_f32": 2.5, "of": ("ResNet-50-thin 224x224", "YOLOv8n 640x640")}
MODELS = ("ResNet-50-thin", "MobileNetV2", "YOLOv8n", "CenterFace")
SAMPLES = 4


def run(options: Options) -> dict[str, Any]:
    models = [model for name in MODELS for model in DENSE if model.title.startswith(name)]
    if options.tiny:
        models = models[-1:]
    rows, sets = [], []
    with TemporaryDirectory() as folder:
        for model in models:
            options.say(f"int8: quantizing {model.title}")
            files = files_of(model, options, Path(folder))
            for threads in options.threads:
                options.say(f"int8: {model.title}, {threads} thread(s)")
                times = _turns(model, files, threads, options)
                rows += _rows(model, times, threads)
            for isa in _core.isas()[: 1 if options.tiny else None]:
                with instruction_set(isa):
                    own = {name: file for name, file in files.items() if name.startswith("reconv")}
                    times = _turns(model, own, options.threads[-1], options)
                ratio = times["reconv int8"].over(times["reconv f32"])
                about = {"model": model.title, "isa": isa, "threads": options.threads[-1]}
                ms = {name: round(1e3 * each.median, 3) for name, each in times.items()}
                sets.append(about | {"ms": ms, "over_f32": round(ratio.median, 4)})
    return {"asked": ASKED, "rows": rows, "instruction_sets": sets, "summary": _summary(rows)}


def files_of(model: BenchModel, options: Options, folder: Path) -> dict[str, tuple[str, Path]]:
    """Contestant -> peer and file; NNCF's where NNCF is installed."""
    frames = samples_of(model, options)
    shapes = {name: array.shape for name, array in frames[0].items()}
    graph = with_shapes(load(model.path(options)), shapes)
    found = {"reconv f32": ("reconv", model.path(options)), "onnxruntime f32": ("onnxruntime", model.path(options))}
    for name, peer, target in (("reconv int8", "reconv", "reconv"), ("onnxruntime int8", "onnxruntime", "onnxruntime")):
        path = folder / f"{model.asset}_{target}.onnx"
        save(quantize(graph, frames, RuntimeForward(2), target=target, equalize=False).graph, path)
        found[name] = (peer, path)
    if options.tiny:
        found.pop("onnxruntime f32")
    if not PEERS["openvino"].missing():
        found["openvino int8, same file"] = ("openvino", found["reconv int8"][1])
        if importlib.util.find_spec("nncf") and not options.tiny:  # it takes half a minute to be imported
            found["openvino int8, NNCF"] = ("openvino", _nncf(graph, frames, folder / f"{model.asset}_nncf.xml"))
    return found


def samples_of(model: BenchModel, options: Options) -> list[dict[str, Array]]:
    """Noise of the model's input."""
    first = model.input(options)
    random = np.random.default_rng(1)
    return [
        {name: (random.random(array.shape, np.float32) * np.float32(model.largest)) for name, array in first.items()}
        for _ in range(SAMPLES)
    ]


def _nncf(graph: Graph, frames: list[dict[str, Array]], path: Path) -> Path:
    """The float model quantized by NNCF for OpenVINO, as OpenVINO's own file."""
    import nncf  # noqa: PLC0415  # only here: all else does without it
    import openvino  # noqa: PLC0415

    float_file = path.with_suffix(".float.onnx")
    save(graph, float_file)
    model = openvino.Core().read_model(str(float_file))
    quantized = nncf.quantize(model, nncf.Dataset(frames), subset_size=len(frames))
    openvino.save_model(quantized, str(path), compress_to_fp16=False)
    return path


@contextmanager
def instruction_set(name: str) -> Iterator[None]:
    """Processes that begin inside run our kernels of this instruction set."""
    before = os.environ.get("RECONV_ISA")
    os.environ["RECONV_ISA"] = name
    try:
        yield
    finally:
        if before is None:
            del os.environ["RECONV_ISA"]
        else:
            os.environ["RECONV_ISA"] = before


def _turns(
    model: BenchModel, files: Mapping[str, tuple[str, Path]], threads: int, options: Options
) -> Mapping[str, Times]:
    contestants = [Contestant(name, peer, str(path), threads) for name, (peer, path) in files.items()]
    frames = itertools.repeat(model.input(options), 3 if options.tiny else model.frames + 1)
    return take_turns(contestants, frames, options.pace)


def _rows(model: BenchModel, times: Mapping[str, Times], threads: int) -> list[dict[str, Any]]:
    ours = times["reconv int8"]
    return [
        {
            "model": model.title,
            "threads": threads,
            "contestant": name,
            "ours_over_it": round(ours.over(measured).median, 4),
            **measured.to_json(),
        }
        for name, measured in times.items()
    ]


def _summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for threads in dict.fromkeys(row["threads"] for row in rows):
        best, own = {}, {}
        for model in dict.fromkeys(row["model"] for row in rows):
            of = [row for row in rows if (row["model"], row["threads"]) == (model, threads)]
            rivals = [row["ours_over_it"] for row in of if row["contestant"].startswith("openvino")]
            best[model] = max(rivals, default=None)  # the faster OpenVINO is the one that ours looks worst beside
            own[model] = round(1 / next(r["ours_over_it"] for r in of if r["contestant"] == "reconv f32"), 4)
        known = [ratio for ratio in best.values() if ratio is not None]
        mean = round(geometric_mean(known), 4) if known else None
        found.append({"threads": threads, "over_openvino": best, "geometric_mean": mean, "over_own_f32": own})
    return found
