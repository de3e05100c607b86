"""The page's section on the memory of dense runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.tables import table


def _mb(size: float) -> str:
    return f"{size / 1e6:.1f}"


def memory(suite: Mapping[str, Any]) -> list[str]:
    head = ["model", "threads", "planned MB", "measured", "ONNX Runtime MB", "over it", "limit MB", "measured", "time"]
    rows = []
    for row in suite["rows"]:
        limited, times = row["limited"], row["limited_times"]
        low, high = times["interval"]
        rivals = ", ".join(f"{_mb(size)} ({arena})" for arena, size in row["onnxruntime"].items())
        rows.append(
            [
                row["model"],
                str(row["threads"]),
                _mb(row["planned"]),
                f"{row['grown'] / row['planned']:.3f}",
                rivals,
                f"{row['over_onnxruntime']:.3f}",
                f"{_mb(row['limit'])} ({row['limit'] / row['planned']:.2f})",
                f"{limited['grown'] / limited['planned']:.3f}",
                f"{times['over_unlimited']:.3f} ({low:.3f} to {high:.3f})",
            ]
        )
    return [
        "## Memory of a dense run",
        "",
        "Growth of resident memory during the first run, outputs included. *Measured* is over what the plan announced. "
        "*Over it* is our growth over that of ONNX Runtime's best setting (its arena doubles, grows as requested, or "
        "is off). The limit is half of what we announce without one, or the least there is where that is more; *time* "
        "is that of runs under it over runs without, in turns, with a 95 % interval of the median. The results are the "
        "same bits.",
        "",
        *table(head, rows),
    ]
