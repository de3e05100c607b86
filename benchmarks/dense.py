"""Dense runs: our time over ONNX Runtime's on six models. Reuse pays only on top of kernels that keep up."""

from __future__ import annotations

import itertools
from statistics import geometric_mean
from typing import Any

from benchmarks.models import DENSE
from benchmarks.options import Options, field
from reconv.measure import take_turns

ASKED = {"geometric_mean": 1.15, "largest": 1.5}


def run(options: Options) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for threads, model in itertools.product(options.threads, DENSE[:2] if options.tiny else DENSE):
        options.say(f"dense: {model.title}, {threads} thread(s)")
        frames = itertools.repeat(model.input(options), 3 if options.tiny else model.frames + 1)
        times = take_turns(field(options.asset(model.asset), threads), frames, options.pace)
        for name, measured in times.items():
            ratio = measured.over(times["onnxruntime"])
            over = {key: round(getattr(ratio, key), 4) for key in ("median", "low", "high")}
            row = {"model": model.title, "threads": threads, "peer": name, "over_onnxruntime": over}
            rows.append({**row, **measured.to_json()})
    summary = []
    for threads in options.threads:
        ratios = [r["over_onnxruntime"]["median"] for r in rows if r["threads"] == threads and r["peer"] == "reconv"]
        means = {"geometric_mean": round(geometric_mean(ratios), 4), "largest": max(ratios)}
        summary.append({"threads": threads, **means})
    return {"asked": ASKED, "summary": summary, "rows": rows}
