"""Small models for the unit tests, as ONNX text or built with weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, parser

Array = np.ndarray[Any, Any]


def text(body: str, opset: int = 17) -> onnx.ModelProto:
    """A model from ONNX's text form of a graph."""
    model: onnx.ModelProto = parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}]> {body}')
    return model


def network(nodes: list[onnx.NodeProto], weights: dict[str, Array], x: Any, outputs: list[str]) -> onnx.ModelProto:
    """A model with one float input ``x`` of the given shape; the types of its outputs are left to inference."""
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model)


def cnn(height: Any = "h", width: Any = "w", batch: Any = "n", tail: bool = False) -> onnx.ModelProto:
    """conv-relu-conv-add-relu over three channels -> output ``y``; with ``tail`` also ``top``: TopK, which no engine
    but ONNX Runtime runs, over the channels of a pooled map."""
    random = np.random.default_rng(7)
    weights: dict[str, Array] = {
        "w1": random.normal(0, 0.3, (8, 3, 3, 3)).astype(np.float32),
        "b1": random.normal(0, 0.1, 8).astype(np.float32),
        "w2": random.normal(0, 0.2, (8, 8, 3, 3)).astype(np.float32),
        "b2": random.normal(0, 0.1, 8).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], "conv1", pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c1"], ["r1"], "relu1"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], "conv2", pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c2", "r1"], ["s"], "add"),
        helper.make_node("Relu", ["s"], ["y"], "relu2"),
    ]
    outputs = ["y"]
    if tail:
        weights["k"] = np.array([2], np.int64)
        nodes.append(helper.make_node("TopK", ["y", "k"], ["top", "which"], "topk", axis=1))
        outputs.append("top")
    return network(nodes, weights, [batch, 3, height, width], outputs)


def frame(height: int = 24, width: int = 32, seed: int = 0, batch: int = 1) -> Array:
    """A random input (batch, 3, height, width)."""
    return np.random.default_rng(seed).standard_normal((batch, 3, height, width)).astype(np.float32)
