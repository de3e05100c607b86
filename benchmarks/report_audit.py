"""The page's section on the self-audit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.tables import table

Suite = Mapping[str, Any]

OTHERS = "had no part in choosing constants but one, the highest tolerance"


def audit(suite: Suite) -> list[str]:
    asked = suite["asked"]
    lines = [
        "## Self-audit: YOLOX-Nano 576x768, from a quiet clip to a busy one",
        f"Two clips as one stream; an audit at most every {suite['every']} steps. Each start without audits and with "
        f"them. Asked for: an agreement (the first measure) of {asked['target']} within {asked['within']}, at most "
        f"{asked['extra_work']:.0%} extra work. Shares include the audits. The outputs of an audited frame are dense, "
        "so it agrees in full: the second agreement is without these frames.",
        "",
    ]
    for join in suite["joins"]:
        lines += _join(join, asked)
    return lines


def _join(join: Suite, asked: Suite) -> list[str]:
    measures = join["rows"][0]["stretches"][0]["agreement"]
    rows = [
        [
            f"{row['start']:g}" + (", audited" if row["audited"] else ""),
            f"{row['audits']}, {row['extra_work']:.1%}" if row["audited"] else "-",
            stretch["stretch"],
            f"{stretch['tolerance']:.3f}",
            f"{stretch['share']:.3f}",
            _words(stretch["agreement"]),
            _words(stretch["unaudited"]),
        ]
        for row in join["rows"]
        for stretch in row["stretches"]
    ]
    headline, audited = next(iter(measures)), [row for row in join["rows"] if row["audited"]]
    over_all = [next(s for s in row["stretches"] if s["stretch"] == "all")["unaudited"] for row in audited]
    every = [s["unaudited"] for row in audited for s in row["stretches"]]
    bar = asked["target"] - asked["within"]
    return [
        f"### {' and then '.join(join['clips'])}, {join['frames']} frames: "
        + ("the audit's constants were chosen on it" if join["developed"] else OTHERS),
        f"With audits, without the audited frames, the lowest {headline} over a whole clip is "
        f"{_lowest(over_all, headline)}, over any stretch {_lowest(every, headline)} (asked for: {bar:g}); the most "
        f"extra work is {max(row['extra_work'] for row in audited):.1%}.",
        "",
        *table(
            [
                "tolerance at the start",
                "audits, extra work",
                "stretch",
                "mean tolerance",
                "recomputed",
                ", ".join(measures),
                "without audited frames",
            ],
            rows,
        ),
    ]


def _words(agreement: Suite | None) -> str:
    return "-" if agreement is None else ", ".join(f"{value:.3f}" for value in agreement.values())


def _lowest(agreements: list[Suite | None], measure: str) -> str:
    return f"{min((each[measure] for each in agreements if each is not None), default=float('nan')):.3f}"
