"""`reconv quantize`, `prune`, `distill` and `compress`: what they write and say, and what they refuse in one line."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from rich.console import Console

from reconv.app import main
from reconv.app.compress import TAKES, WAYS
from reconv.app.compressing import SHOWN, layers
from reconv.app.distill import training_bar
from reconv.compress import METHODS
from reconv.compress.result import LayerReport, Report, SizeReport
from reconv.compress.train.course import Progress
from tests.contract.small_residual import inputs, residual


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    onnx.save(residual(norm=True), path)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.npz"
    np.savez(path, x=np.concatenate([sample["x"] for sample in inputs(12)]))
    return path


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_quantize_writes_a_model_and_its_report(
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "small.onnx"
    arguments = ["quantize", str(model), "--data", str(data), "-o", str(out), "--threads", "1", "--exclude", "fc"]
    assert main([*arguments, "--json"]) == 0
    report = told(capsys)
    onnx.checker.check_model(onnx.load(out), full_check=True)
    assert report["output"] == str(out)
    assert report["after"]["file"] == out.stat().st_size
    assert {layer["name"]: layer["bits"] for layer in report["layers"]} == {
        "conv1": 8, "conv2": 8, "conv3": 8, "fc": 32
    }  # fmt: skip
    assert report["measured"]["samples"] == 3  # a quarter is held out
    assert main([*arguments, "--target", "openvino-f32"]) == 0
    text = capsys.readouterr().out
    assert "before and after" in text
    assert "ms on openvino-f32" in text
    assert f"{out}: written" in text


def test_prune_needs_no_samples(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "small.onnx"
    assert main(["prune", str(model), "-o", str(out), "--threads", "1", "--keep", "conv1", "--json"]) == 0
    report = told(capsys)
    assert [layer["name"] for layer in report["layers"]] == ["conv3"]
    assert out.stat().st_size < model.stat().st_size


def test_distill_trains_and_goes_on_from_its_checkpoint(
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small, out, kept = tmp_path / "small.onnx", tmp_path / "taught.onnx", tmp_path / "state"
    assert main(["prune", str(model), "-o", str(small), "--no-measure"]) == 0
    capsys.readouterr()
    arguments = ["distill", str(small), str(model), "--data", str(data), "--batch", "6", "--threads", "1", "--json"]
    arguments += ["--checkpoint", str(kept), "-o", str(out), "--maps", "s=s", "--hold-out", "0.25", "--no-measure"]
    assert main([*arguments, "--epochs", "2"]) == 0
    first = told(capsys)
    assert first["method"] == "distil"
    assert first["settings"]["maps"] == [["s", "s"]]
    assert kept.exists()
    before = out.read_bytes()
    assert main([*arguments, "--epochs", "2", "--resume"]) == 0
    assert out.read_bytes() == before


def test_a_combination_trains_as_long_as_asked_and_goes_on(
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, kept = tmp_path / "taught.onnx", tmp_path / "state"
    arguments = ["compress", str(model), "prune_distil_quantize", "--data", str(data), "--threads", "1", "--json"]
    arguments += ["--checkpoint", str(kept), "-o", str(out), "--no-measure", "--epochs", "3"]
    assert main(arguments) == 0
    (lesson,) = [step for step in told(capsys)["steps"] if step["method"] == "distil"]
    assert lesson["settings"]["epochs"] == 3
    before, when = out.read_bytes(), kept.stat().st_mtime_ns
    assert main([*arguments, "--resume"]) == 0
    assert out.read_bytes() == before
    assert kept.stat().st_mtime_ns == when  # nothing was left to train


SETTINGS = {
    "sparsify": ["--pattern", "2:4"],
    "share_weights": ["--bits", "4"],
    "factorize": ["--energy", "0.6"],
    "drop_blocks": ["--count", "1"],
    "shrink_input": ["--scale", "0.5"],
    "earlier_stride": ["--node", "conv1"],
    "prune_quantize": ["--ratio", "0.5", "--exclude", "fc"],
}


@pytest.mark.parametrize("method", SETTINGS)
def test_compress_knows_the_other_methods(
    method: str, model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "small.onnx"
    arguments = ["compress", str(model), method, "--data", str(data), "-o", str(out), "--no-measure", "--json"]
    assert main([*arguments, *SETTINGS[method]]) == 0
    assert told(capsys)["method"] == method
    onnx.checker.check_model(onnx.load(out), full_check=True)


def test_every_method_has_a_command_and_options_that_it_takes() -> None:
    assert WAYS.keys() | {"quantize", "prune"} == METHODS.keys()
    assert WAYS.keys() == TAKES.keys()


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["quantize", "MODEL", "--data", "nowhere"], "no such file or folder: nowhere"),
        (["quantize", "MODEL", "--data", "DATA", "-o", "MODEL"], "would overwrite what is read"),
        (["quantize", "MODEL", "--data", "DATA", "--calibration", "best"], "no calibration is called 'best'"),
        (["quantize", "MODEL", "--data", "DATA", "--exclude", "conv9"], "conv9"),
        (["quantize", "MODEL"], "--data"),
        (["quantize", "DATA", "--data", "DATA"], "is not a readable ONNX model"),
        (["prune", "MODEL", "--ratio", "1.5"], "ratio"),
        (["prune", "MODEL", "--importance", "activation"], "needs samples"),
        (["distill", "MODEL", "MODEL", "--data", "DATA", "--maps", "s"], "student_value=teacher_value"),
        (["distill", "MODEL", "MODEL", "--data", "DATA", "--patience", "2"], "hold_out"),
        (["distill", "MODEL", "MODEL", "--data", "DATA", "--resume"], "checkpoint"),
        (["compress", "MODEL", "zip"], "no method is called 'zip'"),
        (["compress", "MODEL", "sparsify", "--bits", "4"], "sparsify has no --bits"),
        (["compress", "MODEL", "prune_quantize"], "needs samples: give --data"),
        (["compress", "MODEL", "prune_quantize", "--data", "DATA", "--epochs", "2"], "prune_quantize has no --epochs"),
        (["compress", "MODEL", "distil_quantize", "--data", "DATA", "--resume"], "checkpoint"),
        (["compress", "MODEL", "sparsify", "-o", "nowhere/x.onnx"], "the folder nowhere does not exist"),
        (["compress", "MODEL", "share_weights", "--size", "8"], "--size"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], match: str, model: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"MODEL": str(model), "DATA": str(data)}
    before = model.read_bytes()
    assert main([names.get(word, word) for word in arguments]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    assert match in line
    assert model.read_bytes() == before


def test_without_torch_distill_says_what_to_install(
    model: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("reconv.compress.train.find_spec", lambda _: None)
    assert main(["distill", str(model), str(model), "--data", str(data)]) == 2
    assert "pip install 'reconv[train]'" in capsys.readouterr().err


def test_the_bar_shows_where_the_training_is() -> None:
    said = io.StringIO()
    talk = Console(file=said, force_terminal=True, width=100)
    with training_bar(talk, show=True) as advance:
        advance(Progress(epoch=2, epochs=5, step=7, steps=20, loss=0.25, validation=0.125))
    assert "7/20" in said.getvalue()
    assert "epoch 2/5  loss 0.25  held out 0.125" in said.getvalue()
    quiet = io.StringIO()
    with training_bar(Console(file=quiet), show=False) as advance:
        advance(Progress(epoch=1, epochs=1, step=1, steps=1, loss=1.0))
    assert quiet.getvalue() == ""


def test_long_tables_are_cut_on_the_terminal() -> None:
    told = [LayerReport(f"layer{i}", {"error": 0.5, "ranks": [1, 2]}) for i in range(SHOWN + 3)]
    grid = layers(Report("x", {}, tuple(told), SizeReport(1), SizeReport(1)))
    assert len(grid.rows) == SHOWN
    assert grid.rows[0] == ("layer0", "0.5", "1 2")
    assert grid.note.startswith("and 3 more layers")
