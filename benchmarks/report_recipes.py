"""The section of docs/benchmarks.md about recipes: a line for each, and its table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.clip_tables import CLIP_HEAD, agreement_words, clip_rows
from benchmarks.tables import table

Suite = Mapping[str, Any]


def _row(case: Suite, name: str) -> Suite:
    found: Suite = next(row for row in case["contestants"] if row["name"] == name)
    return found


def _speed(case: Suite) -> str:
    """Of ONNX Runtime, which is what is asked for, and of the fastest dense runtime of all."""
    best, runtime = (_row(case, name) for name in (case["best"], "onnxruntime"))
    return (
        f"{1 / case['over_onnxruntime']['reconv-stream']:.2f}x {runtime['title']} ({runtime['precision']}), "
        f"{1 / _row(case, 'reconv-stream')['over_best']:.2f}x the best dense, {best['title']} ({best['precision']})"
    )


def _line(case: Suite) -> list[str]:
    ours, exact = (_row(case, name) for name in ("reconv-stream", "reconv-stream-exact"))
    holding = case["same_work"][0]
    return [
        case["recipe"],
        f"{case['model']} {case['size'][0]}x{case['size'][1]} over {case['clip']}",
        f"{case['tuned']['tolerance']:g}",
        _speed(case),
        f"{ours['share']:.3f}",
        agreement_words(ours),
        agreement_words(holding),
        f"{1 / case['over_onnxruntime']['reconv-stream-exact']:.2f}x at {exact['share']:.3f}",
    ]


def recipes(suite: Suite) -> list[str]:
    asked, threads = suite["asked"], suite["threads"]
    lines = [
        f"## Recipes on real models and clips, {threads} thread{'s' * (threads > 1)}",
        "The tolerance is the largest that agrees as asked on the first frames of the clip, with raw outputs nearer to "
        "dense ones than a frozen first answer (which agrees as well where hardly anything changes). The frames after "
        "them are judged. Speed is told over ONNX Runtime in float32 and over the fastest dense runtime of the table "
        "in any precision (OpenVINO's default is bfloat16 where the CPU has it).",
        "",
        f"Asked of {asked['recipe']}, over ONNX Runtime: at most {asked['over_onnxruntime']:.3f} of its time "
        f"({1 / asked['over_onnxruntime']:.1f}x) at an F1@0.75 of {asked['f1@0.75']}."
        + "".join(
            f" Measured: {_speed(case)}, at an F1@0.75 of {_row(case, 'reconv-stream')['agreement']['f1@0.75']:.3f}."
            for case in suite["rows"]
            if case["recipe"] == asked["recipe"]
        ),
        "",
    ]
    head = [
        "recipe", "model and clip", "tolerance", "speed", "recomputed", "agreement", "holding at that work",
        "exact: of ONNX Runtime",
    ]  # fmt: skip
    lines += table(head, [_line(case) for case in suite["rows"]])
    for case in suite["rows"]:
        tuned = case["tuned"]
        rows = clip_rows(case["contestants"])
        for key, words in (("same_time", "at our time per frame"), ("same_work", "at our share of the work")):
            rows += [[f"{row[0]}, {words}", *row[1:]] for row in clip_rows(case[key])]
        lines += [
            f"### {case['recipe']}: {case['model']} over {case['clip']}",
            f"Tolerance {tuned['tolerance']:g}, for {tuned['agreement']} and {tuned['error_of_frozen']} of "
            f"the frozen answer's error on the first {tuned['frames']} frames; "
            f"{case['frames']} are judged." + (f" Not run by {', '.join(case['without'])}." if case["without"] else ""),
            "",
            *table(CLIP_HEAD, rows),
        ]
    return lines
