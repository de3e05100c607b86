"""Files of opset 7 and 8: what ONNX Runtime computes of them, the model that was read from one computes too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import reconv
from reconv.errors import ModelError
from reconv.graph import digest, load, to_onnx
from tests.tolerances import FLOAT32_REORDERED

Array = np.ndarray[Any, Any]
random = np.random.default_rng(5)


def _floats(*shape: int) -> Array:
    return random.random(shape, np.float32)


def _node(op: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), outputs.split(), name=f"{op}_of_{outputs}", **attributes)


def old(
    nodes: list[onnx.NodeProto],
    weights: dict[str, Array],
    opset: int,
    x: tuple[int, ...] = (1, 3, 12, 12),
    *,
    listed: bool = True,
) -> onnx.ModelProto:
    """As exporters of then wrote it: IR version 3, its weights among the inputs; outputs ``y`` and, if made, ``i``."""
    kinds = {"y": TensorProto.FLOAT, "i": TensorProto.INT64}
    made = {name for node in nodes for name in node.output}
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)]
    if listed:
        inputs += [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in weights.items()
        ]
    graph = helper.make_graph(
        nodes,
        "old",
        inputs,
        [helper.make_tensor_value_info(name, kind, None) for name, kind in kinds.items() if name in made],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=3)


def _norm(*shape: int) -> dict[str, Array]:
    return {name: _floats(*shape) for name in ("s", "b", "m", "v")}


def _upsample(to: str, **attributes: Any) -> onnx.NodeProto:
    return _node("Upsample", "x", to, scales=[1.0, 1.0, 2.0, 2.0], **attributes)


def _branch(name: str) -> onnx.GraphProto:
    return helper.make_graph([_upsample(name)], name, [], [helper.make_tensor_value_info(name, 1, None)])


NORM = "x s b m v"
CASES: dict[str, tuple[Any, ...]] = {
    "norm": ([_node("BatchNormalization", NORM, "y", spatial=1)], _norm(3), 7),
    "norm, epsilon": ([_node("BatchNormalization", NORM, "y", epsilon=0.1)], _norm(3), 8),
    "norm of values": ([_node("BatchNormalization", NORM, "y", spatial=0, epsilon=0.1)], _norm(3, 12, 12), 7),
    "norm of values, default": ([_node("BatchNormalization", NORM, "y", spatial=0)], _norm(3, 12, 12), 8),
    "norm of features": ([_node("BatchNormalization", NORM, "y", spatial=0)], _norm(3), 7, (2, 3)),
    "upsample": ([_upsample("y", mode="nearest")], {}, 7),
    "upsample, linear": ([_upsample("y", mode="linear")], {}, 8),
    "upsample in a body": (
        [_node("If", "c", "y", then_branch=_branch("a"), else_branch=_branch("b"))],
        {"c": np.array(True)},
        7,
    ),
    "max pool": ([_node("MaxPool", "x", "y", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])], {}, 7),
    "max pool, same": ([_node("MaxPool", "x", "y", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")], {}, 7),
    "max pool, places": ([_node("MaxPool", "x", "y i", kernel_shape=[2, 2], strides=[2, 2])], {}, 8),
    "average pool": ([_node("AveragePool", "x", "y", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])], {}, 7),
    "cast": ([_node("Cast", "x", "q", to=TensorProto.INT64), _node("Cast", "q", "y", to=TensorProto.FLOAT)], {}, 7),
    "gemm": (
        [_node("Flatten", "x", "f"), _node("Gemm", "f w c", "y", transB=1)],
        {"w": _floats(5, 432), "c": _floats(5)},
        7,
    ),
    "sum": ([_node("Sum", "x c", "y")], {"c": _floats(3, 1, 1)}, 8),
    "top": ([_node("Flatten", "x", "f"), _node("TopK", "f", "y i", k=3)], {}, 7),
    "conv, softmax": (
        [_node("Conv", "x w", "c", pads=[1, 1, 1, 1]), _node("LRN", "c", "l", size=3), _node("Softmax", "l", "y")],
        {"w": _floats(4, 3, 3, 3)},
        7,
    ),
    "pad, slice": (
        [_node("Pad", "x", "p", pads=[0, 0, 1, 1, 0, 0, 1, 1]), _node("Slice", "p", "y", starts=[0, 1], ends=[1, 3])],
        {},
        7,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_results_are_onnx_runtimes_for_the_file_as_it_is(name: str) -> None:
    proto = old(*CASES[name])
    data = proto.SerializeToString()
    size = [dim.dim_value for dim in proto.graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng(1).standard_normal(size).astype(np.float32)
    expected = onnxruntime.InferenceSession(data).run(None, {"x": x})
    session = reconv.InferenceSession(data)
    assert [each.name for each in session.get_inputs()] == ["x"]
    assert session.get_overridable_initializers() == []  # before IR version 4, weights are no inputs
    for ours, theirs in zip(session.run(None, {"x": x}), expected, strict=True):
        assert ours.dtype == theirs.dtype
        FLOAT32_REORDERED.check(ours, theirs, name, scale=10 * float(np.abs(theirs).max()))


@pytest.mark.parametrize("name", ["norm", "norm of values", "upsample", "conv, softmax"])
def test_what_was_read_is_a_model_like_any_other(name: str) -> None:
    proto = old(*CASES[name])
    data = proto.SerializeToString()
    graph = load(proto)
    assert proto.SerializeToString() == data, "the caller's model was changed"
    assert graph.opset == 9
    assert digest(graph) == digest(load(data)) == digest(load(to_onnx(graph)))
    assert to_onnx(graph).opset_import[0].version == 9
    other = old(*CASES["norm, epsilon" if name == "norm" else "norm"])
    assert digest(load(other)) != digest(graph)


def test_names_and_words_of_the_file_are_kept() -> None:
    proto = old(*CASES["conv, softmax"])
    proto.producer_name, proto.doc_string, proto.graph.doc_string = "then", "a net", "its graph"
    helper.set_model_props(proto, {"names": "cats"})
    proto.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    graph = load(proto)
    assert [node.name for node in graph.nodes] == ["Conv_of_c", "LRN_of_l", "Softmax_of_y"]
    found = reconv.InferenceSession(to_onnx(graph).SerializeToString()).get_modelmeta()
    meant = onnxruntime.InferenceSession(proto.SerializeToString()).get_modelmeta()
    for key in ("producer_name", "graph_name", "description", "graph_description", "custom_metadata_map"):
        assert getattr(found, key) == getattr(meant, key), key
    assert graph.source.opset_imports == {"": 9, "ai.onnx.ml": 1}


def test_names_that_are_made_are_new_ones() -> None:
    nodes = [
        _node("BatchNormalization", NORM, "y/scaled", spatial=0),
        _node("BatchNormalization", "y/scaled s b m v", "y", spatial=0),
    ]
    data = old(nodes, _norm(3, 4, 4), 7, (1, 3, 4, 4)).SerializeToString()
    x = _floats(1, 3, 4, 4)
    expected = onnxruntime.InferenceSession(data).run(None, {"x": x})[0]
    FLOAT32_REORDERED.check(reconv.load(data).run(x)["y"], expected, "twice", scale=10 * float(np.abs(expected).max()))


@pytest.mark.parametrize("listed", [True, False])
def test_weights_that_are_inputs_or_not_and_lie_beside_the_file(listed: bool, tmp_path: Path) -> None:
    proto = old([_node("Conv", "x w", "y")], {"w": _floats(4, 3, 3, 3)}, 8, listed=listed)
    x = _floats(1, 3, 12, 12)
    data = proto.SerializeToString()
    expected = onnxruntime.InferenceSession(data).run(None, {"x": x})[0]
    path = tmp_path / "old.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="old.bin", size_threshold=0)
    for source in (data, path):
        found = reconv.load(source).run(x)["y"]
        FLOAT32_REORDERED.check(found, expected, str(listed), scale=10 * float(np.abs(expected).max()))


def test_what_cannot_be_brought_to_a_newer_opset() -> None:
    scaler = _node("ImageScaler", "x", "y", scale=2.0, bias=[0.1, 0.2, 0.3])
    for proto, said in (
        (old([scaler], {}, 8), "from opset 8 to 9: ONNX has no operator 'ImageScaler' there"),
        (old([_node("Add", "x x", "s"), _node("BatchNormalization", "x s s s s", "y", spatial=0)], {}, 7), "spatial"),
        (old([_node("Relu", "x", "y")], {}, 6), "uses opset 6, expected 7 or newer; convert it"),
    ):
        with pytest.raises(ModelError, match=said) as error:
            load(proto)
        assert "\n" not in str(error.value)
