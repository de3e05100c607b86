"""Layers of networks with seeded random weights, written as PyTorch's exporter writes a network in eval mode.

Weights are drawn in the order of the calls from one seed: the same calls give the same file, byte for byte. Those of a
convolution are He's (2015): normal with variance 2 / fan-in, which keeps the scale of activations through a ReLU.
A batch normalisation has statistics of its own in every channel, with E[scale² / variance] = 1 for the same end. Right
after a convolution it is folded into the weights, as the exporter does; elsewhere it stays a node.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log, prod, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
Size = tuple[int, int]
Array = npt.NDArray[Any]

_NORM = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True)
class Map:
    """A value of the graph, of shape (1, channels, height, width)."""

    name: str
    channels: int


def _pair(size: int | Size) -> Size:
    return (size, size) if isinstance(size, int) else size


class Layers:
    """Every method appends a layer and returns the map that it makes. `at` names a layer as PyTorch's modules are; a
    name that comes again shares the weights of the first."""

    def __init__(
        self, title: str, size: int | Size, *, channels: int = 3, batch: int | str = 1, fold: bool = True, seed: int = 0
    ) -> None:
        """size, channels, batch: of the input, a name for a free batch; fold: batch norms right after convolutions
        vanish."""
        self._title, self._shape, self._fold = title, (batch, channels, *_pair(size)), fold
        self._random = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: dict[str, Array] = {}
        self.input = Map("input", channels)

    # --- layers with weights

    def conv(
        self, x: Map, channels: int, kernel: int | Size = 1, *, at: str, stride: int = 1, pad: int | Size = 0,
        groups: int = 1, bias: bool = True, norm: str = "", epsilon: float = 1e-5, gain: float = 1.0,
    ) -> Map:  # fmt: skip
        """A convolution; `norm` is the name of the batch normalisation after it, and then it has no bias. gain: of the
        weights, below 1 where what comes is added to another map."""
        kernel, (top, left) = _pair(kernel), _pair(pad)
        fan_in = x.channels // groups
        self._draw(f"{at}.weight", (channels, fan_in, *kernel), fan_in * prod(kernel), gain)
        names = [x.name, f"{at}.weight"]
        if norm and self._fold:
            names.append(self._folded(at, norm, channels, epsilon))
        elif bias and not norm:
            names.append(self._draw_uniform(f"{at}.bias", channels, -0.1, 0.1))
        window: dict[str, Any] = {"dilations": [1, 1], "group": groups, "kernel_shape": list(kernel)}
        strides = {"pads": [top, left, top, left], "strides": [stride, stride]}
        y = self._add("Conv", names, channels, at, **window, **strides)
        return y if not norm or self._fold else self.norm(y, at=norm, epsilon=epsilon)

    def conv_relu(self, x: Map, channels: int, kernel: int | Size = 1, **options: Any) -> Map:
        return self.relu(self.conv(x, channels, kernel, **options))

    def upconv(self, x: Map, channels: int, *, at: str) -> Map:
        """A transposed 2x2 convolution of stride 2, with a bias: every output pixel sees one input pixel."""
        self._draw(f"{at}.weight", (x.channels, channels, 2, 2), x.channels)
        names = [x.name, f"{at}.weight", self._draw_uniform(f"{at}.bias", channels, -0.1, 0.1)]
        window: dict[str, Any] = {"dilations": [1, 1], "group": 1, "kernel_shape": [2, 2]}
        return self._add("ConvTranspose", names, channels, at, **window, pads=[0, 0, 0, 0], strides=[2, 2])

    def norm(self, x: Map, *, at: str, epsilon: float = 1e-5) -> Map:
        self._draw_norm(at, x.channels)
        names = [x.name, *(f"{at}.{part}" for part in _NORM)]
        return self._add("BatchNormalization", names, x.channels, at, epsilon=epsilon)

    def linear(self, x: Map, features: int, *, at: str) -> Map:
        """x: flattened."""
        self._draw(f"{at}.weight", (features, x.channels), x.channels)
        names = [x.name, f"{at}.weight", self._draw_uniform(f"{at}.bias", features, -0.1, 0.1)]
        return self._add("Gemm", names, features, at, alpha=1.0, beta=1.0, transB=1)

    # --- layers without

    def relu(self, x: Map) -> Map:
        return self._add("Relu", [x.name], x.channels)

    def relu6(self, x: Map) -> Map:
        for name, bound in (("zero", 0.0), ("six", 6.0)):
            self._weights.setdefault(name, np.array(bound, np.float32))
        return self._add("Clip", [x.name, "zero", "six"], x.channels)

    def add(self, x: Map, y: Map) -> Map:
        return self._add("Add", [x.name, y.name], x.channels)

    def concat(self, maps: Sequence[Map]) -> Map:
        return self._add("Concat", [x.name for x in maps], sum(x.channels for x in maps), axis=1)

    def max_pool(self, x: Map, kernel: int, stride: int, *, pad: int = 0, ceil: bool = False) -> Map:
        window: dict[str, Any] = {"ceil_mode": int(ceil), "dilations": [1, 1], "kernel_shape": [kernel] * 2}
        return self._add("MaxPool", [x.name], x.channels, **window, pads=[pad] * 4, strides=[stride] * 2)

    def average_pool(self, x: Map, kernel: int, stride: int, *, pad: int = 0) -> Map:
        """PyTorch counts the zeros of the padding."""
        window: dict[str, Any] = {"ceil_mode": 0, "count_include_pad": 1, "kernel_shape": [kernel] * 2}
        return self._add("AveragePool", [x.name], x.channels, **window, pads=[pad] * 4, strides=[stride] * 2)

    def pooled(self, x: Map) -> Map:
        """The mean of every channel, flattened: (1, channels)."""
        x = self._add("GlobalAveragePool", [x.name], x.channels)
        return self._add("Flatten", [x.name], x.channels, axis=1)

    def upsample(self, x: Map, factor: int, *, nearest: bool = False) -> Map:
        """`torch.nn.functional.interpolate` by a whole factor: bilinear, or nearest."""
        scales = f"scales_{factor}"
        self._weights.setdefault(scales, np.array([1, 1, factor, factor], np.float32))
        mode: dict[str, Any] = {
            "mode": "nearest" if nearest else "linear",
            "nearest_mode": "floor",
            "cubic_coeff_a": -0.75,
        }
        place = "asymmetric" if nearest else "half_pixel"
        return self._add("Resize", [x.name, "", scales], x.channels, coordinate_transformation_mode=place, **mode)

    # --- the whole

    def model(self, outputs: Mapping[str, Map], shapes: Mapping[str, Sequence[int | str]]) -> onnx.ModelProto:
        """The finished model; `outputs` are the names that its results get, `shapes` theirs."""
        renamed = {value.name: name for name, value in outputs.items()}
        for node in self._nodes:
            for names in (node.input, node.output):
                names[:] = [renamed.get(name, name) for name in names]
        inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, self._shape)]
        results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name]) for name in outputs]
        weights = [numpy_helper.from_array(np.ascontiguousarray(w), name) for name, w in self._weights.items()]
        graph = helper.make_graph(self._nodes, self._title, inputs, results, weights)
        opset = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opset, ir_version=8, producer_name="reconv")

    def _add(self, operator: str, inputs: Sequence[str], channels: int, at: str = "", **attributes: Any) -> Map:
        name = f"/{at.replace('.', '/')}/{operator}" if at else f"/{operator}"
        name = f"{name}_{len(self._nodes)}"  # a layer may come again, on other maps
        self._nodes.append(helper.make_node(operator, list(inputs), [f"{name}_output"], name, **attributes))
        return Map(f"{name}_output", channels)

    def _draw(self, name: str, shape: Sequence[int], fan_in: int, gain: float = 1.0) -> None:
        if name not in self._weights:
            normal = self._random.standard_normal(tuple(shape), np.float32)
            self._weights[name] = normal * np.float32(gain * sqrt(2 / fan_in))

    def _draw_uniform(self, name: str, channels: int, low: float, high: float) -> str:
        if name not in self._weights:
            self._weights[name] = self._random.uniform(low, high, channels).astype(np.float32)
        return name

    def _draw_norm(self, at: str, channels: int) -> None:
        level = log(3) * 13 / 12  # E[1 / u] = ln 3 for u in 0.5 to 1.5, and E[scale²] = 13 / 12
        ranges = ((0.5, 1.5), (-0.3, 0.3), (-0.3, 0.3), (0.5 * level, 1.5 * level))
        for part, (low, high) in zip(_NORM, ranges, strict=True):
            self._draw_uniform(f"{at}.{part}", channels, low, high)

    def _folded(self, at: str, norm: str, channels: int, epsilon: float) -> str:
        """Puts a batch norm into the weights of a convolution; the name of the bias that it becomes."""
        weight, bias = f"{at}.weight", f"{at}.bias"
        if bias not in self._weights:
            self._draw_norm(norm, channels)
            scale, shift, mean, variance = (self._weights.pop(f"{norm}.{part}").astype(np.float64) for part in _NORM)
            factor = scale / np.sqrt(variance + epsilon)
            self._weights[weight] = (self._weights[weight] * np.expand_dims(factor, (1, 2, 3))).astype(np.float32)
            self._weights[bias] = (shift - mean * factor).astype(np.float32)
        return bias
