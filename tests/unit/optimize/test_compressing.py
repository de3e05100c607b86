"""The doors: files and samples in, a measured model out; users' mistakes in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reconv
from reconv.compress import METHODS
from reconv.compress.quantize.quantize import quantize as method
from reconv.compress.train.course import Course
from reconv.engine.tail import open_session
from reconv.errors import InputError, MissingError, ModelError
from reconv.graph import Graph, load, to_onnx
from reconv.optimize import compressing
from tests.contract.small_residual import inputs, residual

SAMPLES = inputs(12)
COURSE = Course(epochs=1, batch=6, threads=1)
LESSON = {"course": COURSE}
DOORS: dict[str, tuple[Callable[..., reconv.Compressed], dict[str, Any]]] = {
    "quantize": (reconv.quantize, {"calibration": "minmax", "exclude": ["fc"]}),
    "prune": (reconv.prune, {"ratio": 0.5}),
    "sparsify": (reconv.sparsify, {"pattern": "2:4"}),
    "share_weights": (reconv.share_weights, {"bits": 4}),
    "factorize": (reconv.factorize, {"ratio": 0.5, "multiple": 1}),
    "drop_blocks": (reconv.drop_blocks, {}),
    "shrink_input": (reconv.shrink_input, {"scale": 0.5}),
    "earlier_stride": (reconv.earlier_stride, {}),
    "prune_quantize": (reconv.prune_quantize, {"prune": {"ratio": 0.5}}),
    "distil_quantize": (reconv.distil_quantize, {"distil": LESSON}),
    "prune_distil_quantize": (
        reconv.prune_distil_quantize,
        {"distil": LESSON, "aware": LESSON},
    ),
}


@pytest.mark.parametrize("name", DOORS)
def test_every_method_has_a_door_that_measures(name: str, tmp_path: Path) -> None:
    door, settings = DOORS[name]
    model = residual(norm=True)
    given = model.SerializeToString(deterministic=True)
    made = door(model, SAMPLES, threads=1, **settings)
    assert model.SerializeToString(deterministic=True) == given
    made.save(tmp_path / "small.onnx")
    (y,) = open_session((tmp_path / "small.onnx").read_bytes(), 1).run(None, SAMPLES[0])
    assert y.shape == (1, 10)
    report = json.loads(json.dumps(made.report.to_json(), allow_nan=False))
    assert report["method"] == name
    assert report["before"]["file"] == len(to_onnx(load(model)).SerializeToString())
    assert report["after"]["file"] == (tmp_path / "small.onnx").stat().st_size
    assert report["after"]["packed"] > 0
    measured = report["measured"]
    assert measured["samples"] == len(SAMPLES) // 4
    assert "the loss is on 3 samples that the method was not given" in report["notes"]
    assert measured["paired"]["after_ms"] > 0
    assert measured["loss"] == pytest.approx(measured["value_before"] - measured["value"])
    assert measured["output_error"] > 0


def test_samples_that_judge_are_not_those_that_a_method_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    quantize = method

    def counted(graph: Graph, samples: Any, *rest: Any, **settings: Any) -> Any:
        seen.append(len(samples))
        return quantize(graph, samples, *rest, **settings)

    monkeypatch.setattr(compressing, "quantize_", counted)
    for count, settings, judging in ((12, {}, 3), (12, {"held": 0.5}, 6), (12, {"held": 0.0}, 12), (7, {}, 7)):
        made = reconv.quantize(residual(), SAMPLES[:count], threads=1, **settings)
        assert made.report.to_json()["measured"]["samples"] == judging
        assert seen.pop() == (count if judging == count else count - judging)
        fitted = any("the method was given" in note for note in made.report.notes)
        assert fitted == (judging == count)
    reconv.quantize(residual(), SAMPLES, threads=1, measure=False)
    assert seen == [12]
    with pytest.raises(InputError, match="share of the samples that judge"):
        reconv.quantize(residual(), SAMPLES, held=1.0)


def test_every_method_of_the_table_is_behind_a_door() -> None:
    assert set(DOORS) == set(METHODS)
    assert [len(reconv.prune_quantize(residual(), SAMPLES, threads=1, measure=False).report.steps)] == [2]


def test_layers_are_named_as_in_the_file_though_norms_are_folded() -> None:
    made = reconv.quantize(residual(norm=True), SAMPLES, threads=1, measure=False, exclude=["conv2", "fc"])
    assert [layer.name for layer in made.report.layers if layer.facts["bits"] == 8] == ["conv1", "conv3"]
    kept = reconv.sparsify(residual(norm=True), measure=False, fold=False)
    assert "BatchNormalization" in [node.op_type for node in kept.graph.nodes]


def test_without_samples_only_milliseconds_are_measured() -> None:
    made = reconv.sparsify(residual(), threads=1)
    assert made.report.measured is not None
    assert set(made.report.measured) == {"target", "threads", "load_ms", "paired"}
    assert reconv.sparsify(residual(), threads=1, measure=False).report.measured is None


def test_a_model_that_takes_other_inputs_is_not_compared() -> None:
    made = reconv.shrink_input(residual(), SAMPLES, threads=1, inside=False)
    assert made.report.measured is None
    assert made.report.notes[-1] == "not measured: it takes other inputs than the original"


def test_distilling_measures_the_student_beside_its_teacher() -> None:
    student = reconv.prune(residual(norm=True), ratio=0.5, measure=False, fold=False)
    made = reconv.distill(student.model, residual(norm=True), SAMPLES, threads=1, course=COURSE)
    assert made.report.method == "distil"
    assert made.report.measured is not None
    assert made.report.notes[-1].startswith("time and loss are those of the student beside the teacher")
    assert {node.op_type for node in made.graph.nodes} == {node.op_type for node in student.graph.nodes}
    assert not np.array_equal(student.graph.constants["w3"], made.graph.constants["w3"])


def test_labels_are_the_metric_and_go_into_the_training() -> None:
    pairs = [(sample, index % 10) for index, sample in enumerate(SAMPLES)]
    made = reconv.distil_quantize(residual(), pairs, threads=1, distil=LESSON)
    assert made.report.measured is not None
    assert made.report.measured["metric"] == "top1"
    assert made.report.steps[1].settings["labels"] is True


def test_taylor_importance_gets_its_gradients() -> None:
    made = reconv.prune(residual(), SAMPLES, threads=1, measure=False, importance="taylor")
    assert made.report.settings["importance"] == "taylor"
    with pytest.raises(InputError, match="needs samples"):
        reconv.prune(residual(), importance="taylor", measure=False)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: reconv.quantize(residual(), []), InputError, "no samples"),
        (lambda: reconv.quantize(residual(), [np.zeros((1, 3, 8, 8), np.float32)]), InputError, "shape"),
        (lambda: reconv.quantize(residual(), SAMPLES, target="gpu"), InputError, "no target is called 'gpu'"),
        (lambda: reconv.quantize(residual(), SAMPLES, exclude=["conv9"]), InputError, "conv9"),
        (lambda: reconv.sparsify("no such.onnx"), ModelError, "does not exist"),
        (lambda: reconv.prune_quantize(residual(), SAMPLES, prune={"ratio": 2}), InputError, "ratio"),
        (lambda: reconv.drop_blocks(residual(), SAMPLES, count=9), ModelError, "residual blocks"),
    ],
)
def test_mistakes_are_told(call: Callable[[], Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call()


def test_without_torch_training_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconv.compress.train.find_spec", lambda _: None)
    calls: list[Callable[[], Any]] = [
        lambda: reconv.distill(residual(), residual(), SAMPLES),
        lambda: reconv.prune_distil_quantize(residual(), SAMPLES),
        lambda: reconv.prune(residual(), SAMPLES, importance="taylor"),
    ]
    for call in calls:
        with pytest.raises(MissingError, match=r"pip install 'reconv\[train\]'"):
            call()


def test_a_metric_that_cannot_be_is_refused_before_the_work() -> None:
    said: list[str] = []
    for metric, why in (("top1", "needs labels"), ("luck", "no metric is called 'luck'")):
        with pytest.raises(InputError, match=why):
            reconv.sparsify(residual(), SAMPLES, metric=metric, threads=1, say=said.append)
    assert "compressing" not in said


def test_what_fails_while_it_is_measured_loses_no_work() -> None:
    def broken(_outputs: list[dict[str, Any]], _expected: list[Any]) -> float:
        raise ValueError("no such thing")

    made = reconv.sparsify(residual(), SAMPLES, metric=broken, threads=1)
    assert made.report.measured is None
    assert any(note.startswith("not measured: ") for note in made.report.notes)
