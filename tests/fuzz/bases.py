"""Small whole models that are damaged: of every kind that the engine, the tail and the reader of files know.

All are seeded, so that a case is known by its number alone. Sizes are small: a model is loaded, run and compared some
thousand times.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from scripts.assets import folder
from tests.oracle.quantized_drawn import draw_model
from tests.oracle.test_random_graphs import Drawn
from tests.unit.small import cnn, network, text

__all__ = ["BASES", "base"]

REAL = folder() / "swift_f0.onnx"  # 135 kB: a spectrogram by convolutions, then a small network


def _chooser(seed: int) -> Callable[..., Any]:
    random = np.random.default_rng(seed)
    return lambda *choices: choices[int(random.integers(len(choices)))]


def _branches() -> onnx.ModelProto:
    """An If whose branches capture from outside, behind a convolution."""
    model = text(
        """g (float[1,3,8,8] x, bool c) => (float[1,4,8,8] y) {
        a = Conv <pads = [1,1,1,1]> (x, w)
        y = If (c) <then_branch = t () => (float[1,4,8,8] p) { p = Relu (a) },
                    else_branch = e () => (float[1,4,8,8] q) { q = Neg (a) }> }"""
    )
    weight = np.random.default_rng(1).normal(0, 0.3, (4, 3, 3, 3)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    return model


def _shapes() -> onnx.ModelProto:
    """Sizes that are computed: Shape, Gather, Concat, Reshape, Resize, Pad, Slice, Tile, Expand, Range."""
    model = text(
        """g (float[1,4,n,m] x) => (float y, float z) {
        s = Shape (x) h = Gather (s, two) w = Gather (s, three)
        rest = Constant <value_ints = [-1]> ()
        first = Unsqueeze (h, zero) flat = Concat <axis = 0> (ones, rest)
        r = Resize <mode = "linear"> (x, , scales) p = Pad (r, pads) c = Slice (p, starts, ends, axes, steps)
        y = Reshape (c, flat)
        t = Tile (x, repeats) m1 = ReduceMean <axes = [2, 3]> (t) e = Expand (m1, shape) z = Softmax <axis = 1> (e) }"""
    )
    values: dict[str, Any] = {
        "two": np.array(2), "three": np.array(3), "zero": np.array([0]), "ones": np.array([1, 1]),
        "pads": np.array([0, 0, 1, 1, 0, 0, 0, 2]), "starts": np.array([1, 0]), "ends": np.array([9, 2**62]),
        "axes": np.array([2, 3]), "steps": np.array([1, 2]), "repeats": np.array([1, 1, 2, 1]),
        "shape": np.array([1, 4, 2, 3]),
    }  # fmt: skip
    arrays = {name: value.astype(np.int64) for name, value in values.items()}
    arrays["scales"] = np.array([1, 1, 2, 1.5], np.float32)
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in arrays.items())
    return model


def _pools() -> onnx.ModelProto:
    """Strided, dilated, grouped and transposed windows, pools and a matrix product at the end."""
    random = np.random.default_rng(3)

    def weight(*shape: int) -> Any:
        return random.normal(0, 0.3, shape).astype(np.float32)

    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], strides=[2, 2], auto_pad="SAME_UPPER"),
        helper.make_node("BatchNormalization", ["a", "scale", "shift", "mean", "variance"], ["b"], epsilon=1e-3),
        helper.make_node("Conv", ["b", "w2"], ["c"], group=8, dilations=[2, 2], pads=[2, 2, 2, 2]),
        helper.make_node("MaxPool", ["c"], ["p"], kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 0, 0], ceil_mode=1),
        helper.make_node("AveragePool", ["c"], ["q"], kernel_shape=[2, 2], strides=[2, 2], count_include_pad=1),
        helper.make_node("ConvTranspose", ["p", "w3"], ["t"], strides=[2, 2], output_padding=[1, 1]),
        helper.make_node("Concat", ["p", "q"], ["j"], axis=1),
        helper.make_node("GlobalAveragePool", ["j"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"], axis=1),
        helper.make_node("Gemm", ["f", "w4", "bias"], ["y"], alpha=0.5, transB=1),
        helper.make_node("DepthToSpace", ["c"], ["d"], blocksize=2),
        helper.make_node("TopK", ["y", "k"], ["best", "which"], axis=1),
    ]
    weights = {
        "w1": weight(8, 3, 3, 3), "w2": weight(8, 1, 3, 3), "w3": weight(8, 4, 2, 2), "w4": weight(5, 16),
        "bias": weight(5), "scale": weight(8), "shift": weight(8), "mean": weight(8),
        "variance": np.abs(weight(8)) + 0.1, "k": np.array([2], np.int64),
    }  # fmt: skip
    return network(nodes, weights, [1, 3, 16, 16], ["y", "t", "d", "best"])


def _functions() -> onnx.ModelProto:
    """A function of the model's own, a Loop, and two inputs of other types."""
    model: onnx.ModelProto = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17, "own": 1]>
        g (float[1,2,6,6] x, int64 n, float16[2] half) => (float y, float total, float16[2] twice) {
        a = own.double (x) b = Conv (a, w) y = Relu (b) twice = Add (half, half)
        go = Constant <value = bool {1}> () start = Constant <value = float {0.0}> ()
        one = Constant <value = float {1.0}> ()
        total = Loop (n, go, start) <body = l (int64 i, bool c, float sum) => (bool more, float next) {
          more = Identity (c) next = Add (sum, one) }> }
        <domain: "own", opset_import: ["": 17]> double (v) => (r) { r = Add (v, v) }"""
    )
    weight = np.random.default_rng(5).normal(0, 0.3, (3, 2, 3, 3)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    return model


def _drawn(seed: int) -> onnx.ModelProto:
    model: onnx.ModelProto = Drawn(seed).model()
    return model


def _coded(seed: int) -> onnx.ModelProto:
    return draw_model(_chooser(seed), seed, seed % 2 == 1)


BASES: dict[str, Callable[[], onnx.ModelProto]] = {
    "cnn": lambda: cnn(24, 32, 1),
    "cnn of free sizes, with a tail": lambda: cnn(tail=True),
    "windows and pools": _pools,
    "computed sizes": _shapes,
    "branches": _branches,
    "functions": _functions,
    **{f"drawn {seed}": partial(_drawn, seed) for seed in (1, 5, 8, 21)},
    **{f"8 bits {seed}": partial(_coded, seed) for seed in (2, 3, 7)},
    "swift_f0": lambda: onnx.load(REAL),
}


@cache
def base(name: str) -> bytes:
    """The file of a model of `BASES`."""
    return bytes(BASES[name]().SerializeToString(deterministic=True))
