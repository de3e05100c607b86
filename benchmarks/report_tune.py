"""The section of the page about tuning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.tables import table


def tune(suite: Mapping[str, Any]) -> list[str]:
    tuned, asked = suite["tuned"], suite["asked"]
    frames, measure, every = tuned["frames"], tuned["measure"], tuned["refresh_every"]
    lines = [
        "## Tuning: YOLOX-Nano 576x768 over vtest.avi",
        f"{frames['tuning']} frames of the first two thirds chose: agreement {tuned['asked']} asked for, "
        f"{tuned['trials']} profiles tried. Chosen: tolerance {tuned['tolerance']:g} with {len(tuned['factors'])} "
        f"factors, or {tuned['single_tolerance']:g} for all maps"
        + (f"; every {every}th step is dense." if every else "."),
        "",
        "Two parts judge. The frames between those that chose come in stretches that take turns with them, so the same "
        "walkers are in both; the last third of the clip had no part in choosing. Work is compared at equal agreement "
        "on the falling curve through the single tolerances; where it is flat its least work counts. In brackets: 95 % "
        "of 2,000 draws of the windows with repetition, the same for all profiles; they are few, and what was chosen "
        "stays as it is.",
        "",
        f"Asked for: {asked['saved']:.0%} less work at equal {measure} on frames that did not choose.",
        "",
    ]
    for part in suite["judged"]:
        rows = [
            _row(words, point, measure)
            for words, key in (("one tolerance", "single"), ("with factors", "factors"))
            for point in part[key]
        ]
        lines += [
            f"### Judged on {part['part']}: {part['frames']} frames in {part['windows']} windows",
            f"Less work: {_saved(part['chosen'])} at the chosen tolerance, {_saved(part['mean'])} over the tolerances "
            "around it.",
            "",
            *table(["", "tolerance", "recomputed", measure, "less work at equal agreement"], rows),
        ]
    head = [part["part"] for part in suite["judged"]]
    streams = [
        [
            stream["title"],
            f"{stream['tolerance']:g}",
            f"{stream['share']:.3f}",
            *(f"{stream['agreement'][title][measure]:.4f}" for title in head),
        ]
        for stream in suite["streams"]
    ]
    columns = ["", "tolerance", "recomputed", *(f"{measure}, {title}" for title in head)]
    return [*lines, "### Streams over the whole clip", "", *table(columns, streams)]


def _saved(point: Mapping[str, Any]) -> str:
    low, high = point["interval"]
    return f"{point['saved']:.1%} ({low:.1%} to {high:.1%})"


def _row(title: str, point: Mapping[str, Any], measure: str) -> list[str]:
    figures = [f"{point['tolerance']:g}", f"{point['share']:.3f}", f"{point['agreement'][measure]:.4f}"]
    return [title, *figures, _saved(point) if "saved" in point else "-"]
