"""Tiny networks for the tests of training, and ONNX Runtime to hold them against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
import torch

from reconv.graph import Graph, parse, to_onnx

Array = np.ndarray[Any, Any]


def number(value: float, kind: str = "float32") -> Array:
    """A constant without axes."""
    return np.array(value, kind)


def classifier(seed: int = 0, *, channels: int = 6, norm: bool = True, classes: int = 3) -> Graph:
    """conv, batch norm, relu, depthwise conv, clip, pool, Gemm: (n, 2, 8, 8) -> logits (n, classes)."""
    random = np.random.default_rng(seed)
    weights = {
        "w1": random.normal(0, 0.4, (channels, 2, 3, 3)),
        "w2": random.normal(0, 0.4, (channels, 1, 3, 3)),
        "b2": random.normal(0, 0.1, channels),
        "head": random.normal(0, 0.5, (classes, channels)),
        "bias": np.zeros(classes),
        "low": np.array(0.0),
        "high": np.array(6.0),
    }
    if norm:
        weights |= {"scale": random.uniform(0.5, 1.5, channels), "shift": random.normal(0, 0.1, channels)}
        weights |= {"mean": random.normal(0, 0.1, channels), "variance": random.uniform(0.5, 1.5, channels)}
    body = "n = BatchNormalization (c, scale, shift, mean, variance)" if norm else "n = Identity (c)"
    text = f"""small (float[n, 2, 8, 8] x) => (float[n, {classes}] logits) {{
        c = Conv <pads = [1, 1, 1, 1]> (x, w1)
        {body}
        r = Relu (n)
        d = Conv <pads = [1, 1, 1, 1], strides = [2, 2], group = {channels}> (r, w2, b2)
        k = Clip (d, low, high)
        p = GlobalAveragePool (k)
        f = Flatten (p)
        logits = Gemm <transB = 1> (f, head, bias)
    }}"""
    return parse(text, {name: array.astype(np.float32) for name, array in weights.items()})


def quantized() -> Graph:
    """Codes of every kind: of the input, of weights per channel, of a bias of 32 bits."""
    random = np.random.default_rng(1)
    scales = random.uniform(0.01, 0.02, 4).astype(np.float32)
    constants: dict[str, Array] = {
        "xs": number(0.02), "xz": number(120, "uint8"), "ys": number(0.05), "yz": number(3, "uint8"),
        "codes": random.integers(-127, 128, (4, 2, 3, 3)).astype(np.int8), "ws": scales, "wz": np.zeros(4, np.int8),
        "bias": random.integers(-900, 900, 4).astype(np.int32), "bs": (scales * np.float32(0.02)).astype(np.float32),
    }  # fmt: skip
    text = """q (float[n, 2, 6, 6] x) => (float[n, 4, 6, 6] y) {
        xq = QuantizeLinear (x, xs, xz)
        xd = DequantizeLinear (xq, xs, xz)
        wd = DequantizeLinear <axis = 0> (codes, ws, wz)
        bd = DequantizeLinear <axis = 0> (bias, bs)
        c = Conv <pads = [1, 1, 1, 1]> (xd, wd, bd)
        r = Relu (c)
        yq = QuantizeLinear (r, ys, yz)
        y = DequantizeLinear (yq, ys, yz)
    }"""
    return parse(text, constants)


def blobs(count: int, seed: int = 0) -> tuple[list[dict[str, Array]], Array]:
    """Noise (1, 2, 8, 8) whose class is told by how bright the two channels are."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    means = np.array([[0.0, 0.0], [1.5, -1.0], [-1.0, 1.5]])[labels]
    maps = (random.normal(0, 0.6, (count, 2, 8, 8)) + means[:, :, None, None]).astype(np.float32)
    return [{"x": maps[i : i + 1]} for i in range(count)], labels


def by_runtime(graph: Graph, feeds: Mapping[str, Array], *, plain: bool = True) -> list[Array]:
    """The outputs as ONNX Runtime gives them; plain: node by node."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    if plain:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    data = to_onnx(graph).SerializeToString()
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return [np.asarray(array) for array in session.run(None, dict(feeds))]


def tensors(feeds: Mapping[str, Array]) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(array) for name, array in feeds.items()}


def right(graph: Graph, samples: Sequence[Mapping[str, Array]], labels: Array) -> float:
    """Share of samples whose class ONNX Runtime finds."""
    maps = np.concatenate([sample["x"] for sample in samples])
    return float((by_runtime(graph, {"x": maps})[0].argmax(-1) == labels).mean())
