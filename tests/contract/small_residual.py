"""A small classifier with what methods of compression meet: a sum, a stride, a pooling, a fully connected layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper, parser

from reconv.graph import Graph, load

Array = np.ndarray[Any, Any]
TEXT = """<ir_version: 8, opset_import: ["": 17]> g (float[1, 3, 16, 16] x) => (float[1, 10] y) {{
    c1 = Conv <pads = [1, 1, 1, 1]> (x, w1, b1)
    r1 = Relu (c1)
    c2 = Conv <pads = [1, 1, 1, 1]> (r1, w2, b2)
    {norm}
    r2 = Relu (n2)
    s = Add (r2, r1)
    c3 = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (s, w3, b3)
    r3 = Relu (c3)
    p = GlobalAveragePool (r3)
    f = Flatten (p)
    y = Gemm <transB = 1> (f, w4, b4)
}}"""
SHAPES = {
    "w1": (16, 3, 3, 3), "b1": (16,), "w2": (16, 16, 3, 3), "b2": (16,), "w3": (24, 16, 3, 3), "b3": (24,),
    "w4": (10, 24), "b4": (10,),
}  # fmt: skip
NORM = {"scale": (16,), "shift": (16,), "mean": (16,), "variance": (16,)}


def residual(*, norm: bool = False) -> onnx.ModelProto:
    """The model, its nodes named conv1, conv2, conv3 and fc where they have weights; with a batch norm after conv2."""
    random = np.random.default_rng(3)
    line = "n2 = BatchNormalization (c2, scale, shift, mean, variance)" if norm else "n2 = Identity (c2)"
    model: onnx.ModelProto = parser.parse_model(TEXT.format(norm=line))
    for name, shape in {**SHAPES, **(NORM if norm else {})}.items():
        spread = 0.5 / np.sqrt(np.prod(shape[1:]) or 1) if len(shape) > 1 else 0.1
        values = random.uniform(0.5, 1.5, shape) if name in ("variance", "scale") else random.normal(0, spread, shape)
        model.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
    names = iter(("conv1", "conv2", "conv3", "fc"))
    for node in model.graph.node:
        node.name = next(names) if node.op_type in ("Conv", "Gemm") else f"the_{node.output[0]}"
    return model


def graph() -> Graph:
    """The same without a batch norm, loaded."""
    return load(residual())


def inputs(count: int) -> list[dict[str, Array]]:
    """Samples."""
    return [
        {"x": np.random.default_rng(seed).standard_normal((1, 3, 16, 16)).astype(np.float32)} for seed in range(count)
    ]
