"""The section of docs/benchmarks.md about loop orders and branches at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.tables import table

Suite = Mapping[str, Any]


def orders(suite: Suite) -> list[str]:
    lines = [
        "## Loop orders and branches at once",
        'Time of a dense run with measured loop orders and forks (`kernels="measured"`) over a default one, on two '
        "models of one process that take turns: median and its 95 % interval. The results are the same bits. Layers "
        "are different sizes of convolutions, forks different sets of branches, counted once each.",
        "",
    ]
    rows = [
        [
            row["model"],
            str(row["threads"]),
            f"{row['default_ms']:.2f}",
            f"{row['over_default']:.3f} ({row['interval'][0]:.3f}-{row['interval'][1]:.3f})",
            f"{row['loading_seconds']:.1f}",
            f"{row['channels_by_default']} of {row['convolutions']}",
            f"{row['forks_chosen']} of {row['forks']}",
            f"{len(row['changed'])}: " + "; ".join(f"{n}x {order}" for order, n in row["orders"].items())
            if row["changed"]
            else "none",
        ]
        for row in suite["rows"]
    ]
    head = [
        "model",
        "threads",
        "ms, default",
        "measured over default",
        "seconds to load",
        "channels outside by default",
        "forks taken",
        "layers changed",
    ]
    return lines + table(head, rows)
