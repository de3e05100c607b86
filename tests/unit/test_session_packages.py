"""Code of published packages runs on reconv.InferenceSession as it is, and gives what it gives on ONNX Runtime.

Each package is loaded twice from its own file: with ONNX Runtime's session, and with ours in its place.
"""

from __future__ import annotations

import importlib.util
import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

import reconv
from tests.tolerances import FLOAT32_REORDERED

Asset = Callable[[str], Path]


def _module(path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def _on_both(use: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """What `use` gives on our session and on theirs."""
    theirs = use()
    with monkeypatch.context() as patch:
        patch.setattr(onnxruntime, "InferenceSession", reconv.InferenceSession)
        return use(), theirs


def test_a_detector(asset: Asset, monkeypatch: pytest.MonkeyPatch) -> None:
    """NudeNet: one picture and a batch of pictures, boxes out."""
    code, model = asset("nudenet_code"), asset("yolov8n_nudenet")
    folder = asset("foolbox")
    from reconv.recipes.sources import picture_files, read_picture

    pictures = [read_picture(file) for file in picture_files(folder) if file.name.startswith("imagenet_")][:4]

    def use() -> Any:
        detector = _module(code, "nudenet_code", monkeypatch).NudeDetector(str(model))
        return detector.onnx_session, [detector.detect(each) for each in pictures], detector.detect_batch(pictures)

    ours, theirs = _on_both(use, monkeypatch)
    assert isinstance(ours[0], reconv.InferenceSession)
    assert isinstance(theirs[0], onnxruntime.InferenceSession)
    for got, expected in zip((*ours[1], *ours[2]), (*theirs[1], *theirs[2]), strict=True):
        assert [each["class"] for each in got] == [each["class"] for each in expected]
        for mine, other in zip(got, expected, strict=True):
            assert abs(mine["score"] - other["score"]) < 1e-4
            assert np.abs(np.subtract(mine["box"], other["box"])).max() <= 1


def test_a_pitch_tracker(asset: Asset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """SwiftF0: a sound of free length and two scalars, two outputs by name."""
    shutil.copyfile(asset("swift_f0_code"), tmp_path / "core.py")
    shutil.copyfile(asset("swift_f0"), tmp_path / "model.onnx")
    seconds = np.arange(24000) / 16000
    phase = 2 * np.pi * np.cumsum(220 + 60 * np.sin(2 * np.pi * 1.5 * seconds)) / 16000
    tone = sum(np.sin(k * phase) / k for k in (1, 2, 3)) * 0.3
    sound = np.asarray(tone + np.random.default_rng(2).normal(0, 0.005, 24000), np.float32)

    def use() -> Any:
        return (
            _module(tmp_path / "core.py", "swift_f0_code", monkeypatch)
            .SwiftF0(threads=2, spin=False)
            .detect(sound, 16000)
        )

    ours, theirs = _on_both(use, monkeypatch)
    voiced = theirs.confidence > 0.5
    assert voiced.mean() > 0.8
    assert np.abs(ours.confidence - theirs.confidence).max() < 1e-3
    assert np.abs(ours.pitch_hz[voiced] / theirs.pitch_hz[voiced] - 1).max() < 1e-4


def test_a_text_detectors_engine(asset: Asset, monkeypatch: pytest.MonkeyPatch) -> None:
    """RapidOCR's session: options, providers with options, names from the model, metadata."""
    code, model = asset("rapidocr_code"), asset("ppocr_det")
    beside = ModuleType("rapidocr_code.logger")
    beside.get_logger = logging.getLogger  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "rapidocr_code.logger", beside)
    x = np.kron(np.random.default_rng(0).random((1, 3, 6, 10)), np.ones((1, 1, 16, 16))).astype(np.float32)

    def use() -> Any:
        package = ModuleType("rapidocr_code")
        package.__path__ = []
        monkeypatch.setitem(sys.modules, "rapidocr_code", package)
        engine = _module(code, "rapidocr_code.infer_engine", monkeypatch)
        config = {"model_path": str(model), "intra_op_num_threads": 2, "inter_op_num_threads": 1}
        session = engine.OrtInferSession(config)
        with pytest.raises(engine.ONNXRuntimeError, match="x"):
            session(x[:, :1])
        facts = session.get_input_names(), session.get_output_names(), session.have_key()
        return SimpleNamespace(facts=facts, maps=session(x))

    ours, theirs = _on_both(use, monkeypatch)
    assert ours.facts == theirs.facts
    for got, expected in zip(ours.maps, theirs.maps, strict=True):
        FLOAT32_REORDERED.check(got, expected, "probabilities", scale=100.0)


def test_our_tail_does_not_take_our_session_for_onnx_runtimes(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.unit.small import cnn, frame

    monkeypatch.setattr(onnxruntime, "InferenceSession", reconv.InferenceSession)
    assert reconv.load(cnn(tail=True)).run(frame())["top"].shape == (1, 2, 12, 16)
