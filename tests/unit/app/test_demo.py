"""`reconv demo` with a small network in place of the text detector."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from reconv.app import demo, main

cv2 = pytest.importorskip("cv2")


def test_it_writes_a_video_a_picture_and_a_table(
    map_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "detector", lambda: map_model)
    target = tmp_path / "out"
    arguments = ["demo", "--output", str(target), "--limit", "4", "--threads", "1", "--json"]
    assert main(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert json.loads((target / "demo.json").read_text()) == found
    names = [row["name"] for row in found["rows"]]
    assert names == ["reconv stream, exact", "reconv stream, tolerance 0.1", "reconv dense", "ONNX Runtime"]
    exact, _, dense, peer = found["rows"]
    assert exact["agreement"]["equal_pixels"] == 1
    assert exact["recomputed"] < dense["recomputed"] == 1
    assert peer["times_as_fast_as_onnxruntime"] == 1
    assert all(row["ms_per_frame"] > 0 for row in found["rows"])
    capture = cv2.VideoCapture(str(target / "demo.mp4"))
    assert [capture.read()[0] for _ in range(5)] == [True] * 4 + [False]
    assert cv2.imread(str(target / "recomputed.png")).shape == (520, 640, 3)


def test_the_recording_is_small_and_mostly_still() -> None:
    with demo.recording() as path:
        assert path.stat().st_size < 300_000
        capture, frames = cv2.VideoCapture(str(path)), []
        while True:
            more, frame = capture.read()
            if not more:
                break
            frames.append(frame)
    assert len(frames) == 120
    still = [float((a == b).all(2).mean()) for a, b in pairwise(frames)]
    assert min(still) > 0.9  # a dialog opens
    assert sorted(still)[len(still) // 2] > 0.99
    assert min(still) < 0.97


def test_the_detector_is_located_and_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "rapidocr_onnxruntime"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "models" / "ch_PP-OCRv4_det_infer.onnx").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert demo.detector() == package / "models" / "ch_PP-OCRv4_det_infer.onnx"
    assert "rapidocr_onnxruntime" not in sys.modules


def test_without_the_detector_it_is_one_line(monkeypatch: pytest.MonkeyPatch, mistake: Callable[..., str]) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install --no-deps rapidocr-onnxruntime" in mistake("demo")
