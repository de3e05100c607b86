"""The section about frames of bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.clip_tables import CLIP_HEAD, clip_rows
from benchmarks.tables import table

Suite = Mapping[str, Any]


def byte_frames(suite: Suite) -> list[str]:
    lines = ["## Frames of bytes: YOLOX-Nano 480x640 over the webcam clip cap12", ""]
    lines += ["### The whole path after decoding: preprocessing, network, boxes", ""]
    lines += _paths(suite)
    lines += ["### An unchanged frame", ""]
    lines += [
        "The step alone, of a frame that is the last one again in other memory. What takes floats, dense runs too, is",
        "given them ready made.",
        f"Asked for: a stream of bytes at most {suite['asked']['unchanged_over_dense']} of a dense run.",
        "",
    ]
    head = ["", "threads", "ms (median)", "CPU ms", "time over a dense run's", "time over ONNX Runtime's"]
    rows = [
        [
            row["title"],
            str(row["threads"]),
            f"{row['ms']['p50']:.3f}",
            f"{row['ms']['cpu']:.2f}",
            f"{row['over_dense']['median']:.4f}",
            f"{row['over_onnxruntime']['median']:.4f}",
        ]
        for row in suite["unchanged"]
    ]
    return lines + table(head, rows)


def _paths(suite: Suite) -> list[str]:
    asked, tuned = suite["asked"], suite["tuned"]
    (height, width), size = suite["frame_shape"], "x".join(str(n) for n in suite["size"])
    lines = [
        f"The clip's frames are {width}x{height}: all contestants enlarge them to {size} (height by width), so part of "
        "the reuse is of pixels that the clip does not have.",
        "",
        f"The profile is chosen on the first {tuned['frames']} frames as for the quiet scene, by an error of raw "
        f"outputs of {tuned['kept']} of a frozen first answer's; the others are judged. Chosen: tolerance "
        f"{tuned['tolerance']:g} with {len(tuned['factors'])} factors, or {tuned['single']['tolerance'] or 0:g} for "
        f"all maps. Asked for: a stream of bytes at most {asked['path_over_onnxruntime']} of ONNX Runtime's path "
        f"(float32), and at most {asked['error_of_frozen']} of the frozen answer's error. Held answers' errors are of "
        "raw outputs too. Outputs are decoded and let go: all streams of bytes but one share them (`share_outputs`).",
        "",
    ]
    for run in suite["paths"]:
        ours, best = run["rows"][0], next(row for row in run["rows"] if row["name"] == run["best"])
        rows = clip_rows(run["rows"])
        for key, words in (("same_time", "at our time per frame"), ("same_work", "at our share of the work")):
            rows += [[f"{row[0]}, {words}", *row[1:]] for row in clip_rows(run[key])]
        lines += [
            f"{run['threads']} thread{'s' * (run['threads'] > 1)}: a stream of bytes takes "
            f"{ours['over_onnxruntime']['total']:.3f} of ONNX Runtime's time "
            f"({1 / ours['over_onnxruntime']['total']:.1f} times as fast) and {ours['over_best']:.3f} of that of "
            f"{best['title']} ({best['precision']}), the best path in any precision, at "
            f"{ours['error_of_frozen']:.3f} of the frozen answer's error.",
            "",
            *table(CLIP_HEAD, rows),
        ]
    return lines
