"""One operator at a time between Q and DQ, on the same codes: within one code of ONNX Runtime.

Two sessions: without optimisations every Q and DQ is computed as it stands, around float ops; with them, ONNX Runtime
forms its integer kernels (QLinearConv and its kin). On processors without VNNI some of those add pairs of products in
16 bits, which saturates; weights here are small enough for that not to happen.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import numpy_helper, parser

from reconv import _core
from reconv.engine.lower import lower
from reconv.graph import load

Array = np.ndarray[Any, Any]
LEVELS = {
    "as it stands": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "integer kernels": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
SHAPE = (1, 8, 9, 11)
# f and g are dequantized maps (1, 8, 9, 11), w, v, m dequantized weights, c an int32 bias; y0 is quantized next
BODIES = {
    "conv": "y0 = Conv <pads = [1,1,1,1]> (f, w, c)",
    "conv with strides and dilations": "y0 = Conv <pads = [2,1,0,1], strides = [2,1], dilations = [1,2]> (f, w, c)",
    "conv in groups": "y0 = Conv <group = 2, pads = [1,1,1,1]> (f, h, c)",
    "depthwise conv": "y0 = Conv <group = 8, pads = [1,1,1,1]> (f, v, c)",
    "conv without a bias": "y0 = Conv (f, w)",
    "transposed conv": "y0 = ConvTranspose <strides = [2,2]> (f, u)",
    "conv and relu": "a = Conv (f, w, c) y0 = Relu (a)",
    "conv and clip": "a = Conv (f, w, c) y0 = Clip (a, low, high)",
    "conv and leaky relu": "a = Conv (f, w, c) y0 = LeakyRelu <alpha = 0.1> (a)",
    "conv and silu": "a = Conv (f, w, c) s = Sigmoid (a) y0 = Mul (a, s)",
    "conv and hard swish": "a = Conv (f, w, c) y0 = HardSwish (a)",
    "conv, a residual in floats and relu": "a = Conv <pads = [1,1,1,1]> (f, w, c) b = Add (a, g) y0 = Relu (b)",
    "gemm": "a = Flatten (f) y0 = Gemm <transB = 1> (a, m, e)",
    "gemm with factors": "a = Flatten (f) y0 = Gemm <transB = 1, alpha = 0.5, beta = 2.0> (a, m, e)",
    "matmul": "a = Reshape (f, rows) y0 = MatMul (a, n)",
    "add": "y0 = Add (f, g)",
    "add and relu": "a = Add (f, g) y0 = Relu (a)",
    "sub": "y0 = Sub (f, g)",
    "mul": "y0 = Mul (f, g)",
    "concat": "y0 = Concat <axis = 1> (f, g)",
    "concat of one scale": "y0 = Concat <axis = 1> (f, f)",
    "concat of pixels": "y0 = Concat <axis = 2> (f, g)",
    "max pool": "y0 = MaxPool <kernel_shape = [3,3], pads = [1,1,1,1], strides = [2,2]> (f)",
    "average pool": "y0 = AveragePool <kernel_shape = [3,3], pads = [1,1,1,1]> (f)",
    "average pool with its pads": "y0 = AveragePool <kernel_shape = [2,2], pads = [1,1,0,0], "
    "count_include_pad = 1> (f)",
    "global average pool": "y0 = GlobalAveragePool (f)",
    "mean over the pixels": "y0 = ReduceMean <axes = [2,3], keepdims = 0> (f)",
    "resize": 'y0 = Resize <mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"> '
    "(f, empty, twice)",
    "linear resize": 'y0 = Resize <mode = "linear"> (f, empty, twice)',
    "pad": "y0 = Pad (f, pads)",
    "slice at an odd channel": "y0 = Slice (f, one, seven, one)",
    "transpose": "y0 = Transpose <perm = [0,2,3,1]> (f)",
    "sigmoid": "y0 = Sigmoid (f)",
    "tanh": "y0 = Tanh (f)",
    "relu": "y0 = Relu (f)",
    "softmax": "y0 = Softmax <axis = 1> (f)",
    "square root of a square": "a = Mul (f, f) y0 = Sqrt (a)",
    "square root, below zero no number": "y0 = Sqrt (f)",
    "conv of codes read with another zero point": "r = DequantizeLinear (fq, fs, gz) "
    "y0 = Conv <pads = [1,1,1,1]> (r, w, c)",
    "slopes of channels behind a sum": "s = Sigmoid (f) a = Add (f, s) y0 = PRelu (a, slopes)",
}


def weights(random: np.random.Generator) -> dict[str, Array]:
    shapes = {"w": (8, 8, 3, 3), "h": (8, 4, 3, 3), "v": (8, 1, 3, 3), "u": (8, 8, 2, 2), "m": (5, 792), "n": (8, 6)}
    found: dict[str, Array] = {}
    for name, shape in shapes.items():
        axis = 1 if name in "un" else 0
        found[f"{name}_q"] = random.integers(-60, 61, shape).astype(np.int8)
        found[f"{name}_s"] = random.uniform(0.002, 0.006, shape[axis]).astype(np.float32)
        found[f"{name}_z"] = np.zeros(shape[axis], np.int8)
    for name, count, of in (("c", 8, "w"), ("e", 5, "m")):
        found[f"{name}_q"] = random.integers(-2000, 2000, count).astype(np.int32)
        found[f"{name}_s"] = np.float32(0.02) * found[f"{of}_s"]
        found[f"{name}_z"] = np.zeros(count, np.int32)
    values: dict[str, Any] = {
        "slopes": np.linspace(0.05, 0.4, 8, dtype=np.float32).reshape(8, 1, 1),
        "turned": np.float32(-0.7),
        "low": np.float32(0),
        "high": np.float32(1.5),
        "empty": np.zeros(0, np.float32),
        "twice": np.asarray([1, 1, 2, 2], np.float32),
        "pads": np.asarray([0, 0, 1, 2, 0, 0, 0, 1], np.int64),
        "one": np.asarray([1], np.int64),
        "seven": np.asarray([7], np.int64),
        "rows": np.asarray([8, 99], np.int64),
    }
    values["n_q"] = random.integers(-60, 61, (99, 6)).astype(np.int8)
    return found | {name: np.asarray(value) for name, value in values.items()}


def model_of(body: str, kind: str, scale: float, zero: int) -> bytes:
    """Q and DQ before and behind the body, in a model of opset 17."""
    head = """<ir_version: 8, opset_import: ["" : 17]> g (float[1,8,9,11] x) => (float y) {
        fq = QuantizeLinear (x, fs, fz) f = DequantizeLinear (fq, fs, fz)
        t = Mul (f, turned) gq = QuantizeLinear (t, gs, gz) g = DequantizeLinear (gq, gs, gz) """
    used = "".join(
        f"{name} = DequantizeLinear <axis = {1 if name in 'un' else 0}> ({name}_q, {name}_s, {name}_z) "
        for name in "whvumnce"
        if f"{name}_q" in WEIGHTS and any(f"{left}{name}{right}" in body for left in (" ", "(") for right in (",", ")"))
    )
    model = parser.parse_model(
        f"{head}{used}{body} yq = QuantizeLinear (y0, ys, yz) y = DequantizeLinear (yq, ys, yz) }}"
    )
    model.graph.output[0].type.tensor_type.ClearField("shape")
    dtype = np.dtype(kind)
    down = 128 if kind == "int8" else 0
    values = WEIGHTS | {
        "fs": np.asarray(0.02, np.float32),
        "fz": np.asarray(120 - down, dtype),
        "gs": np.asarray(0.031, np.float32),
        "gz": np.asarray(131 - down, dtype),
        "ys": np.asarray(scale, np.float32),
        "yz": np.asarray(zero - down, dtype),
    }
    read = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(numpy_helper.from_array(v, n) for n, v in values.items() if n in read)
    return bytes(model.SerializeToString())


def ort(model: bytes, level: Any, x: Array) -> Array:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["y"], {"x": x})[0])


WEIGHTS = weights(np.random.default_rng(7))


@pytest.mark.parametrize("kind", ["uint8", "int8"])
@pytest.mark.parametrize("name", BODIES)
def test_within_one_code(name: str, kind: str) -> None:
    x = np.random.default_rng(1).normal(0, 0.8, SHAPE).astype(np.float32)
    scale, zero = 0.025, 117
    model = model_of(BODIES[name], kind, scale, zero)
    lowered = lower(load(model), {"x": SHAPE})
    assert not lowered.tail_nodes, lowered.nodes
    state = _core.State(lowered.plan, _core.Threads(1), True, 0.0)
    state.step([x])
    y = np.empty(lowered.outputs[0].shape, np.float32)
    state.read(0, y)
    for what, level in LEVELS.items():
        expected = ort(model, level, x)
        steps = np.rint((y - expected) / scale)
        assert y.shape == expected.shape
        assert np.abs(steps).max() <= 1, f"{what}: {np.abs(steps).max()} codes apart"
        assert (steps != 0).mean() <= 0.02, f"{what}: {(steps != 0).mean():.1%} of the codes differ"
    assert len(np.unique(np.rint(y / scale))) > 4, "codes that are all alike say nothing"
