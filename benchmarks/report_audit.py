"""The page's section on the self-audit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.tables import table


def audit(suite: Mapping[str, Any]) -> list[str]:
    asked = suite["asked"]
    rows = [
        [
            f"{row['start']:g}" + (", audited" if row["audited"] else ""),
            f"{row['audits']}, {row['extra_work']:.1%}" if row["audited"] else "-",
            stretch["stretch"],
            f"{stretch['tolerance']:.3f}",
            f"{stretch['share']:.3f}",
            ", ".join(f"{value:.3f}" for value in stretch["agreement"].values()),
        ]
        for row in suite["rows"]
        for stretch in row["stretches"]
    ]
    measures = ", ".join(suite["rows"][0]["stretches"][0]["agreement"])
    return [
        "## Self-audit: YOLOX-Nano 576x768, from a quiet clip to a busy one",
        f"cap12 and then vtest.avi, {suite['frames']} frames in all, as one stream; an audit at most every "
        f"{suite['every']} steps. Each start without audits and with them. Asked for: an agreement (the first measure) "
        f"of {asked['target']} within {asked['within']}, at most {asked['extra_work']:.0%} extra work. Shares "
        "include the audits.",
        "",
        *table(
            ["tolerance at the start", "audits, extra work", "stretch", "mean tolerance", "recomputed", measures], rows
        ),
    ]
