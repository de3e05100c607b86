"""Codes in the place of weights: what comes out of the file, on every runtime, are the values of the books."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import reconv
from reconv.compress.share import share_weights
from reconv.compress.weights import weights_of
from reconv.engine.tail import open_session
from reconv.errors import InputError, ModelError
from reconv.graph import Graph, load, to_onnx
from tests.contract.small_residual import graph, inputs, residual

Array = np.ndarray[Any, Any]
OPTIONS = [{"bits": 8}, {"bits": 5}, {"bits": 4}, {"bits": 3}, {"bits": 2}, {"bits": 4, "channels": 3}, {"bits": 1}]
OPTIONS += [{"bits": 6, "scaled": False}, {"bits": 4, "scaled": False, "channels": 8}]


def weights_inside(made: Graph, names: list[str]) -> dict[str, Array]:
    """The weights as ONNX Runtime computes them."""
    model = to_onnx(made)
    model.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names)
    session = open_session(model.SerializeToString(), 1)
    return dict(zip(names, session.run(names, inputs(1)[0]), strict=True))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_weights_come_back_with_few_values_near_what_they_were(options: dict[str, Any]) -> None:
    source = graph()
    made = share_weights(source, **options)
    shared = [layer.name for layer in made.report.layers]
    weights = {w.name: w for w in weights_of(source) if w.layer in shared}
    assert len(weights) >= 2
    errors = []
    for name, value in weights_inside(made.graph, list(weights)).items():
        old, told = weights[name].array, next(x for x in made.report.layers if x.name == weights[name].layer).facts
        assert value.shape == old.shape
        assert len(np.unique(value)) == told["values"]
        error = float(np.linalg.norm(value.astype(np.float64) - old) / np.linalg.norm(old))
        assert error == pytest.approx(told["weight_error"], rel=1e-6)
        errors.append(error)
        if not options.get("scaled", True):
            books = -(-old.shape[0] // options["channels"]) if "channels" in options else 1
            assert told["values"] <= books * 2 ** options["bits"]
    assert max(errors) < 1.5 * 2.0 ** (1 - options["bits"]) * (1 if options["bits"] > 1 else 0.8)


def test_more_bits_are_nearer_and_take_more_bytes() -> None:
    found = [share_weights(graph(), bits=bits).report for bits in (2, 4, 8)]
    errors = [sum(layer.facts["weight_error"] for layer in report.layers) for report in found]
    assert errors[0] > errors[1] > errors[2]
    assert found[1].after.file < found[2].after.file < found[2].before.file


def test_all_runtimes_compute_the_weights_when_they_load(tmp_path: Path) -> None:
    made = share_weights(graph(), bits=4)
    path = tmp_path / "shared.onnx"
    made.save(path)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "seen.onnx")
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    assert "Gather" not in [node.op_type for node in onnx.load(tmp_path / "seen.onnx").graph.node]
    sample = inputs(1)[0]
    (right,) = session.run(None, sample)
    engine = reconv.load(path, threads=1)
    np.testing.assert_allclose(engine.run(sample)["y"], right, rtol=0, atol=2e-6 * np.abs(right).max())
    import openvino

    core = openvino.Core()
    compiled = core.compile_model(
        core.read_model(path), "CPU", {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    )
    kinds = [str(op.get_rt_info()["layerType"].astype(str)) for op in compiled.get_runtime_model().get_ordered_ops()]
    assert "Gather" not in kinds
    np.testing.assert_allclose(compiled(sample)[0], right, rtol=0, atol=2e-6 * np.abs(right).max())


def test_nodes_keep_their_names_and_the_model_that_was_read_stays() -> None:
    model = residual()
    source = load(model)
    before, written = (m.SerializeToString(deterministic=True) for m in (model, to_onnx(source)))
    made = share_weights(source, bits=4)
    to_onnx(made.graph)
    assert {node.name for node in source.nodes} <= {node.name for node in made.graph.nodes}
    assert model.SerializeToString(deterministic=True) == before
    assert to_onnx(source).SerializeToString(deterministic=True) == written


def test_layers_that_would_not_get_smaller_stay_float() -> None:
    made = share_weights(graph(), bits=4, channels=4)
    assert [layer.name for layer in made.report.layers] == ["conv1", "conv2", "conv3"]
    assert made.report.notes[-1].startswith("1 layer stays float")
    with pytest.raises(ModelError, match="no layer whose codes would be smaller"):
        share_weights(graph(), bits=8, only=["fc"])


@pytest.mark.parametrize(
    ("options", "match"),
    [({"bits": 0}, "1 to 8 bits"), ({"bits": 9}, "1 to 8 bits"), ({"channels": 0}, "at least one channel")],
)
def test_mistakes_are_told(options: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        share_weights(graph(), **options)
