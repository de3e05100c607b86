"""The page's section on scenes where there is nothing to reuse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.tables import table


def hard(suite: Mapping[str, Any]) -> list[str]:
    asked = suite["asked"]
    rows = [
        [
            f"{row['model']} {row['size'][0]}x{row['size'][1]} on {row['clip']}",
            str(row["threads"]),
            f"{row['tolerance']:g}" + ", dense measured" * (row["dense"] == "measured"),
            f"{row['recomputed']:.3f}",
            f"{row['plain']:.0%}",
            f"{row['over_dense']:.3f} ({row['over_dense_quartiles'][0]:.3f} to {row['over_dense_quartiles'][1]:.3f})",
            f"{row['over_onnxruntime']:.3f}",
            f"{row['dense_over_onnxruntime']:.3f}",
        ]
        for row in suite["rows"]
    ]
    head = [
        "scene", "threads", "tolerance", "recomputed", "steps that recompute all", "over our dense run",
        "over ONNX Runtime", "our dense run over it",
    ]  # fmt: skip
    return [
        "## Hard scenes: cuts, moving cameras, noise",
        "Streams where reuse hardly pays; they run dense, without lists, until it does. Time per frame over our own "
        f"dense run (quartiles over turns) and over ONNX Runtime. Asked for: {asked['over_dense']} and, where our "
        f"dense run is at most {asked['at_par']:g} of it, {asked['over_onnxruntime']}.",
        "",
        *table(head, rows),
    ]
