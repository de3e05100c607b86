"""`reconv.optimize` whole: what it gives, what it says, an interrupt in the middle, and limits that cannot be met."""

from __future__ import annotations

import errno
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from reconv.errors import InputError, ModelError, SourceError
from reconv.graph import digest, to_onnx
from reconv.measure import Job
from reconv.optimize import footprint, trial, work
from reconv.optimize.limits import Limits
from reconv.optimize.measured import Paired
from reconv.optimize.optimize import Optimized, optimize
from tests.unit.optimize.nets import LAYERS, Blur, Quantize, classifier, pictures

Array = np.ndarray[Any, Any]
METHODS: dict[str, Any] = {"quantize": Quantize(), "blur": Blur()}


def error_free(ours: list[Any], expected: list[Any]) -> float:
    """1 less the error of the outputs: a metric that feels every layer."""
    noise = [np.linalg.norm(a["y"] - b["y"]) / np.linalg.norm(b["y"]) for a, b in zip(ours, expected, strict=True)]
    return 1 - float(np.mean(noise))


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """Milliseconds by the count of nodes that are not of 8 bits, so that two searches measure the same."""
    real = trial.Bench._measured

    def measured(bench: trial.Bench, candidate: trial.Candidate, judge: Any, times: int) -> dict[str, Any]:
        found = real(bench, candidate, judge, times)
        if "paired" in found:
            codes = sum(node.op_type == "QuantizeLinear" for node in bench.graph(candidate.steps).nodes)
            ms = 2 - 0.1 * codes
            found["paired"] = Paired(2.0, ms, ms / 2, ms / 2, ms / 2).to_json()
        return found

    monkeypatch.setattr(trial.Bench, "_measured", measured)
    monkeypatch.setattr(trial, "paired", lambda *_: Paired(2.0, 2.0, 1.0, 1.0, 1.0))
    monkeypatch.setattr(work, "_exchanged", lambda *_: ("not reordered: left out here", None))


def ask(limits: Limits, **options: Any) -> Optimized:
    given = {"threads": 1, "methods": METHODS, "metric": error_free, "seconds": 1e6, **options}
    return optimize(to_onnx(classifier()), pictures(9), limits, **given)


TIGHT = Limits(max_degradation=0.02)


@cache
def whole() -> Optimized:
    """A search that nothing stopped; called where time is steady."""
    return ask(TIGHT)


def plain(result: Optimized) -> Any:
    """The report without what a clock says."""

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without(item) for key, item in value.items() if key != "seconds"}
        return [without(item) for item in value] if isinstance(value, list) else value

    return without(json.loads(json.dumps(result.report.to_json(), allow_nan=False)))


@pytest.mark.usefixtures("steady")
def test_a_model_within_its_limits(tmp_path: Path) -> None:
    said: list[str] = []
    result = ask(Limits(max_degradation=0.2), say=said.append)
    report = result.report
    assert result.met
    chosen = report.chosen.trial
    assert chosen.loss <= 0.2
    assert chosen.paired is not None
    assert chosen.paired.ratio < 1
    assert [step.method for step in chosen.candidate.steps] == ["quantize"]
    assert sum(report.setting.samples) == 9
    assert {each.layer for each in report.sensitivities} == set(LAYERS)
    assert "int8" in report.precision.values()
    assert result.profile["precision"] == report.precision
    assert any(t.candidate.steps and t.candidate.steps[0].method == "blur" for t in report.trials)
    assert any("sensitivity of c3" in line for line in said)
    onnx.checker.check_model(result.model, full_check=True)
    result.save(tmp_path / "out.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "out.onnx"), providers=["CPUExecutionProvider"])
    assert session.run(None, dict(pictures(1)[0]))[0].shape == (1, 4)


@pytest.mark.usefixtures("steady")
def test_tighter_limits_leave_more_in_float() -> None:
    counts = []
    for limit in (0.2, 0.0):
        report = ask(Limits(max_degradation=limit)).report
        assert report.met
        counts.append(list(report.precision.values()).count("int8"))
    assert counts[0] > counts[1] == 0


@pytest.mark.usefixtures("steady")
def test_a_limit_that_cannot_be_met_says_how_close_it_came() -> None:
    result = ask(Limits(max_degradation=0.05, max_latency_ms=0.01))
    assert not result.met
    (missed,) = result.report.missed
    assert (missed.limit, missed.allowed) == ("max_latency_ms", 0.01)
    assert missed.measured is not None
    assert missed.over == pytest.approx(missed.measured / 0.01 - 1)
    assert 0.01 < result.report.closest["max_latency_ms"] <= missed.measured
    assert result.report.chosen.trial.loss <= 0.05  # the limit that can be kept is kept
    small = ask(Limits(max_size_bytes=10))
    assert [each.limit for each in small.report.missed] == ["max_size_bytes"]


@pytest.mark.usefixtures("steady")
@pytest.mark.parametrize("stop", [4, 11])
def test_an_interrupt_changes_nothing_but_the_time(tmp_path: Path, stop: int) -> None:
    right, count = whole(), 0

    def interrupted(_: str) -> None:
        nonlocal count
        count += 1
        if count > stop:
            raise KeyboardInterrupt

    journal = tmp_path / "journal"
    with pytest.raises(KeyboardInterrupt):
        ask(TIGHT, journal=journal, say=interrupted)
    torn = journal.read_bytes() if journal.exists() else b""
    if stop == 11:
        journal.write_bytes(torn[:-7])  # as if it had been writing
    again = ask(TIGHT, journal=journal)
    assert plain(again) == plain(right)
    assert digest(again.graph) == digest(right.graph)
    trials: list[str] = []
    assert plain(ask(TIGHT, journal=journal, say=trials.append)) == plain(right)
    assert not [line for line in trials if "quantize" in line or "sensitivity" in line]  # all of it was known


@pytest.mark.usefixtures("steady")
def test_a_journal_of_another_search_is_not_gone_on_with(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    ask(Limits(max_degradation=0.2), journal=journal, methods={})
    with pytest.raises(InputError, match="the journal of another search"):
        ask(Limits(max_degradation=0.3), journal=journal, methods={})


@pytest.mark.usefixtures("steady")
def test_a_full_disk_is_one_line_and_what_was_found_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, real, writes = tmp_path / "journal", os.write, 0

    def write(file: int, data: Any) -> int:
        nonlocal writes
        writes += 1
        if writes > 6:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(file, data)

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(SourceError, match="No space left on device") as caught:
        ask(TIGHT, journal=journal)
    assert "\n" not in str(caught.value)
    monkeypatch.setattr(os, "write", real)
    assert len(journal.read_bytes().splitlines()) == 6
    assert plain(ask(TIGHT, journal=journal)) == plain(whole())


@pytest.mark.usefixtures("steady")
def test_several_targets_are_tried_and_the_best_is_taken() -> None:
    report = ask(Limits(max_degradation=0.2), target=["onnxruntime", "reconv"]).report
    assert {t.candidate.target for t in report.trials} == {"onnxruntime", "reconv"}
    best = min(t.figures.latency_ms for t in report.trials if t.paired is not None and t.loss <= 0.2)
    assert report.chosen.trial.figures.latency_ms <= best + 1e-9


def test_memory_is_measured_in_a_process_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(to_onnx(classifier()).SerializeToString())
    job = Job(str(path), {"x": (1, 3, 16, 16)}, 1)
    small = footprint.footprint("onnxruntime", job, pictures(1)[0])
    assert 0 < small < 1 << 30
    with pytest.raises(footprint.FootprintError, match="onnxruntime: "):
        footprint.footprint("onnxruntime", Job(str(tmp_path / "no.onnx"), {}, 1), {})


@pytest.mark.usefixtures("steady")
@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"target": "gpu"}, "no target is called 'gpu'"),
        ({"target": []}, "name a target"),
        ({"seconds": 0}, "seconds is 0"),
        ({"metric": "luck"}, "no metric is called 'luck'"),
        ({"recipe": "cake"}, "no recipe is called 'cake'"),
        ({"labels": [1]}, "9 samples, but 1 labels"),
    ],
)
def test_mistakes_are_one_line(options: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match) as caught:
        ask(Limits(max_degradation=0.1), **options)
    assert "\n" not in str(caught.value)


def test_no_samples_and_no_model() -> None:
    limits = Limits(max_degradation=0.1)
    with pytest.raises(InputError, match="no samples"):
        optimize(to_onnx(classifier()), [], limits)
    with pytest.raises(InputError, match="sample 0: input 'x' has shape"):
        optimize(to_onnx(classifier()), [np.zeros((1, 3, 9, 9), np.float32)], limits)
    with pytest.raises(ModelError):
        optimize(b"no model", pictures(3), limits)


@pytest.mark.usefixtures("steady")
def test_a_combination_that_is_handed_in_is_tried() -> None:
    result = ask(Limits(max_degradation=0.9), methods={"prune_quantize": Blur()})
    assert any(step.method == "prune_quantize" for each in result.report.trials for step in each.candidate.steps)


@pytest.mark.usefixtures("steady")
def test_few_samples_are_said_to_be_few() -> None:
    result = optimize(
        to_onnx(classifier()), pictures(2), Limits(max_degradation=0.5), methods={"quantize": Quantize()}, threads=1
    )
    assert result.report.setting.shared
    assert any("too few samples" in note for note in result.report.notes)
