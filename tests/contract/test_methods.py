"""Every method of the table: valid ONNX that runs, the same each time, with true sizes and nothing claimed that was not
measured; what it cannot do it refuses with a reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest

from reconv.compress import METHODS, Compressed
from reconv.compress.train.course import Course
from reconv.engine.tail import open_session
from reconv.errors import MissingError, ModelError
from reconv.graph import Graph, load, to_onnx
from reconv.optimize.values import RuntimeForward
from tests.contract.small_residual import graph, inputs
from tests.unit.small import text

SAMPLES = inputs(6)
FORWARD = RuntimeForward(1)
QUICK: Mapping[str, dict[str, Any]] = {  # what is not worth its time here
    "distil_quantize": {"distil": {"course": Course(epochs=1, batch=3, threads=1)}},
    "prune_distil_quantize": {"distil": {"course": Course(epochs=1, batch=3, threads=1)}},
}
NAMES = [pytest.param(name, id=name) for name in METHODS]
TRAINED = [name for name, method in METHODS.items() if "train" in method.needs]


def _apply(name: str, source: Graph) -> Compressed:
    settings = {**list(METHODS[name].settings(source))[-1], **QUICK.get(name, {})}  # the mild end may change nothing
    return METHODS[name].apply(source, SAMPLES, FORWARD, **settings)


@pytest.mark.parametrize("name", NAMES)
def test_what_comes_out_is_valid_and_runs_with_the_same_names_and_shapes(name: str) -> None:
    source = graph()
    made = _apply(name, source)
    model = made.model
    onnx.checker.check_model(model, full_check=True)
    old, new = to_onnx(source).graph, model.graph
    assert [(i.name, i.type) for i in old.input] == [(i.name, i.type) for i in new.input]
    assert [o.name for o in old.output] == [o.name for o in new.output]
    session = open_session(model.SerializeToString(), 1)
    for sample in SAMPLES:
        (y,) = session.run(None, sample)
        assert y.shape == (1, 10)
        assert np.isfinite(y).all()
    again = load(model.SerializeToString())
    assert [node.op_type for node in again.nodes] == [node.op_type for node in made.graph.nodes]


@pytest.mark.parametrize("name", NAMES)
def test_the_result_is_the_same_each_time_and_what_it_was_given_stays(name: str) -> None:
    source = graph()
    before = to_onnx(source).SerializeToString(deterministic=True)
    first, second = (_apply(name, source).model.SerializeToString(deterministic=True) for _ in range(2))
    assert first == second
    assert first != before
    assert to_onnx(source).SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("name", NAMES)
def test_the_report_says_the_true_sizes_and_claims_nothing(name: str) -> None:
    source = graph()
    made = _apply(name, source)
    report = made.report
    assert report.method == name == METHODS[name].name
    assert report.before.file == len(to_onnx(source).SerializeToString())
    assert report.after.file == len(made.model.SerializeToString())
    assert report.measured is None
    assert report.layers or all(step.layers or step.notes for step in report.steps)
    assert all(step.measured is None for step in report.steps)
    told = report.to_json()
    assert told["after"]["file"] == report.after.file
    assert [layer["name"] for layer in told["layers"]] == [layer.name for layer in report.layers]


@pytest.mark.parametrize("name", NAMES)
def test_all_settings_of_the_ladder_can_be_applied(name: str) -> None:
    if name in TRAINED:  # one of each is trained above
        assert list(METHODS[name].settings(graph()))
        return
    done, reasons = 0, []
    for settings in METHODS[name].settings(graph()):
        try:
            METHODS[name].apply(graph(), SAMPLES, FORWARD, **settings)
            done += 1
        except ModelError as error:  # so mild that nothing changes, on so small a model
            reasons.append(str(error))
    assert done, reasons
    assert all(reasons)


@pytest.mark.parametrize("name", NAMES)
def test_what_has_no_layers_is_refused(name: str) -> None:
    nothing = load(text("g (float[1, 3, 16, 16] x) => (float[1, 3, 16, 16] y) { y = Relu (x) }"))
    with pytest.raises(ModelError, match=r"\w+ \w+"):
        METHODS[name].apply(nothing, SAMPLES, FORWARD)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("shrink_input", "earlier_stride")])
def test_what_is_quantized_is_refused(name: str) -> None:
    codes = METHODS["quantize"].apply(graph(), SAMPLES, FORWARD).graph
    with pytest.raises(ModelError, match=r"quantized|nothing to quantize"):
        METHODS[name].apply(codes, SAMPLES, FORWARD)


@pytest.mark.parametrize("name", TRAINED)
def test_without_torch_training_says_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconv.compress.train.find_spec", lambda _: None)
    with pytest.raises(MissingError, match=r"pip install 'reconv\[train\]'"):
        METHODS[name].apply(graph(), SAMPLES, FORWARD)


def test_needs_are_words_that_are_known() -> None:
    assert TRAINED
    assert all(method.needs <= {"samples", "loss", "train"} for method in METHODS.values())
