"""The sections of docs/benchmarks.md about 8 bits and compression."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.tables import table

Suite = Mapping[str, Any]


def int8(suite: Suite) -> list[str]:
    asked = suite["asked"]
    lines = [
        "## 8 bits, dense",
        "Median milliseconds, and in brackets our int8 time over it. The same file is given to ours and to OpenVINO; "
        "OpenVINO counts with that or with NNCF's own quantization, whichever is faster.",
        "",
    ]
    rows = suite["rows"]
    for summary in suite["summary"]:
        threads = summary["threads"]
        of = [row for row in rows if row["threads"] == threads]
        names = list(dict.fromkeys(row["contestant"] for row in of))
        cells: dict[str, dict[str, str]] = {}
        for row in of:
            entry = f"{row['ms']['p50']:.2f} ({row['ours_over_it']:.2f})"
            cells.setdefault(row["model"], {})[row["contestant"]] = entry
        lines += [f"### {threads} thread(s)", ""]
        lines += table(["model", *names], ([m, *(each.get(name, "-") for name in names)] for m, each in cells.items()))
        own = ", ".join(f"{model} {ratio:.2f}" for model, ratio in summary["over_own_f32"].items())
        mean = summary["geometric_mean"]
        lines += [
            f"Ours over the faster OpenVINO, geometric mean: {'-' if mean is None else f'{mean:.3f}'} (asked for: at "
            f"most {asked['over_openvino']}). Times as fast as our own float32: {own} (asked for on "
            f"{' and '.join(asked['of'])}: {asked['over_own_f32']}).",
            "",
        ]
    head = ["model", "instruction set", "threads", "int8, ms", "float32, ms", "int8 over float32"]
    sets = [
        [
            row["model"],
            row["isa"],
            str(row["threads"]),
            f"{row['ms']['reconv int8']:.2f}",
            f"{row['ms']['reconv f32']:.2f}",
            f"{row['over_f32']:.3f}",
        ]
        for row in suite["instruction_sets"]
    ]
    return [*lines, "### Ours on every instruction set", "", *table(head, sets)]


def agreement(suite: Suite) -> list[str]:
    asked, pictures = suite["asked"], suite["pictures"]
    said = ", ".join(f"{count} of {name}" for name, count in pictures.items())
    rows = [
        [
            row["title"],
            str(row["left_float"]),
            f"{row['top1']:.4f}",
            f"{row['error']:.4f}",
            f"{row['faster']:.2f}" if "faster" in row else "-",
        ]
        for row in suite["rows"]
    ]
    return [
        "## What 8 bits change: MobileNetV2 224x224",
        f"Share of {sum(pictures.values())} real pictures ({said}) of which int8 tells the class that float32 tells; "
        f"calibrated on {suite['calibrated_on']} others: photographs, and frames of the first halves of the clips, of "
        "whose second halves the judged ones are. The layers that stay float are those that change the outputs of the "
        f"photographs most when they alone are in 8 bits. Asked for: {asked['top1']:.0%} on at least "
        f"{asked['pictures']} pictures, of at least {asked['clips']} clips.",
        "",
        *table(
            ["quantization", "layers in float", "equal best class", "error of the outputs", "faster than our float32"],
            rows,
        ),
    ]


def compression(suite: Suite) -> list[str]:
    asked, batch = suite["asked"], suite["batch"]
    lines = [
        "## Compression: networks trained on Fashion-MNIST",
        "Accuracy on the 10,000 test pictures; points: what it fell by. Milliseconds of a batch of "
        f"{batch} in ONNX Runtime, and how many times as fast as the untouched network. Asked for: int8 at most "
        f"{asked['int8_points']} points; pruned, distilled and quantized at least {asked['pipeline_faster']:g} times "
        f"as fast at {asked['pipeline_points']} points.",
        "",
    ]
    for network in dict.fromkeys(row["network"] for row in suite["rows"]):
        rows = []
        for row in (each for each in suite["rows"] if each["network"] == network):
            if "failed" in row:
                rows.append([row["method"], row["failed"], "-", "-", "-", "-", "-"])
                continue
            rows.append(
                [
                    row["method"],
                    f"{row['accuracy']:.4f}",
                    f"{row['points']:.2f}",
                    f"{row['file_bytes'] / 1e3:.0f}",
                    f"{row['packed_bytes'] / 1e3:.0f}",
                    f"{row['ms']:.3f}",
                    f"{row['faster']:.2f}",
                ]
            )
        head = ["method", "accuracy", "points", "kB", "kB packed", "ms", "times as fast"]
        lines += [f"### {network}", "", *table(head, rows)]
    return lines


def optimize(suite: Suite) -> list[str]:
    asked = suite["asked"]
    rows = [
        [
            row["target"],
            row["chosen"],
            f"{row['int8_layers']} of {row['layers']}",
            f"{row['f1@0.75']:.3f}",
            "-" if row["naive"] is None else f"{row['naive']:.3f}",
            f"{row['ms']['float']:.2f}",
            f"{row['ms']['optimized']:.2f}",
            f"{row['faster']:.2f}",
            f"{row['trials']} in {row['search_seconds']:.0f} s",
        ]
        for row in suite["rows"]
    ]
    head = [
        "target", "found", "layers in 8 bits", "F1@0.75", "all layers in 8 bits", "ONNX Runtime float, ms", "ms",
        "times as fast", "trials",
    ]  # fmt: skip
    return [
        "## `reconv.optimize`: YOLOX-Nano 576x768",
        f"The search saw frames of the first {suite['seen_frames']} of vtest.avi and was allowed to lose "
        f"{suite['limit']}; F1 is of frames behind them, against ONNX Runtime's float32. Asked for: "
        f"{asked['f1@0.75']} and {asked['faster']} times as fast as ONNX Runtime's float32.",
        "",
        *table(head, rows),
    ]


def int8_streams(suite: Suite) -> list[str]:
    lines = [
        "## Reuse and 8 bits together: YOLOX-Nano",
        "Time over ONNX Runtime's float32, share of the multiply-adds, and F1 against it.",
        "",
    ]
    head = ["", "ms", "over ONNX Runtime", "recomputed", "F1@0.75", "F1@0.5"]
    for run in suite["runs"]:
        reference = next(row["mean_ms"] for row in run["rows"] if row["name"] == "onnxruntime")
        rows = [
            [
                row["title"],
                f"{row['mean_ms']:.2f}",
                f"{row['mean_ms'] / reference:.3f}",
                f"{row['share']:.3f}",
                *(f"{row['agreement'][key]:.3f}" for key in ("f1@0.75", "f1@0.5")),
            ]
            for row in run["rows"]
        ]
        lines += [f"### {run['clip']}, {run['threads']} thread(s)", "", *table(head, rows)]
    return lines


def sweeps(suite: Suite) -> list[str]:
    rows = [
        [
            str(run["threads"]),
            f"{min(run['seconds']['without']):.1f}",
            f"{min(run['seconds']['with']):.1f}",
            f"{run['faster']:.2f}",
            f"{run['equal']} of {suite['layers']}",
            f"{run['largest_difference']:.2g}",
        ]
        for run in suite["runs"]
    ]
    head = ["threads", "without, s", "with, s", "times as fast", "equal results", "largest difference"]
    return [
        "## Sensitivity sweep with the prefix cache: MobileNetV2 224x224",
        f"{suite['layers']} layers one by one in 8 bits over {suite['pictures']} pictures, everything before the layer "
        f"out of the cache. Asked for: {suite['asked']['faster']} times as fast, with equal results.",
        "",
        *table(head, rows),
    ]
