"""Reports as plain values, and sizes as they are."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest

from reconv.compress.result import Compressed, LayerReport, Report, SizeReport, plain
from reconv.errors import ModelError
from reconv.graph import to_onnx
from tests.contract.small_residual import graph


def test_values_of_numpy_become_plain() -> None:
    value = {"a": np.float32(0.5), 2: np.arange(2), "c": {"x", "y"}, "d": (np.int64(3), None), "e": float("nan")}
    found = plain({**value, "f": Path("p"), "g": True})
    assert json.loads(json.dumps(found, allow_nan=False)) == {
        "a": 0.5, "2": [0, 1], "c": ["x", "y"], "d": [3, None], "e": None, "f": "p", "g": True
    }  # fmt: skip


def test_sizes_are_those_of_the_file_and_of_what_a_compressor_makes_of_it() -> None:
    data = to_onnx(graph()).SerializeToString()
    assert SizeReport.of(graph()) == SizeReport(len(data))
    assert SizeReport.of(graph(), packed=True) == SizeReport(len(data), len(zlib.compress(data, 6)))


def test_a_report_holds_its_steps_and_takes_what_was_measured(tmp_path: Path) -> None:
    source = graph()
    layer = LayerReport("conv1", {"error": np.float64(0.25)})
    inner = Report.of("inner", source, source, settings={"ratio": np.float32(0.5)}, layers=[layer], notes=["a"])
    made = Compressed(source, Report.of("outer", source, source, settings={}, steps=[inner]))
    told = made.noted(measured={"loss": np.float64(0.5)}).report.to_json()
    assert told["steps"][0]["layers"] == [{"name": "conv1", "error": 0.25}]
    assert told["measured"] == {"loss": 0.5}
    assert made.report.measured is None
    made.save(tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").stat().st_size == made.report.after.file
    with pytest.raises(ModelError, match="does not exist"):
        made.save(tmp_path / "nowhere" / "model.onnx")
