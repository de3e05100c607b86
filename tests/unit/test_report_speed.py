"""Pages that tell a speed say over which runtime, in which precision, and name the best dense one beside it."""

from __future__ import annotations

from typing import Any

from benchmarks import byte_frames as bytes_suite
from benchmarks.recipes import ASKED
from benchmarks.report_byte_frames import byte_frames
from benchmarks.report_recipes import recipes

MS = {"mean": 1.0, "p50": 1.0, "p95": 1.0, "p99": 1.0, "cpu": 1.0}


def row(name: str, title: str, over_best: float, precision: str = "float32", **others: Any) -> dict[str, Any]:
    figures = {"mean_ms": 10 * over_best, "over_best": over_best, "share": 0.1, "measured": True, "ms": MS}
    agreement = {"agreement": {"f1@0.75": 0.987}, "error_of_frozen": 0.25}
    return {"name": name, "title": title, "precision": precision, **figures, **agreement, **others}


def held() -> dict[str, Any]:
    line = row("hold", "frame holding", 0.5, error_of_frozen=0.0625) | {"measured": False}
    del line["precision"]
    return {"same_time": [line], "same_work": [line]}


def test_recipes_tell_the_best_dense_runtime_of_any_precision_beside_what_is_asked() -> None:
    contestants = [
        row("reconv-stream", "reconv stream", 0.5),
        row("reconv-stream-exact", "reconv stream, exact", 1.0),
        row("onnxruntime", "ONNX Runtime", 2.0),
        row("openvino", "OpenVINO default", 1.0, "bf16"),
    ]
    over = {each["name"]: each["over_best"] / 2 for each in contestants}
    tuned = {"frames": 3, "agreement": 0.99, "tolerance": 0.1, "error_of_frozen": 0.45}
    case = {"recipe": "dbnet", "model": "PP-OCRv4", "clip": "screen.mp4", "size": [4, 4], "tuned": tuned, "frames": 7}
    case |= {"without": [], "best": "openvino", "over_onnxruntime": over, "contestants": contestants, **held()}
    text = "\n".join(recipes({"asked": ASKED, "threads": 2, "rows": [case]}))
    speed = "4.00x ONNX Runtime (float32), 2.00x the best dense, OpenVINO default (bf16)"
    assert "Asked of dbnet, over ONNX Runtime: at most 0.333 of its time (3.0x)" in text
    assert f"Measured: {speed}, at an F1@0.75 of 0.987." in text
    assert f"| {speed} |" in text
    assert "| frame holding, at our time per frame | 5.00 | - | - | 0.500 | 0.100 | f1@0.75 0.987 | 0.0625 |" in text


def test_byte_frames_tell_both_ratios_the_agreement_and_that_frames_are_enlarged() -> None:
    rows = [
        row("stream of bytes", "stream of bytes", 0.4, over_onnxruntime={"total": 0.2}),
        row("ONNX Runtime", "ONNX Runtime", 2.0, over_onnxruntime={"total": 1.0}),
        row("OpenVINO default", "OpenVINO default", 1.0, "bf16", over_onnxruntime={"total": 0.5}),
    ]
    tuned = {"frames": 200, "kept": 0.45, "tolerance": 0.12, "factors": [{}] * 3, "single": {"tolerance": 0.1}}
    suite = {"asked": bytes_suite.ASKED, "size": [480, 640], "frame_shape": [300, 400], "tuned": tuned, "unchanged": []}
    suite["paths"] = [{"threads": 1, "best": "OpenVINO default", "rows": rows, **held()}]
    text = "\n".join(byte_frames(suite))
    assert "The clip's frames are 400x300: all contestants enlarge them to 480x640" in text
    assert "takes 0.200 of ONNX Runtime's time (5.0 times as fast) and 0.400 of that of OpenVINO default (bf16)" in text
    assert "at 0.250 of the frozen answer's error" in text
    assert "at most 0.25 of ONNX Runtime's path (float32), and at most 0.5 of the frozen answer's error" in text
    assert "| frame holding, at our time per frame | 5.00 | - | - | 0.500 | 0.100 | f1@0.75 0.987 | 0.0625 |" in text
