"""How much memory a dense run takes, and what a limit of half of that costs in time.

Every measurement has a process of its own. The model is loaded and prepared (weights packed, the session made), the
heap is trimmed, the high-water mark reset; then comes one run, whose peak of resident memory over what there was before
it is the growth (Linux: VmHWM, reset through /proc/self/clear_refs). It is compared with what our plan announced, and
with ONNX Runtime, measured in every way in which its allocator can be set (an arena that doubles, one that grows as
requested, none); its best counts. The times of our two plans, with a limit and without, are taken in turns in one
process, and their results compared bit for bit.
"""

from __future__ import annotations

import ctypes
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.builders import unet, written
from benchmarks.options import Options
from reconv import InputError, load
from reconv.graph import extract
from reconv.graph import load as load_graph
from reconv.measure import median_interval
from scripts.assets import folder

ROOT = Path(__file__).parents[1]
ARENAS = ("doubling", "as requested", "off")
ASKED = {"planned": 0.05, "over_onnxruntime": 0.7, "limited_time": 1.3}
ROUNDS = 15


@dataclass(frozen=True)
class Subject:
    """A model file and the shape of its only input."""

    title: str
    path: str
    shape: tuple[int, ...]


def resident(key: str) -> int:
    """Bytes: VmRSS is what is resident now, VmHWM the most there was since the mark was reset."""
    found = re.search(rf"^{key}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def growth(run: Any) -> int:
    """Bytes by which resident memory grows at the most while ``run`` runs."""
    ctypes.CDLL(None).malloc_trim(0)
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    kept = run()
    most = resident("VmHWM")
    del kept
    return most - before


def noise(shape: tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(0).random(shape, np.float32)


def ours(subject: Subject, threads: int, limit: int | None) -> dict[str, Any]:
    """Growth of our first run, and what the plan had announced."""
    model = load(subject.path, threads=threads, memory_limit_bytes=limit)
    name = model.inputs[0].name
    x = noise(subject.shape)
    start = time.perf_counter()
    plan = model.memory_plan({name: subject.shape})
    prepared = time.perf_counter() - start
    return {
        "planned": plan.peak_bytes,
        "grown": growth(lambda: model.run({name: x})),
        "bands": [step.bands for step in plan.banded],
        "prepared_seconds": round(prepared, 2),
    }


def onnxruntime(subject: Subject, threads: int, arena: str) -> dict[str, Any]:
    """Growth of ONNX Runtime's first run, on a model whose sizes are fixed."""
    import onnxruntime as ort  # noqa: PLC0415  # only here: our own measurements do without it

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
    options.enable_cpu_mem_arena = arena != "off"
    if arena == "as requested":
        device = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
        grow = {
            "max_mem": 0,
            "arena_extend_strategy": 1,
            "initial_chunk_size_bytes": -1,
            "max_dead_bytes_per_chunk": -1,
        }
        ort.create_and_register_allocator(device, ort.OrtArenaCfg(grow))
        options.add_session_config_entry("session.use_env_allocators", "1")
    graph = load_graph(subject.path)
    name = graph.inputs[0].name
    fixed = extract(graph, [name], [info.name for info in graph.outputs], {name: subject.shape})
    del graph
    session = ort.InferenceSession(fixed, options, providers=["CPUExecutionProvider"])
    del fixed
    x = noise(subject.shape)
    return {"grown": growth(lambda: session.run(None, {name: x}))}


def times(subject: Subject, threads: int, limit: int, rounds: int) -> dict[str, Any]:
    """Dense runs under the limit over dense runs without one, in turns; the results have to be the same bits."""
    models = [load(subject.path, threads=threads), load(subject.path, threads=threads, memory_limit_bytes=limit)]
    feeds = {models[0].inputs[0].name: noise(subject.shape)}
    expected, *others = [model.run(feeds) for model in models]
    for name, array in expected.items():
        assert np.array_equal(array, others[0][name], equal_nan=True), f"{name} depends on the limit"
    seconds: list[list[float]] = [[], []]
    for turn in range(rounds):
        for which in (0, 1) if turn % 2 else (1, 0):
            start = time.perf_counter()
            models[which].run(feeds)
            seconds[which].append(time.perf_counter() - start)
    ratios = np.array(seconds[1]) / np.array(seconds[0])
    low, high = median_interval(ratios)
    return {
        "ms": round(1e3 * float(np.median(seconds[0])), 2),
        "over_unlimited": round(float(np.median(ratios)), 4),
        "interval": [round(low, 4), round(high, 4)],
    }


def reachable(subject: Subject, threads: int, limit: int) -> dict[str, Any]:
    """The limit, or the least there is where that is more."""
    model = load(subject.path, threads=threads, memory_limit_bytes=limit)
    try:
        model.memory_plan({model.inputs[0].name: subject.shape})
    except InputError as error:
        found = re.search(r"the least is (\d+)", str(error))
        assert found is not None
        return {"limit": int(found[1])}
    return {"limit": limit}


WHAT: Mapping[str, Callable[..., dict[str, Any]]] = {
    "ours": ours,
    "onnxruntime": onnxruntime,
    "times": times,
    "reachable": reachable,
}


def apart(what: str, subject: Subject, *arguments: Any) -> dict[str, Any]:
    """One of the functions above in a fresh process."""
    told = json.dumps([what, [subject.title, subject.path, subject.shape], arguments])
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", told], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{what} of {subject.title} failed: {done.stderr.strip().splitlines()[-1:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def subjects(options: Options) -> list[Subject]:
    size = 64 if options.tiny else 512
    width = 4 if options.tiny else 32
    path = written(unet(size, width=width), folder() / "built" / f"unet_memory_{size}_{width}.onnx")
    side = 64 if options.tiny else 640
    return [
        Subject(f"YOLOv8n {side}x{side}", str(options.asset("yolov8n_nudenet")), (1, 3, side, side)),
        Subject(f"U-Net {size}x{size}", str(path), (1, 3, size, size)),
    ]


def run(options: Options) -> dict[str, Any]:
    rows = []
    for subject in subjects(options):
        for threads in options.threads:
            options.say(f"memory: {subject.title}, {threads} thread(s)")
            free = apart("ours", subject, threads, None)
            tried = ARENAS[:1] if options.tiny else ARENAS
            arenas = {arena: apart("onnxruntime", subject, threads, arena)["grown"] for arena in tried}
            row = {
                "model": subject.title,
                "threads": threads,
                **free,
                "onnxruntime": arenas,
                "over_onnxruntime": round(free["grown"] / min(arenas.values()), 4),
            }
            row["limit"] = limit = apart("reachable", subject, threads, free["planned"] // 2)["limit"]
            row["limited"] = apart("ours", subject, threads, limit)
            row["limited_times"] = apart("times", subject, threads, limit, 2 if options.tiny else ROUNDS)
            rows.append(row)
    return {"asked": ASKED, "rows": rows}


if __name__ == "__main__":
    function, (title, file, shape), rest = json.loads(sys.argv[1])
    print(json.dumps(WHAT[function](Subject(title, file, tuple(shape)), *rest)))
