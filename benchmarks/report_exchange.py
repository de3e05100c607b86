"""The section of docs/benchmarks.md about reordering."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.tables import table

Suite = Mapping[str, Any]

_UPSAMPLING = ("fpn_segmentation", "unet_upsampling")


def exchange(suite: Suite) -> list[str]:
    asked, rows = suite["asked"], suite["rows"]
    lines = [
        "## Reordering (`reconv.exchange`)",
        "Time of the exchanged model over the untouched one's, on the same runtime with all optimisations of its own: "
        "median over paired turns, its 95 % interval in brackets; below it the rules that fired. Models whose weights "
        "are not published with a package have seeded random ones (`benchmarks/builders`).",
        "",
    ]
    targets = list(dict.fromkeys(row["target"] for row in rows))
    for threads in dict.fromkeys(row["threads"] for row in rows):
        of_threads = [row for row in rows if row["threads"] == threads]
        models: dict[str, list[str]] = {}
        for row in of_threads:
            models.setdefault(row["model"], []).append(_entry(row))
        lines += [f"### {threads} thread(s)", ""]
        lines += table(["model", *(_title(target, rows) for target in targets)], ([m, *e] for m, e in models.items()))
        lines += [*_judged(of_threads, asked), ""]
    head = ["model", "target", "threads", "search", "again, from what it measured"]
    cells = [
        [s["model"], s["target"], str(s["threads"]), f"{s['seconds']:.1f} s", f"{s['again_seconds']:.1f} s"]
        for s in suite["searches"]
    ]
    lines += table(head, cells)
    return [*lines, f"Asked for: at most {asked['search_seconds']:g} s and {asked['again_seconds']:g} s.", ""]


def _entry(row: Suite) -> str:
    ratio = row["ratio"]
    fired = ", ".join(f"{name} x {count}" for name, count in row["rules"].items()) or "nothing to gain"
    return f"{ratio['median']:.3f} ({ratio['low']:.3f}-{ratio['high']:.3f}); {fired}"


def _title(target: str, rows: Iterable[Suite]) -> str:
    precision = next(row["precision"] for row in rows if row["target"] == target)
    return f"{target} ({precision})"


def _judged(rows: list[Suite], asked: Suite) -> list[str]:
    """What was asked for, of one number of threads; models that were not measured are left out."""
    rivals = [row for row in rows if row["target"] != "reconv"]
    said = []
    if dense := [row["ratio"]["median"] for row in rivals if row["asset"] == "densenet121"]:
        said.append(f"DenseNet-121 on the rivals: {_all(dense)} (asked for: at most {asked['densenet121']}).")
    ups = {name: [r["ratio"]["median"] for r in rivals if r["asset"] == name] for name in _UPSAMPLING}
    if measured := [ratios for ratios in ups.values() if ratios]:
        best = min(measured, key=max)
        said.append(f"The best network that samples up: {_all(best)} (asked for: at most {asked['upsampling']}).")
    for what, made in (("that were reordered", True), ("that were left untouched, which shows the noise", False)):
        if highs := [row["ratio"]["high"] for row in rows if bool(row["rules"]) is made]:
            bound = f" (asked for: at most {asked['upper_end']})" if made else ""
            said.append(f"Largest upper end of an interval, of models {what}: {max(highs):.3f}{bound}.")
    said.append(f"Swaps that failed their proof and were not done: {sum(row['failed_proofs'] for row in rows)}.")
    return [" ".join(said)]


def _all(ratios: list[float]) -> str:
    return ", ".join(f"{ratio:.3f}" for ratio in ratios)
