"""The section about frames of bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.clip_tables import agreement_words
from benchmarks.tables import table

Suite = Mapping[str, Any]


def byte_frames(suite: Suite) -> list[str]:
    asked = suite["asked"]
    lines = ["## Frames of bytes: YOLOX-Nano 480x640 over the webcam clip cap12", ""]
    lines += ["### The whole path after decoding: preprocessing, network, boxes", ""]
    lines += [f"Asked for: a stream of bytes at most {asked['path_over_onnxruntime']} of ONNX Runtime's path.", ""]
    head = [
        "",
        "threads",
        "ms",
        "p50/p95/p99",
        "CPU ms",
        "time over ONNX Runtime's",
        "times as fast",
        "recomputed",
        "agreement",
    ]
    rows = [
        [
            row["title"],
            str(row["threads"]),
            f"{row['ms']['mean']:.2f}",
            "/".join(f"{row['ms'][key]:.1f}" for key in ("p50", "p95", "p99")),
            f"{row['ms']['cpu']:.2f}",
            f"{row['over_onnxruntime']['total']:.3f}",
            f"{1 / row['over_onnxruntime']['total']:.1f}",
            f"{row['recomputed']:.3f}",
            agreement_words(row),
        ]
        for row in suite["paths"]
    ]
    lines += table(head, rows)
    lines += ["### An unchanged frame", ""]
    lines += [
        "The step alone, of a frame that is the last one again in other memory. What takes floats, dense runs too, is",
        "given them ready made.",
        f"Asked for: a stream of bytes at most {asked['unchanged_over_dense']} of a dense run.",
        "",
    ]
    head = ["", "threads", "ms (median)", "CPU ms", "time over a dense run's", "time over ONNX Runtime's"]
    rows = [
        [
            row["title"],
            str(row["threads"]),
            f"{row['ms']['p50']:.3f}",
            f"{row['ms']['cpu']:.2f}",
            f"{row['over_dense']['median']:.4f}",
            f"{row['over_onnxruntime']['median']:.4f}",
        ]
        for row in suite["unchanged"]
    ]
    return lines + table(head, rows)
