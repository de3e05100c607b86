"""The section of the page about tuning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.tables import table


def tune(suite: Mapping[str, Any]) -> list[str]:
    tuned, asked = suite["tuned"], suite["asked"]
    frames, measure, every = tuned["frames"], tuned["measure"], tuned["refresh_every"]
    rows = [
        _row(words, point, measure, f"{point['saved']:.1%}" if "saved" in point else "-")
        for words, key in (("one tolerance", "single"), ("with factors", "factors"))
        for point in suite[key]
    ]
    rows += [
        _row(f"{stream['title']}, a stream over the whole clip", stream, measure, "-") for stream in suite["streams"]
    ]
    return [
        "## Tuning: YOLOX-Nano 576x768 over vtest.avi",
        f"{frames['tuning']} frames chose, {frames['judged']} others, in stretches between them, judge: agreement "
        f"{tuned['asked']} asked for, {tuned['trials']} profiles tried. Chosen: tolerance {tuned['tolerance']:g} with "
        f"{len(tuned['factors'])} factors, or {tuned['single_tolerance']:g} for all maps"
        + (f"; every {every}th step is dense." if every else "."),
        f"Asked for: {asked['saved']:.0%} less work at equal {measure} on the frames that judge. Measured: "
        f"{suite['saved']:.1%} at the chosen tolerance, {suite['mean_saved']:.1%} over the tolerances around it.",
        "",
        *table(["on the frames that judge", "tolerance", "recomputed", measure, "less work at equal agreement"], rows),
    ]


def _row(title: str, point: Mapping[str, Any], measure: str, saved: str) -> list[str]:
    return [title, f"{point['tolerance']:g}", f"{point['share']:.3f}", f"{point['agreement'][measure]:.4f}", saved]
