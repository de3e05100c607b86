"""`reconv optimize`: what it writes, what it says in each of its forms, and what it refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from reconv.app import main
from reconv.app import optimize_words as words
from reconv.app.optimize_page import optimize_page
from reconv.graph import save, to_onnx
from reconv.optimize import trial, work
from reconv.optimize.limits import Limits
from reconv.optimize.measured import Paired
from reconv.optimize.optimize import optimize as door
from tests.unit.app.pages import breaches, read_page
from tests.unit.optimize.nets import Blur, Quantize, classifier, pictures

Array = np.ndarray[Any, Any]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is reordered, and 8 bits are quick."""
    real = trial.Bench._measured

    def measured(bench: trial.Bench, candidate: trial.Candidate, judge: Any, times: int) -> dict[str, Any]:
        found = real(bench, candidate, judge, times)
        if "paired" in found:
            codes = sum(node.op_type == "QuantizeLinear" for node in bench.graph(candidate.steps).nodes)
            found["paired"] = Paired(2.0, 2 - 0.1 * codes, 1 - 0.05 * codes, 0.9, 1.1).to_json()
        return found

    monkeypatch.setattr(trial.Bench, "_measured", measured)
    monkeypatch.setattr(trial, "paired", lambda *_: Paired(2.0, 2.0, 1.0, 1.0, 1.0))
    monkeypatch.setattr(work, "_exchanged", lambda *_: ("not reordered: left out here", None))
    monkeypatch.setattr(sys.modules["reconv.optimize.optimize"], "METHODS", {"quantize": Quantize(), "blur": Blur()})


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A classifier, and samples of it."""
    net, data = tmp_path / "net.onnx", tmp_path / "data.npz"
    save(classifier(), net)
    np.savez(data, x=np.concatenate([each["x"] for each in pictures(9)]))
    return net, data


def test_it_writes_what_was_asked_for(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net, data = files
    out, page, profile = tmp_path / "out.onnx", tmp_path / "page.html", tmp_path / "profile.json"
    journal = tmp_path / "journal"
    given = [
        "optimize",
        str(net),
        "--data",
        str(data),
        "--max-degradation",
        "40%",
        "--max-size",
        "100KB",
        "--threads",
        "1",
    ]
    given += ["-o", str(out), "--html", str(page), "--profile", str(profile), "--journal", str(journal)]
    assert main([*given, "--json"]) == 0
    printed, err = capsys.readouterr()
    assert err == ""
    report = json.loads(printed)
    assert report["met"]
    assert report["limits"]["max_degradation"] == 0.4
    assert report["limits"]["max_size_bytes"] == 100_000
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    assert session.run(None, dict(pictures(1)[0]))[0].shape == (1, 4)
    assert json.loads(profile.read_text())["precision"] == report["precision"]
    text = page.read_text()
    assert breaches(read_page(text)) == []
    assert "<polyline" in text
    assert main(given) == 0  # again: all of it is in the journal
    said = capsys.readouterr().out
    assert "Every limit is kept." in said
    assert f"{out}: written" in said
    assert "limits" in said
    assert "tried and measured" in said


def test_a_limit_that_cannot_be_met_is_one_line_and_nothing_is_written(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net, data = files
    out = tmp_path / "out.onnx"
    given = ["optimize", str(net), "--data", str(data), "--max-latency-ms", "0.01", "--threads", "1", "-o", str(out)]
    assert main(given) == 1
    said = capsys.readouterr().out
    assert "milliseconds of at most 0.010 ms cannot be met: the nearest model has" in said
    assert "MISSED" in said
    assert "nothing written: a limit is missed" in said
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["--max-degradation", "much"], "--max-degradation is a share, as in 1% or 0.01; got 'much'"),
        (["--max-size", "big"], "--max-size is a number of bytes"),
        (["--max-memory", "5XB"], "--max-memory is a number of bytes"),
        ([], "no limit is given"),
        (["--max-degradation", "1"], "would be 100 %; write 1% or 0.01"),
        (["--max-degradation", "1%", "--target", "gpu"], "no target is called 'gpu'"),
        (["--max-degradation", "1%", "--recipe", "cake"], "no recipe is called 'cake'"),
        (["--max-degradation", "1%", "--metric", "luck"], "no metric is called 'luck'"),
        (["--max-degradation", "1%", "--metric", "top1"], "needs labels"),
        (["--max-degradation", "1%", "-o", "DATA"], "would overwrite what is read"),
        (["--max-degradation", "1%", "--journal", "no/where"], "does not exist"),
    ],
)
def test_mistakes(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str], arguments: list[str], match: str
) -> None:
    net, data = files
    refused(capsys, [str(net), "--data", str(data), *(str(data) if w == "DATA" else w for w in arguments)], match)


def refused(capsys: pytest.CaptureFixture[str], arguments: list[str], match: str) -> None:
    """Exit code 2 and one line."""
    assert main(["optimize", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1
    assert match in err


def test_samples_that_do_not_fit_are_refused(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net, _ = files
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(capsys, [str(net), "--data", str(empty), "--max-degradation", "1%"], "no samples")
    wrong = tmp_path / "wrong.npz"
    np.savez(wrong, x=np.zeros((4, 3, 8, 8), np.float32))
    refused(capsys, [str(net), "--data", str(wrong), "--max-degradation", "1%"], "sample 0: input 'x' has shape")
    refused(capsys, [str(net)], "--data")


def test_names_from_files_are_text_on_the_page() -> None:
    limits = Limits(max_degradation=0.9)
    result = door(to_onnx(classifier()), pictures(6), limits, methods={"quantize": Quantize()}, threads=1)
    text = optimize_page("<b>net</b>", result)
    assert "&lt;b&gt;net" in text
    assert breaches(read_page(text)) == []
    assert words.verdict(result.report).endswith("Every limit is kept.")
