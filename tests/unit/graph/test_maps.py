"""Outputs that hold maps, as ZipMap makes them for classifiers."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

import reconv
from reconv.errors import ModelError
from reconv.graph import load
from tests.tolerances import EXACT


def classifier(key: str) -> onnx.ModelProto:
    """Scores ``s`` of three classes, and ``z``: a list of label -> score."""
    labels = {"classlabels_strings": ["a", "b", "c"]} if key == "STRING" else {"classlabels_int64s": [4, 5, 6]}
    kind = helper.make_map_type_proto(getattr(TensorProto, key), helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    scaler = helper.make_node("Scaler", ["x"], ["s"], domain="ai.onnx.ml", offset=[0.5], scale=[2.0])
    graph = helper.make_graph(
        [scaler, helper.make_node("ZipMap", ["s"], ["z"], domain="ai.onnx.ml", **labels)],
        "classifier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [
            helper.make_tensor_value_info("s", TensorProto.FLOAT, ["n", 3]),
            helper.make_value_info("z", helper.make_sequence_type_proto(kind)),
        ],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


@pytest.mark.parametrize("key", ["INT64", "STRING"])
def test_a_session_gives_them_as_onnx_runtime_does(key: str) -> None:
    data = classifier(key).SerializeToString()
    ours, theirs = reconv.InferenceSession(data), onnxruntime.InferenceSession(data)
    assert [(o.name, o.type, o.shape) for o in ours.get_outputs()] == [
        (o.name, o.type, o.shape) for o in theirs.get_outputs()
    ]
    for count in (1, 2):
        x = np.random.default_rng(count).random((count, 3), np.float32)
        (scores, maps), (their_scores, their_maps) = ours.run(None, {"x": x}), theirs.run(None, {"x": x})
        EXACT.check(scores, their_scores, "scores")
        assert maps == their_maps
        assert len(maps) == count
    with pytest.raises(reconv.InputError, match="output 'z' is no tensor of numbers"):
        ours.run_with_ort_values(None, {"x": x})


def test_the_model_is_not_changed_and_streams_run() -> None:
    proto = classifier("INT64")
    data = proto.SerializeToString()
    model = reconv.load(proto)
    assert proto.SerializeToString() == data
    x = np.ones((1, 3), np.float32)
    stream = model.stream()
    for frame in (x, x, x + 1):
        assert stream(frame)["z"] == model.run(frame)["z"] == [dict.fromkeys((4, 5, 6), float(2 * frame[0, 0] - 1))]


def test_maps_as_inputs_are_refused_in_words() -> None:
    proto = classifier("INT64")
    proto.graph.input[0].type.CopyFrom(
        helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    )
    with pytest.raises(ModelError, match=r"input 'x' is a map\(string,tensor\(float\)\), which is not supported"):
        load(proto)
