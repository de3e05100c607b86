"""Small models that begin alike, for the tests of shared prefixes and features."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

Array = np.ndarray[Any, Any]


def stemmed(
    head: int = 0,
    *,
    stem: int = 0,
    second: int = 0,
    prefix: str = "",
    input: str = "x",
    shape: tuple[Any, ...] = ("n", 3, "h", "w"),
    outputs: tuple[str, ...] = ("y",),
) -> onnx.ModelProto:
    """conv-relu-conv-relu -> pool -> flatten -> matmul: numbers choose the weights of the first convolution, the second
    and the head; ``prefix`` renames all values but the outputs. Values: r1 (8 maps), r2 (8), p, f, y."""
    drawn = [np.random.default_rng(seed) for seed in (100 + stem, 200 + second, 300 + head)]
    weights: dict[str, Array] = {
        "w1": drawn[0].normal(0, 0.3, (8, 3, 3, 3)).astype(np.float32),
        "w2": drawn[1].normal(0, 0.2, (8, 8, 3, 3)).astype(np.float32),
        "w3": drawn[2].normal(0, 0.5, (8, 5)).astype(np.float32),
    }
    steps: list[tuple[str, list[str], str, dict[str, Any]]] = [
        ("Conv", ["x", "w1"], "c1", {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
        ("Relu", ["c1"], "r1", {}),
        ("Conv", ["r1", "w2"], "c2", {"pads": [1, 1, 1, 1]}),
        ("Relu", ["c2"], "r2", {}),
        ("GlobalAveragePool", ["r2"], "p", {}),
        ("Flatten", ["p"], "f", {}),
        ("MatMul", ["f", "w3"], "y", {}),
    ]

    def called(name: str) -> str:
        return input if name == "x" else name if name in outputs else prefix + name

    nodes = [
        helper.make_node(op, [called(name) for name in reads], [called(makes)], prefix + makes, **attributes)
        for op, reads, makes, attributes in steps
    ]
    graph = helper.make_graph(
        nodes,
        "stemmed",
        [helper.make_tensor_value_info(input, onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, called(name)) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
