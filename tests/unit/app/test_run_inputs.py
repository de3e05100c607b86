"""`reconv run` on models with several inputs: frames to the picture's, the others by name, by hand or from the file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from reconv.app import main
from reconv.engine.model import load
from tests.unit.halves import halved
from tests.unit.small import cnn, text

Mistake = Callable[..., str]
TEXT = """g (float[n, 2] im_shape, float[n, 3, 16, 24] image, float[n, 2] scale_factor{more})
    => (float[n, 3, 16, 24] y, float[n, 2] size) {{
    s = Div(im_shape, scale_factor)
    size = Neg(s)
    y = {y}
}}"""


def _model(folder: Path, more: str = "", y: str = "Relu(image)") -> Path:
    onnx.save(text(TEXT.format(more=more, y=y)), folder / "several.onnx")
    return folder / "several.onnx"


def _run(folder: Path, capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[dict[str, Any], Any]:
    target = folder / "out.npz"
    assert main(["run", *(str(each) for each in arguments), "--output", str(target), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    return said, np.load(target)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    np.save(tmp_path / "pictures.npy", np.random.default_rng(0).integers(0, 256, (3, 16, 24, 3), np.uint8))
    return tmp_path / "pictures.npy"


def test_known_inputs_are_filled_in_and_given_ones_taken(
    tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = _model(tmp_path)
    said, arrays = _run(tmp_path, capsys, model, pictures, "--compare", 1)
    assert said["frames"] == 3
    assert said["bit_identical_frames"] == said["compared_frames"] > 0
    assert arrays["size"].reshape(3, 2).tolist() == [[-16, -24]] * 3
    _, arrays = _run(tmp_path, capsys, model, pictures, "--input", "scale_factor=2,4")
    assert arrays["size"].reshape(3, 2).tolist() == [[-8, -6]] * 3


def test_what_nobody_knows_has_to_be_given(
    tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str], mistake: Mistake
) -> None:
    model = _model(tmp_path, ", float k", "Mul(image, k)")
    assert "input k: float32 () is not the one of the frames: give it with --input k=..." in mistake(
        "run", model, pictures
    )
    assert "the model has no input 'z'" in mistake("run", model, pictures, "--input", "z=1")
    _, arrays = _run(tmp_path, capsys, model, pictures, "--input", "k=0")
    assert not arrays["y"].any()


def test_a_file_of_all_inputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, random = _model(tmp_path), np.random.default_rng(0)
    frames: dict[str, Any] = {
        "im_shape": random.random((4, 2), np.float32),
        "image": random.random((4, 3, 16, 24), np.float32),
        "scale_factor": random.random((4, 2), np.float32) + 1,
    }
    np.savez(tmp_path / "all.npz", **frames)
    said, arrays = _run(tmp_path, capsys, model, tmp_path / "all.npz", "--compare", 1)
    assert said["bit_identical_frames"] == said["compared_frames"] == 3
    whole = load(model).run(frames)
    for name, array in whole.items():
        assert np.array_equal(arrays[name].reshape(array.shape), array)
    del frames["scale_factor"]
    np.savez(tmp_path / "most.npz", **frames)
    _, arrays = _run(tmp_path, capsys, model, tmp_path / "most.npz", "--input", "scale_factor=1,1")
    assert np.array_equal(arrays["size"].reshape(4, 2), -frames["im_shape"])


def test_a_float16_model_takes_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(halved(cnn(16, 24, 1)), tmp_path / "half.onnx")
    np.save(tmp_path / "pictures.npy", np.random.default_rng(0).integers(0, 256, (3, 16, 24, 3), np.uint8))
    said, arrays = _run(tmp_path, capsys, tmp_path / "half.onnx", tmp_path / "pictures.npy", "--compare", 1)
    assert said["bit_identical_frames"] == said["compared_frames"] > 0
    assert arrays["y"].dtype == np.float16
