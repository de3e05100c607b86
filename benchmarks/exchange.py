"""What reordering is worth: every model as `reconv.exchange` makes it, over the untouched one, on the same runtime.

Each file is made for the runtime and the number of threads that it is then measured on. Both files are given to the
runtime in its best configuration, with all optimisations of its own, and take turns, each in processes of its own:
several, since one process may be some percent faster than another with the very same file. What is quoted is the median
of the ratios of paired turns, with its 95 % interval. A model of which nothing is reordered is measured too: its ratio
shows how far a measurement can be trusted.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.builders import fpn_segmentation
from benchmarks.models import EXCHANGE, YOLOX, BenchModel
from benchmarks.options import Options
from reconv.cache import Cache
from reconv.cache.tiers import DiskTier
from reconv.measure import PEERS, Arrays, Contestant, median_interval, take_turns
from reconv.optimize.exchange import Exchanged, exchange

ASKED = {
    "densenet121": 0.94,  # on every rival
    "upsampling": 0.90,  # at least one of the networks that sample up, on every rival
    "upper_end": 1.02,
    "search_seconds": 120.0,
    "again_seconds": 10.0,
}
TARGETS = ("reconv", "onnxruntime", "openvino-f32", "openvino")
LEAST_TURNS, MOST_TURNS, SECONDS = 12, 60, 15.0  # of one pair of files; the seconds count between the two limits
COPIES = 3  # processes of each file
SMALL = partial(fpn_segmentation, width=4, channels=8)
TINY = BenchModel("small FPN", "fpn_small", (1, 3, 64, 64), (1, 3, 64, 64), builder=SMALL)


def run(options: Options) -> dict[str, Any]:
    models, searched = ((TINY,), TINY) if options.tiny else (EXCHANGE, YOLOX)
    targets = [name for name in (TARGETS[:2] if options.tiny else TARGETS) if not PEERS[name].missing()]
    rows, searches = [], []
    models = tuple(model for model in models if model.asset.startswith(options.only_model or ""))
    with tempfile.TemporaryDirectory() as folder:
        for threads, model, target in product(options.threads, models, targets):
            options.say(f"exchange: {model.title}, {target}, {threads} thread(s)")
            about = {"model": model.title, "target": target, "threads": threads}
            found, seconds = _exchanged(model, target, threads, options, Path(folder))
            row = _row(model, found, options, Path(folder) / "exchanged.onnx")
            options.say(f"  {seconds:.0f} s, {row['ratio']}, {row['rules'] or row['reason']}")
            rows.append(about | {"asset": model.asset, "search_seconds": round(seconds, 2)} | row)
            if model is searched:
                _, again = _exchanged(model, target, threads, options, Path(folder))
                searches.append(about | {"seconds": round(seconds, 2), "again_seconds": round(again, 2)})
    return {"asked": ASKED, "rows": rows, "searches": searches}


def _exchanged(model: BenchModel, target: str, threads: int, options: Options, folder: Path) -> tuple[Exchanged, float]:
    """The exchanged model and the seconds of the search, whose measurements are remembered in the folder."""
    shapes = {name: array.shape for name, array in model.input(options).items()}
    path = model.path(options)
    memo = Cache(1 << 20, "lru", below=DiskTier(folder / "memo", 1 << 26))
    start = time.perf_counter()
    found = exchange(path, target=target, cost="measured", shapes=shapes, threads=threads, memo=memo)
    return found, time.perf_counter() - start


def _row(model: BenchModel, found: Exchanged, options: Options, exchanged: Path) -> dict[str, Any]:
    """The untouched file and the exchanged one, written to the path, on the runtime that the search was for."""
    report = found.report.to_json()
    found.save(exchanged)
    files = {"untouched": model.path(options), "exchanged": exchanged}
    contestants = [
        Contestant(f"{name} {copy}", report["target"], str(file), report["threads"])
        for copy in range(1 if options.tiny else COPIES)
        for name, file in files.items()
    ]
    pace = options.pace if options.tiny else replace(options.pace, turn_frames=max(model.frames // 10, 1))
    times = take_turns(contestants, _frames(model.input(options), pace.turn_frames, options.tiny), pace)
    before, after = ([each for key, each in times.items() if key.startswith(name)] for name in files)
    old, new = (np.mean([each.per_turn() for each in side], axis=0) for side in (before, after))
    low, high = median_interval(new / old)
    return {
        "rules": report["rules"] if report["applied"] else {},
        "reason": report["reason"],
        "failed_proofs": len(report["bugs"]),
        "multiply_adds": [report[side]["multiply_adds"] for side in ("before", "after")],
        "ms": [round(1e3 * float(np.median(side)), 3) for side in (old, new)],
        "turns": len(new),
        "copies": len(before),
        "ratio": {"median": round(float(np.median(new / old)), 4), "low": round(low, 4), "high": round(high, 4)},
        **after[0].facts,
    }


def _frames(inputs: Arrays, turn_frames: int, tiny: bool) -> Iterator[Arrays]:
    """The same frame, once to warm up and then turn by turn for as long as one pair may take."""
    yield inputs
    least, most = (2, 2) if tiny else (LEAST_TURNS, MOST_TURNS)
    start, turns = time.perf_counter(), 0
    while turns < least or (turns < most and time.perf_counter() - start < SECONDS):
        for _ in range(turn_frames):
            yield inputs
        turns += 1
