"""`reconv.optimize` on a detector: YOLOX-Nano 576x768 over vtest.avi, whose naive int8 is of no use.

The search sees frames of the first half of the clip. What it finds is judged on frames of the second half and measured
beside ONNX Runtime's float32, each in a process of its own. It is asked for ONNX Runtime and for our own engine.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.clips import ClipInputs, read
from benchmarks.models import YOLOX
from benchmarks.options import Options
from reconv.compress import METHODS
from reconv.measure import PEERS, Contestant, Job, take_turns
from reconv.optimize.limits import Limits
from reconv.optimize.optimize import optimize
from scripts.assets import folder

ASKED = {"f1@0.75": 0.92, "faster": 1.5}
TARGETS = ("reconv", "onnxruntime")
DEGRADATION = 0.06  # in the search: less than what is asked for on frames that it does not see
SEEN, EVERY, JUDGED_EVERY = 400, 4, 5  # frames of the clip that the search is given every fourth of, and the rest
SECONDS = 600.0


def run(options: Options) -> dict[str, Any]:
    rows = []
    for target in TARGETS[-1:] if options.tiny else TARGETS:
        path, report = found(options, target, again=options.tiny)
        rows.append({"target": target, **report, **_judged(options, path, target)})
        options.say(f"  {rows[-1]['chosen']}: F1 {rows[-1]['f1@0.75']}, {rows[-1]['faster']} times as fast")
    return {"asked": ASKED, "seen_frames": SEEN, "limit": DEGRADATION, "rows": rows}


def found(options: Options, target: str, *, again: bool = False) -> tuple[Path, dict[str, Any]]:
    """The file that the search found for a target, and what it says; searched for where it is not there yet."""
    built = folder() / "built"
    built.mkdir(parents=True, exist_ok=True)
    mark = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]  # other settings search anew
    name = f"yolox_optimized_{target}_{mark}{'_tiny' if options.tiny else ''}"
    path, said = built / f"{name}.onnx", built / f"{name}.json"
    if path.exists() and said.exists() and not again:
        known: dict[str, Any] = json.loads(said.read_text(encoding="utf-8"))
        return path, known
    options.say(f"optimize: YOLOX-Nano for {target}")
    size = (96, 128) if options.tiny else (576, 768)
    count, every = (12, 4) if options.tiny else (SEEN, EVERY)
    shown = itertools.islice(read(options.asset("vtest"), 0, count), 0, None, every)
    journal = built / f"{name}.journal"
    if again:
        journal.unlink(missing_ok=True)
    result = optimize(
        options.asset(YOLOX.asset),
        list(shown),
        Limits(max_degradation=DEGRADATION),
        recipe="yolox",
        size=size,
        target=target,
        methods={"prune": METHODS["prune"]} if options.tiny else None,
        seconds=1.0 if options.tiny else SECONDS,
        journal=journal,
        threads=options.threads[-1],
        say=options.say,
    )
    report = result.report
    result.save(path)
    kinds = list(report.precision.values())
    told = {
        "chosen": report.chosen.trial.candidate.title,
        "met": report.met,
        "proved_loss": round(report.chosen.trial.loss, 5),
        "int8_layers": kinds.count("int8"),
        "layers": len(kinds),
        "trials": len(report.trials),
        "search_seconds": round(report.seconds, 1),
        "complete": report.complete,
        "naive": _naive(report.to_json()["trials"]),
    }
    said.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return path, told


def _naive(trials: list[dict[str, Any]]) -> float | None:
    """F1 with all layers in 8 bits, the best of the recipes that were tried on all samples."""
    every = [t for t in trials if len(t["steps"]) == 1 and t["steps"][0]["settings"].get("exclude") == []]
    return max((t["value"] for t in every if t["value"] is not None), default=None)


def _judged(options: Options, path: Path, target: str) -> dict[str, Any]:
    """F1 on frames that the search did not see, and the time beside ONNX Runtime's float32."""
    size, threads = ((96, 128) if options.tiny else (576, 768)), options.threads[-1]
    clip = ClipInputs(options.asset(YOLOX.asset), "yolox", options.asset("vtest"), size)
    skip, count, every = (20, 3, 1) if options.tiny else (SEEN, None, JUDGED_EVERY)
    frames = list(itertools.islice(clip.frames(skip, count), 0, None, every))
    shapes = {name: array.shape for name, array in frames[0].items()}
    results = []
    for peer, model in (("onnxruntime", options.asset(YOLOX.asset)), (target, path)):
        runner = PEERS[peer].open(Job(str(model), shapes, threads))
        results.append([clip.recipe.decode(runner(inputs)) for inputs in frames])
        runner.close()
    agreement = clip.recipe.agreement(results[1], results[0])
    contestants = [
        Contestant("float", "onnxruntime", str(options.asset(YOLOX.asset)), threads),
        Contestant("optimized", target, str(path), threads),
    ]
    shown = itertools.repeat(frames[0], 3 if options.tiny else YOLOX.frames + 1)
    times = take_turns(contestants, shown, options.pace)
    ratio = times["optimized"].over(times["float"])
    return {
        **{name: round(value, 5) for name, value in agreement.items()},
        "judged_frames": len(frames),
        "threads": threads,
        "ms": {name: round(1e3 * each.median, 3) for name, each in times.items()},
        "faster": round(1 / ratio.median, 4),
        "faster_between": [round(float(np.divide(1, each)), 4) for each in (ratio.high, ratio.low)],
    }
