"""Small networks for the tests of quantization, and the samples that go with them."""

from __future__ import annotations

from typing import Any

import numpy as np

from reconv.graph import Graph, parse

Array = np.ndarray[Any, Any]

RESIDUAL = """g (float[n, 3, h, w] x) => (float[n, 5, 1, 1] y) {
    a = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (x, w1, b1)
    b = Relu (a)
    c = Conv <pads = [1, 1, 1, 1], group = 8> (b, w2, b2)
    d = Clip (c, zero, six)
    e = Conv (d, w3, b3)
    f = Add (e, b)
    s = Sigmoid (f)
    m = Mul (f, s)
    p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (m)
    k = Concat <axis = 1> (p, p)
    q = Conv (k, w4)
    y = GlobalAveragePool (q)
}"""


def weights(seed: int = 0) -> dict[str, Array]:
    """Of `RESIDUAL`: rows of very different size, as depthwise layers of real networks have them."""
    random = np.random.default_rng(seed)
    found: dict[str, Array] = {
        "w1": random.normal(0, 0.3, (8, 3, 3, 3)),
        "b1": random.normal(0, 0.3, 8),
        "w2": random.normal(0, 0.5, (8, 1, 3, 3)) * np.geomspace(0.1, 3, 8)[:, None, None, None],
        "b2": random.normal(0, 0.3, 8),
        "w3": random.normal(0, 0.3, (8, 8, 1, 1)),
        "b3": random.normal(0, 0.3, 8),
        "w4": random.normal(0, 0.3, (5, 16, 1, 1)),
        "zero": np.array(0.0),
        "six": np.array(6.0),
    }
    return {name: array.astype(np.float32) for name, array in found.items()}


def residual(seed: int = 0, opset: int = 17) -> Graph:
    """conv, relu, depthwise, relu6, pointwise, sum, silu, pool, concat, conv, mean."""
    return parse(RESIDUAL, weights(seed), opset)


def samples(count: int = 4, size: int = 12, seed: int = 1) -> list[dict[str, Array]]:
    """Inputs ``x`` (1, 3, size, size)."""
    random = np.random.default_rng(seed)
    return [{"x": random.normal(0, 1, (1, 3, size, size)).astype(np.float32)} for _ in range(count)]
