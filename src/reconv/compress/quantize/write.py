"""A graph with QuantizeLinear and DequantizeLinear where a plan of codes says.

Values keep their names: x is still the float value; x/codes and x/real are its codes and what they stand for. Weights
are stored as int8 behind a DequantizeLinear with a scale per channel, biases as int32 with the scale of the sums
(input scale times weight scale, zero point 0), as the integer kernels of runtimes want them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from reconv.compress.quantize.clip import Weights, quantized_weights
from reconv.compress.quantize.place import Layer, Places
from reconv.compress.quantize.scheme import Codes, Scheme
from reconv.graph import Graph, Node, Rewrite, rewritten

__all__ = ["Written", "bias_codes", "weights_of", "write"]

Array = np.ndarray[Any, Any]
_BIAS_LIMIT = 2.0**30  # half of what 32 bits hold: the other half is for the sum of products


@dataclass(frozen=True, eq=False)
class Written:
    """The quantized graph; ``names``: float name -> the name of the value that its readers get now, of quantized ones;
    ``weights``: by layer."""

    graph: Graph
    names: Mapping[str, str]
    weights: Mapping[str, Weights] = field(default_factory=dict)


def weights_of(graph: Graph, layer: Layer, scale: Array, bias: Array | None, scheme: Scheme) -> Weights:
    """A layer's weights as codes, for an input of this scale (of each channel): no finer than its bias allows."""
    weight = graph.constants[layer.weight]
    least = 0.0 if bias is None else np.abs(bias.astype(np.float64)) / (_BIAS_LIMIT * scale.astype(np.float64))
    per_channel = scheme.per_channel
    return quantized_weights(weight, layer.axis, per_channel=per_channel, clip=scheme.clip_weights, least=least)


def bias_codes(bias: Array, x_scale: Array, weights: Weights) -> tuple[Array, Array]:
    """A bias as int32 codes, and their scale: float32, (channels,) or ()."""
    scale = np.asarray(np.asarray(x_scale, np.float32) * weights.scale, np.float32)
    codes = np.rint(bias.astype(np.float64) / scale.astype(np.float64))
    return np.clip(codes, -(2.0**31) + 1, 2.0**31 - 1).astype(np.int32), scale


def write(
    graph: Graph,
    places: Places,
    codes: Mapping[str, Codes],
    scheme: Scheme,
    biases: Mapping[str, Array] | None = None,
) -> Written:
    """The graph with codes.

    Args:
        graph: of opset 13 or newer.
        places: where codes go.
        codes: of every point of ``places``.
        scheme: how weights become codes.
        biases: by layer name, float32 (channels,), in the place of those of the graph.
    """
    return _Writer(graph, places, codes, scheme, biases or {}).written()


class _Writer:
    def __init__(
        self, graph: Graph, places: Places, codes: Mapping[str, Codes], scheme: Scheme, biases: Mapping[str, Array]
    ) -> None:
        self._graph, self._places, self._codes, self._scheme, self._biases = graph, places, codes, scheme, biases
        self._layers = {layer.name: layer for layer in places.layers}
        self._producer = {name: node for node in graph.nodes for name in node.outputs if name}
        self._on_codes = {*self._layers, *places.computed}
        self._constants: dict[str, Array] = {}
        self._weights: dict[str, Weights] = {}
        self._taken = {name for node in graph.nodes for name in (node.name, *node.inputs, *node.outputs)}
        self._taken |= {node.name or "" for node in graph.source.graph} | set(graph.constants)
        self._taken |= {info.name for info in (*graph.inputs, *graph.outputs)}
        self._names = {name: self._fresh(f"{name}/real") for name in places.points}
        self._raw: dict[str, str] = {}
        if scheme.target == "onnxruntime":  # a result that is quantized inside: its float form must not be read
            results = {info.name for info in graph.outputs}
            for name in results & set(places.points):
                if self._is_made_on_codes(name):
                    self._raw[name], self._names[name] = self._fresh(f"{name}/float"), name

    def written(self) -> Written:
        before: list[Node] = []
        after: list[Node] = []
        for info in self._graph.inputs:
            after.extend(self._pair(info.name))
        for node in self._graph.nodes:
            made = self._rewired(node)
            if made is not node or any(name in self._places.points for name in node.outputs):
                before.append(node)
                fresh = made.name if made is not node else self._fresh(f"{node.name}/int8")
                after.extend(self._nodes_before)
                after.append(replace(made, name=fresh, outputs=tuple(self._raw.get(n, n) for n in made.outputs)))
                for name in node.outputs:
                    after.extend(self._pair(name))
        graph = rewritten(self._graph, Rewrite(tuple(before), tuple(after), self._constants))
        return Written(graph, self._names, self._weights)

    def _rewired(self, node: Node) -> Node:
        """The node as it reads now; ``_nodes_before`` has what must come before it."""
        self._nodes_before: list[Node] = []
        inputs = list(node.inputs)
        for at, name in enumerate(inputs):
            if name in self._names and (node.name in self._on_codes or self._is_made_on_codes(name)):
                inputs[at] = self._names[name]
        layer = self._layers.get(node.name)
        if layer is not None:
            inputs[1:] = self._parameters(layer)
        if tuple(inputs) == node.inputs:
            return node
        return replace(node, name=self._fresh(f"{node.name}/int8"), inputs=tuple(inputs))

    def _is_made_on_codes(self, name: str) -> bool:
        producer = self._producer.get(name)
        return producer is not None and producer.name in self._on_codes

    def _parameters(self, layer: Layer) -> list[str]:
        """Names of a layer's weight and bias, dequantized."""
        x_scale = self._codes[layer.x].scales
        bias = self._biases.get(layer.name)
        if bias is None and layer.bias:
            bias = self._graph.constants[layer.bias]
        weights = weights_of(self._graph, layer, x_scale, bias, self._scheme)
        self._weights[layer.name] = weights
        axis = layer.axis if weights.scale.ndim else None
        found = [self._dequantized(f"{layer.weight}", weights.codes, weights.scale, np.int8(0), axis)]
        if bias is not None:
            codes, scale = bias_codes(bias, x_scale, weights)
            axis = 0 if scale.ndim else None
            found.append(self._dequantized(layer.bias or f"{layer.name}/bias", codes, scale, np.int32(0), axis))
        return found

    def _dequantized(self, hint: str, codes: Array, scale: Array, zero: Any, axis: int | None) -> str:
        zeros = np.full(scale.shape, zero, codes.dtype)
        inputs = (
            self._constant(f"{hint}/codes", codes),
            self._constant(f"{hint}/scale", scale),
            self._constant(f"{hint}/zero", zeros),
        )
        y = self._fresh(f"{hint}/real")
        attributes = {} if axis is None else {"axis": axis}
        self._nodes_before.append(
            Node(self._fresh(f"{y}/DequantizeLinear"), "DequantizeLinear", "", inputs, (y,), attributes)
        )
        return y

    def _pair(self, name: str) -> list[Node]:
        """Quantize and dequantize nodes of a point; none for another value."""
        if name not in self._places.points:
            return []
        codes = self._codes[name]
        scale = self._constant(f"{name}/scale", codes.scales)
        zero = self._constant(f"{name}/zero", codes.zeros)
        axis = {"axis": 1} if codes.scales.ndim else {}
        between, y = self._fresh(f"{name}/codes"), self._names[name]
        x = self._raw.get(name, name)
        return [
            Node(self._fresh(f"{name}/QuantizeLinear"), "QuantizeLinear", "", (x, scale, zero), (between,), axis),
            Node(self._fresh(f"{name}/DequantizeLinear"), "DequantizeLinear", "", (between, scale, zero), (y,), axis),
        ]

    def _constant(self, hint: str, value: Any) -> str:
        array = np.asarray(value)
        name = self._fresh(hint)
        self._constants[name] = array
        return name

    def _fresh(self, hint: str) -> str:
        name, count = hint, 1
        while name in self._taken:
            count += 1
            name = f"{hint}_{count}"
        self._taken.add(name)
        return name
