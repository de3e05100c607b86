"""`reconv inspect`: the table and its JSON say the same of a model whose numbers are known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from reconv.app import main
from reconv.app.console import number


def test_the_json_holds_work_bytes_and_reach(map_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(map_model), "--size", "32x48", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    conv, sigmoid = found["nodes"]
    assert conv["op"] == "Conv"
    assert sigmoid["op"] == "Sigmoid"
    assert conv["where"] == sigmoid["where"] == "engine"
    assert conv["multiply_adds"] == found["totals"]["multiply_adds"] == 32 * 48 * 27
    assert conv["bytes"] == 4 * 32 * 48
    assert conv["shape"] == [1, 1, 32, 48]
    assert conv["reach"].startswith("3x3")
    assert found["totals"]["engine_share"] == 1
    assert found["totals"]["state_bytes"] > 0


def test_the_table_is_not_cut_in_a_pipe(map_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(map_model), "--shape", "images=1x3x32x48"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "41.5k" in out
    assert "1x1x32x48" in out
    assert "2 nodes, 0 in the tail; 41.5k multiply-adds, 100.00% of them in the engine" in out
    assert "\x1b" not in out


def test_mistakes(map_model: Path, mistake: Callable[..., str]) -> None:
    assert "sizes that the model leaves open: give --size" in mistake("inspect", map_model)
    assert "--shape is name=sizes" in mistake("inspect", map_model, "--shape", "images")
    assert "no.onnx does not exist" in mistake("inspect", "no.onnx")
    assert "'nothing'" in mistake("inspect", map_model, "--size", "32x32", "--shape", "nothing=1x3")


def test_numbers_have_three_digits() -> None:
    assert [number(v) for v in (0, 12, 999, 1234, 41472, 999_600, 5_200_000_000)] == [
        "0", "12", "999", "1.23k", "41.5k", "1000k", "5.2G",
    ]  # fmt: skip
