"""`reconv.exchange` from the outside: what it gives, what it says, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
from onnx import TensorProto, helper

import reconv
from reconv.errors import InputError, ModelError
from reconv.exchange.meter import Change
from reconv.exchange.rule import Example
from reconv.graph import to_onnx
from reconv.optimize import exchange as door

Array = np.ndarray[Any, Any]
DENSE = Example(
    """g (float[n, 32, h, w] x) => (float[n, 8, p, q] y) {
        b = BatchNormalization (x, scale, shift, mean, variance)
        r = Relu (b)
        c = Conv (r, w)
        y = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (c)
    }""",
    {
        **dict.fromkeys(("scale", "shift", "mean"), (32,)),
        "variance": np.linspace(0.5, 2, 32, dtype=np.float32),
        "w": (8, 32, 1, 1),
    },
)
SHAPES = {"x": (1, 32, 16, 16)}


def _model(example: Example = DENSE) -> onnx.ModelProto:
    return to_onnx(example.graph())


def _ask(source: Any, **options: Any) -> reconv.Exchanged:
    return reconv.exchange(source, **{"cost": "macs", "shapes": SHAPES, "threads": 1, **options})


def _run(model: onnx.ModelProto, frame: Array) -> Array:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": frame})[0])


def test_the_result_is_the_same_and_runs_everywhere(tmp_path: Path) -> None:
    found = _ask(_model())
    assert found.report.applied
    assert found.report.counts == {"pool before conv1x1": 1}
    assert found.report.after.multiply_adds == found.report.before.multiply_adds // 4
    onnx.checker.check_model(found.model, full_check=True)
    for size in (16, 10):  # sizes are free, and stay so
        frame = np.random.default_rng(0).standard_normal((2, 32, size, size)).astype(np.float32)
        before, after = _run(_model(), frame), _run(found.model, frame)
        np.testing.assert_allclose(before, after, atol=1e-5)
        path = tmp_path / "out.onnx"
        found.save(path)
        there = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(frame)[0]
        np.testing.assert_allclose(before, there, atol=1e-4)
        np.testing.assert_allclose(before, reconv.load(path).run(frame)["y"], atol=1e-4)


def test_the_model_it_was_given_does_not_change() -> None:
    model = _model()
    before = model.SerializeToString(deterministic=True)
    _ask(model)
    assert model.SerializeToString(deterministic=True) == before


def test_the_report_is_plain_json() -> None:
    report = json.loads(json.dumps(_ask(_model()).report.to_json(), allow_nan=False))
    assert report["rules"] == {"pool before conv1x1": 1}
    assert report["applied"] is True
    assert report["unit"] == "operations"
    assert report["shapes"] == {"x": [1, 32, 16, 16]}
    assert report["proof"]["holds"] is True
    assert report["gains"][0]["before"] > report["gains"][0]["after"]
    assert report["bugs"] == []


@pytest.mark.parametrize("target", ["reconv", "onnxruntime", "openvino-f32"])
def test_measured_gains_are_kept_only_when_the_whole_model_is_faster(target: str) -> None:
    """Which it is here is for the clock to say: the report and the model have to agree with one another."""
    found = _ask(_model(), cost="measured", target=target)
    whole = found.report.whole
    if found.report.applied:
        assert whole is not None
        assert whole.high < 1
    else:
        assert found.model.SerializeToString() == to_onnx(DENSE.graph()).SerializeToString()


def test_where_the_whole_model_is_not_faster_it_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    from reconv.optimize.measured import Measured, Paired

    monkeypatch.setattr(Measured, "change", lambda *_: Change(2.0, 1.0))
    monkeypatch.setattr(Measured, "whole", lambda *_: Paired(1.0, 1.1, 1.1, 1.05, 1.15))
    found = _ask(_model(), cost="measured")
    assert not found.report.applied
    assert "gains alone, but not in the whole model" in {declined.reason for declined in found.report.declined}
    assert [node.op_type for node in found.graph.nodes][-2:] == ["Conv", "AveragePool"]


def test_where_the_whole_models_differ_it_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    from reconv.optimize.whole import WholeProof

    monkeypatch.setattr(door, "prove_whole", lambda *_: WholeProof(False, {"y": 3.0}, "output 'y' is off"))
    found = _ask(_model())
    assert not found.report.applied
    assert "the whole models differ: output 'y' is off" in found.report.reason


def test_the_memo_makes_a_second_search_measure_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from reconv.optimize import measured

    memo = reconv.Cache(1 << 20)
    _ask(_model(), cost="measured", memo=memo)
    monkeypatch.setattr(measured, "paired", lambda *_: pytest.fail("a measurement was taken"))
    _ask(_model(), cost="measured", memo=memo)


def test_real_samples_are_used_in_the_proofs(monkeypatch: pytest.MonkeyPatch) -> None:
    from reconv.exchange import firing, proof

    seen: list[Array] = []
    prove = proof.prove

    def spy(view: Any, rewrite: Any, feeds: Any = ()) -> Any:
        seen.extend(array for feed in feeds for array in feed.values())
        return prove(view, rewrite, feeds)

    monkeypatch.setattr(firing, "prove", spy)
    frame = np.full(SHAPES["x"], 0.25, np.float32)
    _ask(_model(), samples=[{"x": frame}])
    assert seen  # what the batch normalization and the relu make of a constant is constant in every channel
    assert all(np.ptp(array, axis=(2, 3)).max() == 0 for array in seen)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"target": "tensorrt"}, "no target is called 'tensorrt'"),
        ({"cost": "beauty"}, "no cost is called 'beauty'; there are measured, macs, memory"),
        ({"shapes": None}, "has free sizes: pass shapes="),
        ({"shapes": {"z": (1,)}}, "no input 'z'; its inputs are x"),
        ({"shapes": {"x": (1, 3, 16, 16)}}, r"expected \(\?, 32, \?, \?\)|expected"),
        ({"samples": [{"x": np.zeros((1, 32, 8, 8), np.float32)}]}, "samples have other shapes"),
        ({"samples": [{"x": np.zeros(SHAPES["x"])}]}, "has type float64"),
    ],
)
def test_mistakes(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        _ask(_model(), **options)


def test_what_is_not_a_model() -> None:
    with pytest.raises(ModelError, match="not a readable ONNX model"):
        _ask(b"nothing of the kind")


def test_a_cycle_is_refused() -> None:
    nodes = [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2]) for name in ("x", "b")]
    model = helper.make_model(
        helper.make_graph(nodes, "g", info[:1], info[1:]), opset_imports=[helper.make_opsetid("", 17)]
    )
    with pytest.raises(ModelError, match="cycle"):
        reconv.exchange(model, cost="macs")


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (lambda node: node.input.pop(), "has 1 inputs, it needs 2"),
        (lambda node: node.attribute.extend([helper.make_attribute("nonsense", 1)]), "not valid ONNX"),
        (lambda node: node.attribute.extend([helper.make_attribute("strides", 2.5)]), "not valid ONNX"),
        (lambda node: setattr(node, "op_type", "Convolve"), "not valid ONNX"),
    ],
)
def test_an_invalid_model_is_refused(break_it: Callable[[onnx.NodeProto], Any], reason: str) -> None:
    model = _model()
    break_it(next(node for node in model.graph.node if node.op_type == "Conv"))
    with pytest.raises(ModelError, match=reason):
        _ask(model)


def _with_body(opset: int = 17) -> onnx.ModelProto:
    """conv1x1 → average pool, beside an If whose bodies hold the same, and read a value of the graph around them."""

    def body(name: str, source: str) -> onnx.GraphProto:
        nodes = [
            helper.make_node("Conv", [source, "w"], [f"{name}/c"]),
            helper.make_node("AveragePool", [f"{name}/c"], [f"{name}/y"], kernel_shape=[2, 2], strides=[2, 2]),
        ]
        out = helper.make_tensor_value_info(f"{name}/y", TensorProto.FLOAT, None)
        return helper.make_graph(nodes, name, [], [out])

    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Conv", ["r", "w"], ["c"]),
        helper.make_node("AveragePool", ["c"], ["y"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("If", ["which"], ["z"], then_branch=body("then", "x"), else_branch=body("else", "r")),
    ]
    weights = [onnx.numpy_helper.from_array(random.standard_normal((4, 8, 1, 1)).astype(np.float32), "w")]
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8, 6, 6]),
        helper.make_tensor_value_info("which", TensorProto.BOOL, []),
    ]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("y", "z")]
    graph = helper.make_graph(nodes, "g", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def test_control_flow_is_left_untouched() -> None:
    model = _with_body()
    found = reconv.exchange(model, cost="macs", threads=1)
    assert found.report.counts == {"pool before conv1x1": 1}
    (old,) = [node for node in model.graph.node if node.op_type == "If"]
    (new,) = [node for node in found.model.graph.node if node.op_type == "If"]
    for before, after in zip(old.attribute, new.attribute, strict=True):
        assert [n.op_type for n in before.g.node] == [n.op_type for n in after.g.node] == ["Conv", "AveragePool"]
    for which in (True, False):
        feeds = {
            "x": np.random.default_rng(1).standard_normal((1, 8, 6, 6)).astype(np.float32),
            "which": np.array(which),
        }
        results = []
        for proto in (model, found.model):
            session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
            results.append(session.run(None, feeds))
        for before, after in zip(*results, strict=True):
            np.testing.assert_allclose(before, after, atol=1e-5)


def test_weights_in_a_file_beside_the_model(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(_model(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    found = _ask(path)
    assert found.report.applied
    found.save(tmp_path / "out.onnx")
    frame = np.random.default_rng(0).standard_normal(SHAPES["x"]).astype(np.float32)
    np.testing.assert_allclose(_run(_model(), frame), _run(onnx.load(tmp_path / "out.onnx"), frame), atol=1e-5)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(ModelError, match="external data"):
        _ask(path)


def test_opsets_older_than_the_engine_knows_are_refused() -> None:
    model = _model()
    model.opset_import[0].version = 6
    with pytest.raises(ModelError, match="opset 6, expected 7 or newer"):
        _ask(model)


def test_functions_of_the_model_stay() -> None:
    model = _model()
    body = [helper.make_node("Relu", ["a"], ["b"])]
    model.functions.append(helper.make_function("mine", "Rectify", ["a"], ["b"], body, [helper.make_opsetid("", 17)]))
    model.opset_import.append(helper.make_opsetid("mine", 1))
    relu = next(node for node in model.graph.node if node.op_type == "Relu")
    relu.op_type, relu.domain = "Rectify", "mine"
    found = _ask(model)
    assert found.report.counts == {"pool before conv1x1": 1}
    assert [f.name for f in found.model.functions] == ["Rectify"]
    frame = np.random.default_rng(0).standard_normal(SHAPES["x"]).astype(np.float32)
    np.testing.assert_allclose(_run(model, frame), _run(found.model, frame), atol=1e-5)


def _pooled(name: str, kind: type) -> Example:
    text = f"""g ({name}[1, 6, 8, 8] x) => ({name}[1, 4, 4, 4] y) {{
        c = Conv (x, w)
        y = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (c)
    }}"""
    return Example(text, {"w": np.ones((4, 6, 1, 1), kind)})


def test_a_model_of_other_numbers_is_given_back() -> None:
    found = reconv.exchange(_model(_pooled("double", np.float64)), cost="macs", threads=1)
    assert not found.report.applied
    assert any("float64" in refused.reason for refused in found.report.refused)


def test_a_model_of_half_precision_is_one_of_float32_between_its_inputs_and_outputs() -> None:
    given = _model(_pooled("float16", np.float16))
    found = reconv.exchange(given, cost="macs", threads=1)
    assert found.report.applied
    x = np.random.default_rng(0).normal(size=(1, 6, 8, 8)).astype(np.float16)
    ours, theirs = reconv.load(found.model).run(x)["y"], reconv.load(given).run(x)["y"]
    assert ours.dtype == theirs.dtype == np.float16
    np.testing.assert_allclose(ours.astype(np.float32), theirs.astype(np.float32), rtol=2e-3, atol=2e-3)


def test_a_model_with_nothing_to_do_is_given_back() -> None:
    text = "g (float[1, 2] x) => (float[1, 2] x) { }"
    found = reconv.exchange(_model(Example(text)), cost="macs", threads=1)
    assert not found.report.applied
    assert found.report.before == found.report.after
