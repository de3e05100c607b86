"""Small graphs, each around one thing that lowering does, against ONNX Runtime without its optimisations.

Every graph runs on the native core and on the slow one, dense and as a stream of frames in which a patch moves; it
has to run without a tail, and within as many ops as its line says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import numpy_helper, parser

from reconv import _core
from reconv.engine.lower import Lowered, lower
from reconv.graph import load
from tests.oracle import slow_core

Array = np.ndarray[Any, Any]

CORES: dict[str, Any] = {"native": _core, "slow": slow_core}


@dataclass(frozen=True)
class Case:
    """A graph in ONNX's text form, over weights of these shapes (or with these values), and the ops it becomes."""

    body: str
    ops: int
    weights: dict[str, Any] = field(default_factory=dict)
    opset: int = 17


W = {"w": (8, 3, 3, 3)}
K = {"k": (8, 8, 1, 1)}
CASES: dict[str, Case] = {
    "conv, batch norm, relu": Case(
        """(float[1,3,9,11] x) => (float y) {
        a = Conv <pads = [1,1,1,1]> (x, w) b = BatchNormalization (a, s, t, m, v) y = Relu (b) }""",
        1,
        {**W, "s": (8,), "t": (8,), "m": (8,), "v": np.linspace(0.5, 2, 8)},
    ),
    "silu": Case("(float[1,3,9,11] x) => (float y) { a = Conv (x, w) g = Sigmoid (a) y = Mul (a, g) }", 1, W),
    "hard swish of paddle": Case(
        """(float[1,3,9,11] x) => (float y) {
        a = Conv (x, w) b = Add (a, three) c = Clip (b, zero, six) e = Mul (a, c) y = Div (e, six) }""",
        1,
        {**W, "three": np.float32(3), "zero": np.float32(0), "six": np.float32(6)},
    ),
    "hard sigmoid in parts, as a gate": Case(
        """(float[1,3,9,11] x) => (float y) {
        a = Conv (x, w) b = Add (a, three) c = Clip (b, zero, six) e = Div (c, six) y = Mul (e, a) }""",
        1,
        {**W, "three": np.float32(3), "zero": np.float32(0), "six": np.float32(6)},
    ),
    "gelu of five nodes": Case(
        """(float[1,3,9,11] x) => (float y) { a = Conv (x, w) b = Div (a, root) c = Erf (b) e = Add (c, one)
        f = Mul (a, e) y = Mul (f, half) }""",
        1,
        {**W, "root": np.sqrt(np.float32(2)), "one": np.float32(1), "half": np.float32(0.5)},
    ),
    "gelu, halved first": Case(
        """(float[1,3,9,11] x) => (float y) { a = Conv (x, w) b = Mul (a, root) c = Erf (b) e = Add (c, one)
        f = Mul (a, half) y = Mul (f, e) }""",
        1,
        {**W, "root": np.sqrt(np.float32(0.5)), "one": np.float32(1), "half": np.float32(0.5)},
    ),
    "mish": Case(
        "(float[1,3,9,11] x) => (float y) { a = Conv (x, w) b = Softplus (a) c = Tanh (b) y = Mul (a, c) }", 1, W
    ),
    "residual and activations": Case(
        """(float[1,3,9,11] x) => (float y) { a = Conv <pads = [1,1,1,1]> (x, w) b = Relu (a) c = Conv (b, k)
        e = LeakyRelu <alpha = 0.2> (c) f = Add (e, b) y = Tanh (f) }""",
        2,
        {**W, **K},
    ),
    "residual of two convs": Case(
        """(float[1,3,9,11] x) => (float y) { a = Conv (x, w) b = Conv (x, v) f = Add (a, b) y = Relu (f) }""",
        2,
        {**W, "v": (8, 3, 3, 3)},
    ),
    "a value doubled": Case("(float[1,3,9,11] x) => (float y) { a = Conv (x, w) y = Add (a, a) }", 2, W),
    "an inner value is an output": Case(
        "(float[1,3,9,11] x) => (float y, float a) { a = Conv (x, w) b = Relu (a) y = Mul (b, b) }", 3, W
    ),
    "affine into the next conv": Case(
        """(float[1,3,9,11] x) => (float y) { a = Relu (x) b = Mul (a, s) c = Add (b, t) y = Conv (c, w) }""",
        2,
        {**W, "s": (1, 3, 1, 1), "t": (3, 1, 1)},
    ),
    "affine stays before a border": Case(
        """(float[1,3,9,11] x) => (float y) { b = Mul (x, s) c = Add (b, t) y = Conv <pads = [1,1,1,1]> (c, w) }""",
        2,
        {**W, "s": (1, 3, 1, 1), "t": (3, 1, 1)},
    ),
    "affine into a depthwise conv": Case(
        """(float[1,4,9,11] x) => (float y) { b = Mul (x, s) c = Add (b, t) y = Conv <group = 4> (c, w) }""",
        1,
        {"w": (8, 1, 3, 3), "s": (1, 4, 1, 1), "t": (4, 1, 1)},
    ),
    "constants of every form": Case(
        """(float[1,3,9,11] x) => (float y) { a = Add (x, whole) b = Mul (a, row) c = Sub (one, b) e = Div (c, cell)
        f = Max (e, whole) g = Min (f, two) y = Pow (g, two) }""",
        6,
        {"whole": (3, 9, 11), "row": (1, 1, 11), "one": np.float32(1), "cell": np.float32(3), "two": np.float32(2)},
    ),
    "focus": Case(
        """(float[1,3,8,12] x) => (float y) { a = Slice (x, s00, e, ax, two) b = Slice (x, s10, e, ax, two)
        c = Slice (x, s01, e, ax, two) f = Slice (x, s11, e, ax, two) g = Concat <axis = 1> (a, b, c, f)
        y = Conv <pads = [1,1,1,1]> (g, w) }""",
        1,
        {
            "w": (8, 12, 3, 3),
            "s00": np.array([0, 0]),
            "s10": np.array([1, 0]),
            "s01": np.array([0, 1]),
            "s11": np.array([1, 1]),
            "e": np.array([1 << 40, 1 << 40]),
            "ax": np.array([2, 3]),
            "two": np.array([2, 2]),
        },
    ),
    "focus, two of four": Case(
        """(float[1,3,8,12] x) => (float y) { a = Slice (x, s00, e, ax, two) f = Slice (x, s11, e, ax, two)
        g = Concat <axis = 1> (f, a) y = Conv <pads = [1,1,1,1], strides = [2,2]> (g, w) }""",
        1,
        {
            "w": (8, 6, 3, 3),
            "s00": np.array([0, 0]),
            "s11": np.array([1, 1]),
            "e": np.array([8, 12]),
            "ax": np.array([2, 3]),
            "two": np.array([2, 2]),
        },
    ),
    "focus on an odd size": Case(
        """(float[1,3,7,12] x) => (float y) { a = Slice (x, s00, e, ax, two) f = Slice (x, s11, e, ax, two)
        g = Concat <axis = 1> (f, a) y = Conv (g, w) }""",
        4,
        {
            "w": (8, 6, 3, 3),
            "s00": np.array([0, 0]),
            "s11": np.array([0, 1]),
            "e": np.array([7, 12]),
            "ax": np.array([2, 3]),
            "two": np.array([2, 2]),
        },
    ),
    "concat in place, nested": Case(
        """(float[1,3,9,11] x) => (float y) { x2 = Slice (x, zeros, sizes, hw) a = Conv (x, w) b = Conv (a, k)
        c = Concat <axis = 1> (a, b) e = Relu (b) f = Concat <axis = 1> (c, e, x2) y = Sigmoid (f) }""",
        7,
        {**W, **K, "zeros": np.array([0, 0]), "sizes": np.array([7, 9]), "hw": np.array([2, 3])},
    ),
    "one value in two concats": Case(
        """(float[1,3,9,11] x) => (float y, float z) { a = Conv (x, w) b = Relu (a) y = Concat <axis = 1> (a, b, a)
        z = Concat <axis = 1> (x, x) }""",
        7,
        W,
    ),
    "C2f": Case(
        """(float[1,3,9,11] x) => (float y) { a = Conv (x, w) p, q = Split <axis = 1> (a) b = Conv (q, h)
        c = Concat <axis = 1> (p, q, b) y = Conv (c, v) }""",
        4,
        {**W, "h": (4, 4, 1, 1), "v": (2, 12, 1, 1)},
        13,
    ),
    "heads in place": Case(
        """(float[1,3,9,11] x) => (float y) { a = Conv (x, w) b = Sigmoid (a) r = Conv (x, v)
        c = Concat <axis = 1> (r, b) f = Reshape (c, flat) i = MaxPool <kernel_shape = [3,3], strides = [2,2]> (x)
        j = Conv (i, u) e = Reshape (j, flat) g = Concat <axis = 2> (f, e) y = Transpose <perm = [0,2,1]> (g) }""",
        6,
        {**W, "v": (4, 3, 3, 3), "u": (12, 3, 1, 1), "flat": np.array([0, 12, -1])},
    ),
    "flattened pixels that a window reads": Case(
        """(float[1,3,9,11] x) => (float y) { a = Conv (x, w) b = Relu (a) c = Conv <pads = [1,1,1,1]> (b, k3)
        f = Reshape (b, flat) e = Reshape (c, flat) g = Concat <axis = 2> (f, e) y = Conv <pads = [1,1]> (g, l) }""",
        6,
        {**W, "k3": (8, 8, 3, 3), "flat": np.array([0, 8, -1]), "l": (2, 8, 3)},
    ),
    "channels of flattened pixels that a window reads": Case(
        """(float[1,3,9,11] x) => (float y) { a = Conv (x, w) b = Relu (a) f = Reshape (a, flat) e = Reshape (b, flat)
        g = Concat <axis = 2> (f, e) h, i = Split <axis = 1> (g) y = Conv <pads = [1,1]> (i, l) }""",
        5,
        {**W, "flat": np.array([0, 8, -1]), "l": (2, 4, 3)},
        13,
    ),
    "concat on height": Case(
        """(float[1,3,9,11] x) => (float y) { a = Conv (x, w) b = Relu (a) c = Concat <axis = 2> (b, a)
        y = Conv (c, k) }""",
        5,
        {**W, **K},
    ),
    "concat on width": Case("(float[1,3,9,11] x) => (float y) { a = Relu (x) y = Concat <axis = 3> (x, a) }", 4),
    "concat with a constant": Case(
        "(float[1,3,4,5] x) => (float y) { a = Relu (x) y = Concat <axis = 1> (a, c) }", 4, {"c": (1, 2, 4, 5)}
    ),
    "channel shuffle": Case(
        """(float[1,6,4,5] x) => (float y) { a = Reshape (x, five) b = Transpose <perm = [0,2,1,3,4]> (a)
        c = Reshape (b, four) y = Conv <group = 2> (c, w) }""",
        2,
        {"five": np.array([1, 2, 3, 4, 5]), "four": np.array([1, 6, 4, 5]), "w": (4, 3, 1, 1)},
    ),
    "NHWC around a conv": Case(
        """(float[1,9,11,3] x) => (float y) { a = Transpose <perm = [0,3,1,2]> (x) b = Conv (a, w)
        y = Transpose <perm = [0,2,3,1]> (b) }""",
        1,
        W,
    ),
    "NHWC arithmetic": Case(
        """(float[1,9,11,3] x) => (float y) { m = Sub (x, mean) a = Transpose <perm = [0,3,1,2]> (m) b = Conv (a, w)
        c = Transpose <perm = [0,2,3,1]> (b) e = Add (c, bias) f = Relu (e) y = ReduceMean <axes = [1,2]> (f) }""",
        2,
        {**W, "mean": (3,), "bias": (8,)},
    ),
    "audio: windows of a line": Case(
        """(float[1,64] x) => (float y) { a = Unsqueeze (x, one) b = Conv <strides = [4], pads = [2,2]> (a, w)
        c = Relu (b)
        y = MaxPool <kernel_shape = [2], strides = [2]> (c) }""",
        2,
        {"one": np.array([1]), "w": (4, 1, 8)},
    ),
    "line as an image of width 1": Case(
        """(float[1,64] x) => (float y) { a = Reshape (x, four) b = Conv <strides = [4,1]> (a, w)
        c = Transpose <perm = [0,2,1,3]> (b) e = Flatten (c) y = Gemm (e, m, n) }""",
        2,
        {"four": np.array([1, 1, 64, 1]), "w": (4, 1, 8, 1), "m": (60, 5), "n": (5,)},
    ),
    "flatten of a map, gemm": Case(
        """(float[1,3,9,11] x) => (float y) { a = Conv <strides = [2,2]> (x, w) b = Flatten (a)
        y = Gemm <transB = 1, alpha = 0.5, beta = 2.0> (b, m, n) }""",
        2,
        {**W, "m": (6, 160), "n": (6,)},
    ),
    "pooled, flattened, gemm, softmax": Case(
        """(float[1,3,9,11] x) => (float y) { a = GlobalAveragePool (x) b = Flatten (a) c = MatMul (b, m) e = Add (c, n)
        y = Softmax (e) }""",
        3,
        {"m": (3, 6), "n": (6,)},
    ),
    "rows times a matrix": Case(
        """(float[1,3,9,11] x) => (float y) { a = Reshape (x, r) b = Transpose <perm = [0,2,1]> (a)
        y = MatMul (b, m) }""",
        1,
        {"r": np.array([1, 3, 99]), "m": (3, 6)},
    ),
    "a matrix times columns": Case("(float[1,6,5] x) => (float y) { y = MatMul (m, x) }", 1, {"m": (4, 6)}),
    "squeeze and excite": Case(
        """(float[1,3,9,11] x) => (float y) { a = Conv (x, w) p = ReduceMean <axes = [2,3], keepdims = 1> (a)
        b = Conv (p, k) c = HardSigmoid (b) y = Mul (a, c) }""",
        4,
        {**W, **K},
    ),
    "gate of one channel": Case(
        "(float[1,3,9,11] x) => (float y) { a = Conv (x, w) b = Sigmoid (a) y = Mul (b, x) }", 2, {"w": (1, 3, 1, 1)}
    ),
    "both operands broadcast": Case(
        """(float[1,3,9,11] x) => (float y) { a = GlobalMaxPool (x) b = ReduceMean <axes = [1]> (x)
        y = Add (a, b) }""",
        3,
    ),
    "reductions": Case(
        """(float[1,3,9,11] x) => (float y, float z, float u, float v) { y = ReduceMean <axes = [2], keepdims = 0> (x)
        z = ReduceMax <axes = [1]> (x) u = ReduceMax <axes = [-1,-2], keepdims = 0> (x) v = ReduceMean (x) }""",
        7,
    ),
    "softmax over channels": Case("(float[1,3,4,5] x) => (float y) { y = Softmax <axis = 1> (x) }", 1),
    "softmax over width": Case("(float[1,3,4,5] x) => (float y) { y = Softmax (x) }", 2),
    "softmax of old": Case("(float[1,3,4,5] x) => (float y) { y = Softmax <axis = 2> (x) }", 2, opset=11),
    "transposed, activation": Case(
        """(float[1,3,5,6] x) => (float y) {
        a = ConvTranspose <strides = [2,2], pads = [1,1,1,1], output_padding = [1,0]> (x, w)
        b = BatchNormalization (a, s, t, m, v) y = Relu (b) }""",
        2,
        {"w": (3, 4, 4, 3), "s": (4,), "t": (4,), "m": (4,), "v": np.linspace(0.5, 2, 4)},
    ),
    "transposed, groups and dilations": Case(
        """(float[1,4,5,6] x) => (float y) {
        y = ConvTranspose <strides = [2,3], pads = [0,1,1,0], group = 2, dilations = [3,2]> (x, w, b) }""",
        7,
        {"w": (4, 3, 2, 3), "b": (6,)},
    ),
    "transposed, kernel smaller than the stride": Case(
        "(float[1,3,5,6] x) => (float y) { y = ConvTranspose <strides = [3,2]> (x, w, b) }",
        7,
        {"w": (3, 4, 2, 2), "b": (4,)},
    ),
    "transposed, few channels, prelu": Case(
        """(float[1,24,5,6] x) => (float y) {
        a = ConvTranspose <strides = [2,2], pads = [1,1,1,1]> (x, w, b) y = PRelu (a, s) }""",
        2,
        {"w": (24, 3, 4, 4), "b": (3,), "s": (3, 1, 1)},
    ),
    "transposed, few channels, odd sizes": Case(
        """(float[1,24,5,6] x) => (float y) {
        y = ConvTranspose <strides = [2,3], pads = [2,1,1,3], output_padding = [1,0]> (x, w, b) }""",
        2,
        {"w": (24, 1, 5, 4), "b": (1,)},
    ),
    "transposed, few channels, dilated": Case(
        "(float[1,24,5,6] x) => (float y) { y = ConvTranspose <strides = [2,2], dilations = [3,1]> (x, w) }",
        2,
        {"w": (24, 2, 2, 3)},
    ),
    "transposed, few channels, more steps than pixels": Case(
        "(float[1,24,1,1] x) => (float y) { y = ConvTranspose <strides = [4,4], pads = [0,0,1,0]> (x, w) }",
        2,
        {"w": (24, 2, 4, 3)},
    ),
    "transposed, few channels, into a concat": Case(
        """(float[1,24,5,6] x) => (float y) { a = ConvTranspose <strides = [2,2]> (x, w) b = Relu (a)
        c = Sigmoid (b) e = Concat <axis = 1> (c, b) y = Conv <pads = [1,1,1,1]> (e, v) }""",
        5,
        {"w": (24, 4, 2, 2), "v": (2, 8, 3, 3)},
    ),
    "transposed, many channels": Case(
        "(float[1,4,5,6] x) => (float y) { y = ConvTranspose <strides = [2,2], pads = [1,1,1,1]> (x, w) }",
        5,
        {"w": (4, 16, 4, 4)},
    ),
    "transposed into a concat": Case(
        """(float[1,3,5,6] x) => (float y) { a = ConvTranspose <strides = [2,2]> (x, w) b = Relu (a)
        c = Sigmoid (b) e = Concat <axis = 1> (c, b) y = Conv <pads = [1,1,1,1]> (e, v) }""",
        8,
        {"w": (3, 4, 2, 2), "v": (2, 8, 3, 3)},
    ),
    "zero padding into the conv": Case(
        """(float[1,3,6,7] x) => (float y) { a = Pad (x, p) y = Conv <strides = [2,2]> (a, w) }""",
        1,
        {**W, "p": np.array([0, 0, 1, 0, 0, 0, 0, 2])},
    ),
    "other paddings": Case(
        """(float[1,3,6,7] x) => (float y) { a = Pad (x, p, c) b = Pad <mode = "reflect"> (a, p)
        y = Pad <mode = "edge"> (b, p) }""",
        3,
        {"p": np.array([0, 0, 1, 2, 0, 0, 2, 1]), "c": np.float32(0.5)},
    ),
    "cropping by negative pads": Case(
        "(float[1,3,6,7] x) => (float y) { a = Pad (x, p) y = Conv (a, w) }",
        2,
        {**W, "p": np.array([0, 0, -1, 1, 0, 0, -1, 1])},
    ),
    "pools": Case(
        """(float[1,3,9,11] x) => (float y) {
        a = MaxPool <kernel_shape = [3,3], strides = [2,2], ceil_mode = 1, pads = [1,0,0,1]> (x)
        b = AveragePool <kernel_shape = [2,3], auto_pad = "SAME_UPPER", strides = [1,2]> (a)
        y = AveragePool <kernel_shape = [2,2], pads = [1,1,1,1], count_include_pad = 1> (b) }""",
        3,
    ),
    "same padding": Case(
        """(float[1,3,9,11] x) => (float y, float z) { y = Conv <auto_pad = "SAME_LOWER", strides = [2,2]> (x, w)
        z = Conv <auto_pad = "SAME_UPPER", strides = [2,3], dilations = [1,1]> (x, w) }""",
        2,
        {"w": (8, 3, 4, 2)},
    ),
    "depth to space and back": Case(
        """(float[1,8,3,4] x) => (float y) { a = DepthToSpace <blocksize = 2, mode = "CRD"> (x) b = Relu (a)
        c = SpaceToDepth <blocksize = 2> (b) y = DepthToSpace <blocksize = 2> (c) }""",
        4,
    ),
    "upsample of opset 9": Case(
        '(float[1,3,4,5] x) => (float y) { y = Upsample <mode = "nearest"> (x, s) }',
        1,
        {"s": np.array([1, 1, 2, 3], np.float32)},
        9,
    ),
    "resize of opset 10": Case(
        '(float[1,3,4,5] x) => (float y) { y = Resize <mode = "linear"> (x, s) }',
        1,
        {"s": np.array([1, 1, 2, 1.5], np.float32)},
        10,
    ),
    "resize to sizes": Case(
        """(float[1,3,4,5] x) => (float y) { a = Relu (x)
        y = Resize <mode = "linear", coordinate_transformation_mode = "align_corners"> (a, , , s) }""",
        2,
        {"s": np.array([1, 3, 7, 9])},
    ),
    "resize by the shape of another map": Case(
        """(float[1,3,9,11] x) => (float y) { a = MaxPool <kernel_shape = [2,2], strides = [2,2]> (x) s = Shape (x)
        hw = Slice (s, two, four) n = Slice (s, zero, two) t = Concat <axis = 0> (n, hw)
        b = Resize <mode = "nearest", nearest_mode = "floor", coordinate_transformation_mode = "asymmetric"> (a, , , t)
        y = Add (b, x) }""",
        3,
        {"zero": np.array([0]), "two": np.array([2]), "four": np.array([4])},
    ),
    "attributes of opset 9": Case(
        """(float[1,4,6,7] x) => (float y) { a = Slice <axes = [2], starts = [1], ends = [5]> (x)
        b = Pad <pads = [0,0,1,1,0,0,1,1], value = 0.25> (a) c, e = Split <axis = 1, split = [1,3]> (b)
        f = Clip <min = -0.5, max = 0.5> (e) g = Unsqueeze <axes = [0]> (f) h = Squeeze <axes = [0]> (g)
        i = Dropout (h) y = Mul (i, c) }""",
        4,
        opset=9,
    ),
    "negate, absolute, inverse": Case(
        "(float[1,3,4,5] x) => (float y) { a = Abs (x) b = Add (a, one) c = Sqrt (b) e = Reciprocal (c) y = Neg (e) }",
        5,
        {"one": np.float32(1)},
    ),
    "exponential": Case("(float[1,3,4,5] x) => (float y) { y = Exp (x) }", 1),
    "prelu by row": Case("(float[1,3,4,5] x) => (float y) { y = PRelu (x, s) }", 4, {"s": (4, 1)}),
    "prelu by channel": Case(
        "(float[1,3,9,11] x) => (float y) { a = Conv (x, w) y = PRelu (a, s) }", 1, {**W, "s": (8, 1, 1)}
    ),
    "tile and expand": Case(
        "(float[1,3,1,5] x) => (float y) { a = Expand (x, s) y = Tile (a, t) }",
        2,
        {"s": np.array([1, 1, 4, 1]), "t": np.array([1, 2, 1, 2])},
    ),
    "gather of channels": Case(
        """(float[1,4,3,5] x) => (float y) { a = Gather <axis = 1> (x, i) b = Gather <axis = 1> (x, one)
        y = Add (a, b) }""",
        2,
        {"i": np.array([2, 0, 2]), "one": np.array([1])},
    ),
    "a batch of fixed size": Case(
        "(float[2,3,4,5] x) => (float y) { a = Relu (x) b = Add (a, c) y = Transpose <perm = [1,0,3,2]> (b) }",
        3,
        {"c": (3, 1, 1)},
    ),
    "a scalar at the end": Case("(float[1,3,4,5] x) => (float y) { y = ReduceMax <keepdims = 0> (x) }", 2),
}


def model_of(case: Case) -> Any:
    """The case as a model with random weights."""
    text = f'<ir_version: 8, opset_import: ["": {case.opset}]> g {case.body}'
    model = parser.parse_model(text)
    random = np.random.default_rng(5)
    for name, given in case.weights.items():
        value = random.normal(0, 0.5, given).astype(np.float32) if isinstance(given, tuple) else np.asarray(given)
        if value.dtype == np.float64:
            value = value.astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    return model


def reference(model: Any, feeds: dict[str, Array]) -> dict[str, Array]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def frames(shape: tuple[int, ...], count: int = 3) -> list[Array]:
    """A random frame, and the same with a patch of it moved each time."""
    random = np.random.default_rng(3)
    frame = random.standard_normal(shape).astype(np.float32)
    made = [frame]
    for _ in range(count - 1):
        frame = frame.copy()
        frame[..., -2:] = random.standard_normal(frame[..., -2:].shape)
        made.append(frame)
    return made


def outputs_of(lowered: Lowered, state: Any) -> dict[str, Array]:
    found = {}
    for border in lowered.outputs:
        array = np.full(border.shape, np.nan, np.float32)
        state.read(border.index, array)
        found[border.name] = array
    return found


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("name", CASES)
def test_equals_onnx_runtime(name: str, core: str) -> None:
    case, module = CASES[name], CORES[core]
    model = model_of(case)
    graph = load(model)
    shape = tuple(int(size) for size in graph.inputs[0].shape if isinstance(size, int))
    lowered = lower(graph, {"x": shape}, module.Plan)
    assert not [(placed.node.name, placed.reason) for placed in lowered.nodes if placed.where == "tail"]
    dense = module.State(lowered.plan, module.Threads(1), True, 0.0)
    stream = module.State(lowered.plan, module.Threads(1), False, 0.0)
    for frame in frames(shape):
        expected = reference(model, {"x": frame})
        for state in (dense, stream):
            state.step([frame] * len(lowered.inputs))
            for output, array in outputs_of(lowered, state).items():
                assert array.shape == expected[output].shape
                np.testing.assert_allclose(array, expected[output], rtol=1e-4, atol=2e-5)
        both = zip(outputs_of(lowered, dense).values(), outputs_of(lowered, stream).values(), strict=True)
        assert all(np.array_equal(one, other) for one, other in both)


@pytest.mark.parametrize("name", CASES)
def test_number_of_ops(name: str) -> None:
    """A rule that stops firing shows here; joins count as ops of the plan."""
    graph = load(model_of(CASES[name]))
    shape = tuple(int(size) for size in graph.inputs[0].shape if isinstance(size, int))
    plan = lower(graph, {"x": shape}).plan
    assert len(plan.op_macs()) == CASES[name].ops


def test_what_cannot_be_lowered_is_the_tail_with_its_reason() -> None:
    body = """(float[1,3,9,11] x, int64[1] n) => (float y, int64 i, float z, float x, int64[1] n) { a = Conv (x, w)
    v, i = TopK <axis = 1> (a, n) z = Relu (a) b = ReduceMean (z) y = Add (v, b) }"""
    graph = load(model_of(Case(body, 0, W)))
    lowered = lower(graph, {"x": (1, 3, 9, 11), "n": (1,)})
    where = {placed.node.op_type: (placed.where, placed.reason) for placed in lowered.nodes}
    assert where["TopK"] == ("tail", "reads n (int64)")
    assert where["Add"][0] == "tail"
    assert where["Add"][1].startswith("follows ")
    assert where["Conv"][0] == where["Relu"][0] == "engine"
    # graph outputs, and what the tail reads; inputs that are outputs are the caller's
    assert {border.name for border in lowered.outputs} == {"z", "a", "b"}
    assert [border.name for border in lowered.inputs] == ["x"]


def test_constants_and_unused_inputs() -> None:
    body = "(float[1,3,9,11] x, float[2] unused) => (int64 s, float c) { s = Shape (x) c = Add (k, k) }"
    lowered = lower(load(model_of(Case(body, 0, {"k": np.float32(2)}))), {"x": (1, 3, 9, 11), "unused": (2,)})
    assert lowered.constants["s"].tolist() == [1, 3, 9, 11]
    assert float(lowered.constants["c"]) == 4
    assert not lowered.inputs
    assert not lowered.outputs


def fates(body: str, weights: dict[str, Any], opset: int = 17) -> dict[str, str]:
    """What became of the node that makes each value."""
    graph = load(model_of(Case(body, 0, weights, opset)))
    shape = tuple(int(size) for size in graph.inputs[0].shape if isinstance(size, int))
    return {
        placed.node.outputs[0]: placed.reason.replace(placed.node.name, "itself")
        for placed in lower(graph, {"x": shape}).nodes
    }


def test_every_node_says_what_became_of_it() -> None:
    body = """(float[1,3,9,11] x) => (float y) { a = Conv (x, w) p, q = Split <axis = 1> (a) b = Conv (q, h)
        r = Relu (b) c = Concat <axis = 1> (p, r) e = Conv (c, v) f = Reshape (e, flat) s = Shape (f)
        g = Reshape (f, s) y = MatMul (g, m) }"""
    weights = {"h": (4, 4, 1, 1), "v": (2, 8, 1, 1), "flat": np.array([1, 2, 63]), "m": (63, 5)}
    found = fates(body, {**W, **weights}, 13)
    assert found["a"] == found["b"] == found["e"] == "own op"
    assert found["p"] == "view"
    assert found["r"].startswith("fused into Conv '")
    assert found["c"] == "written in place by its producers, 1 copied"
    assert found["f"] == found["g"] == "moves no data"
    assert found["s"] == "sizes are fixed"
    assert found["y"] == "2 ops of its own"  # the transposition, and the product


def test_multiply_adds_are_at_the_convolution_that_took_the_others_in() -> None:
    lowered = lower(load(model_of(CASES["focus"])), {"x": (1, 3, 8, 12)})
    conv = lowered.nodes[-1]
    assert (conv.reason, conv.macs) == ("own op", lowered.plan.macs)
    assert {placed.reason for placed in lowered.nodes[:-1]} == {f"fused into Conv '{conv.node.name}'"}
    assert not any(placed.macs for placed in lowered.nodes[:-1])


def test_a_depthwise_convolution_says_that_its_reader_does_it() -> None:
    body = """(float[1,3,9,11] x) => (float y) { a = Conv (x, w) b = Conv <group = 8, pads = [1,1,1,1]> (a, h)
        c = Relu (b) y = Conv (c, k) }"""
    lowered = lower(load(model_of(Case(body, 0, {**W, **K, "h": (8, 1, 3, 3)}))), {"x": (1, 3, 9, 11)})
    first, deep, relu, point = lowered.nodes
    assert deep.reason == f"done inside Conv '{point.node.name}', pixel by pixel"
    assert relu.reason == f"fused into Conv '{deep.node.name}'"
    assert [placed.stored for placed in lowered.nodes] == [True, False, False, True]
    assert (deep.out_map, relu.out_map is None) == (None, False)
    assert relu.out_map not in lowered.plan.cut_maps
    assert deep.macs == 7 * 9 * 8 * 9
    assert first.out_map in lowered.plan.cut_maps


def test_a_transposed_convolution_counts_its_own_taps_only() -> None:
    lowered = lower(load(model_of(CASES["transposed, few channels, prelu"])), {"x": (1, 24, 5, 6)})
    assert [placed.macs for placed in lowered.nodes] == [5 * 6 * 24 * 3 * 16, 0]
    state = _core.State(lowered.plan, _core.Threads(1), False, 0.0)
    first, second = frames((1, 24, 5, 6), 2)
    state.step([first])
    assert state.recomputed_macs == lowered.plan.macs
    state.step([second])  # the last two columns of six: with the windows of 3 x 3, three columns
    assert state.recomputed_macs == 5 * 3 * 24 * 3 * 16


def test_a_node_that_no_output_needs_is_folded() -> None:
    body = "(float[1,3,9,11] x) => (float y) { a = Conv (x, w) y = Relu (x) }"
    lowered = lower(load(model_of(Case(body, 0, W))), {"x": (1, 3, 9, 11)})
    assert (lowered.nodes[0].where, lowered.nodes[0].reason) == ("folded", "no output needs it")
    assert lowered.plan.macs == 0


def test_multiply_adds_are_on_the_convolution() -> None:
    case = CASES["conv, batch norm, relu"]
    lowered = lower(load(model_of(case)), {"x": (1, 3, 9, 11)})
    assert [placed.macs for placed in lowered.nodes] == [9 * 11 * 8 * 27, 0, 0]
    assert {placed.ops for placed in lowered.nodes} == {(0,)}
    assert lowered.nodes[-1].out_shape == (1, 8, 9, 11)
    assert lowered.nodes[0].out_map is None
    assert lowered.nodes[-1].out_map == lowered.outputs[0].map
