"""Tables of what was measured on a clip: a row of `reconv.measure.Row` each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Suite = Mapping[str, Any]

CLIP_HEAD = ["", "ms", "p50/p95/p99", "CPU ms", "time over best rival", "recomputed", "agreement", "error of frozen"]


def agreement_words(row: Suite) -> str:
    """All measures of a row."""
    return ", ".join(f"{name} {value:.3f}" for name, value in row["agreement"].items())


def clip_rows(rows: Iterable[Suite]) -> list[list[str]]:
    """Cells under CLIP_HEAD."""
    return [
        [
            row["title"] + (f" ({row['precision']})" if "precision" in row else ""),
            f"{row['mean_ms']:.2f}",
            "/".join(f"{row['ms'][key]:.1f}" for key in ("p50", "p95", "p99")) if row["measured"] else "-",
            f"{row['ms']['cpu']:.2f}" if row["measured"] else "-",
            f"{row['over_best']:.3f}",
            f"{row['share']:.3f}",
            agreement_words(row),
            "-" if row["error_of_frozen"] is None else f"{row['error_of_frozen']:.4f}",
        ]
        for row in rows
    ]
