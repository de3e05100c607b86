"""Where codes stand in a graph: which layers become layers of 8 bits, and which values are quantized.

A layer is a Conv, Gemm or MatMul over constant weights. What it reads has to be codes, so the search starts there and
goes up: through operators that only move values (they keep scale and zero point, so both sides share them), through
Relu and Clip (codes end where they end: no codes before them), through sums and pools of what is codes anyhow. What
nobody needs as codes stays float: the heads of a detector, a Softmax.

How far it goes depends on who runs the result:

- "onnxruntime" makes an integer kernel of an operator only with codes on both sides (the QLinear operators). So every
  convolution's result is quantized too, after its Relu or Clip, and so are both parts of x * sigmoid(x); a
  fully connected layer may give floats.
- "openvino" and "reconv" finish a layer in float: activation and sum are done on the 32-bit sums, and only what the
  next layer reads is rounded. In a sum of two branches one is quantized, the other goes into the sum as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from reconv.compress.quantize.scheme import Scheme
from reconv.graph import Graph, Node

__all__ = ["Join", "Layer", "Places", "find_layers", "place"]

Array = np.ndarray[Any, Any]

_RESHAPING = ("Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Identity", "Dropout")
_PICKING = ("MaxPool", "Split", "Slice", "Gather", "Expand", "DepthToSpace", "SpaceToDepth")
MOVING = frozenset((*_RESHAPING, *_PICKING))
"""Operators whose results are some of the values of their first input."""
ABSORBED = frozenset(("Relu", "Clip"))
"""Activations that are nothing but a limit to the range of codes."""
POOLS = frozenset(("AveragePool", "GlobalAveragePool"))
RUNTIME_ONLY = frozenset(("Mul", "Sigmoid", "LeakyRelu"))
"""Operators that ONNX Runtime has kernels on codes for, and that the others do in float on the layer's sums."""


@dataclass(frozen=True, eq=False)
class Layer:
    """A Conv, Gemm or MatMul. ``axis``: of the output channels in the weight; ``bias``: "" where there is none."""

    node: Node
    weight: str
    bias: str
    axis: int

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def x(self) -> str:
        return self.node.inputs[0]

    @property
    def y(self) -> str:
        return self.node.outputs[0]


@dataclass(frozen=True)
class Join:
    """A Concat whose sides need not share a scale, and save a requantization where they do."""

    output: str
    inputs: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Places:
    """layers: those that become 8 bits; points: the quantized values, each with the name of the value whose scale it
    shares (its own mostly); joins: concats of codes, those before whose inputs they join; computed: nodes that run on
    codes besides the layers; separate: points that may have codes of their own for each channel."""

    layers: tuple[Layer, ...]
    points: Mapping[str, str]
    joins: tuple[Join, ...] = ()
    computed: frozenset[str] = field(default_factory=frozenset)
    separate: frozenset[str] = field(default_factory=frozenset)


def find_layers(graph: Graph) -> tuple[Layer, ...]:
    """All layers of a graph that can be quantized, in order."""
    return tuple(layer for node in graph.nodes if (layer := _layer(graph, node)) is not None)


def place(graph: Graph, scheme: Scheme) -> Places:
    """Where codes go for a scheme."""
    layers = tuple(layer for layer in find_layers(graph) if scheme.takes(layer.name))
    search = _Search(graph, scheme.target, layers)
    for layer in layers:
        search.need(layer.x)
    if scheme.target == "onnxruntime":
        for layer in layers:
            if layer.node.op_type == "Conv":
                search.need(search.finished(layer.y))
    order = {
        name: i for i, name in enumerate([i.name for i in graph.inputs] + [n for x in graph.nodes for n in x.outputs])
    }
    points = {name: search.leader(name) for name in sorted(search.parents, key=order.__getitem__)}
    joins = tuple(sorted(search.joins, key=lambda join: order[join.output]))
    separate = search.separate(points, layers) if scheme.target != "onnxruntime" else frozenset()
    return Places(layers, points, joins, frozenset(search.computed), separate)


def _layer(graph: Graph, node: Node) -> Layer | None:
    if node.domain or node.op_type not in ("Conv", "Gemm", "MatMul") or len(node.inputs) < 2:
        return None
    weight = graph.constants.get(node.inputs[1])
    bias_name = node.inputs[2] if len(node.inputs) > 2 else ""
    bias = graph.constants.get(bias_name)
    if weight is None or weight.dtype != np.float32 or not weight.size or node.inputs[0] in graph.constants:
        return None
    if not np.isfinite(weight).all() or (bias is not None and not np.isfinite(bias).all()):
        return None
    get = node.attributes.get
    if node.op_type == "Conv":
        axis = 0
    elif weight.ndim != 2:
        return None
    elif node.op_type == "MatMul":
        axis = 1
    else:
        if get("alpha", 1.0) != 1.0 or get("beta", 1.0) != 1.0 or get("transA", 0):
            return None
        axis = 0 if get("transB", 0) else 1
    if bias_name and (bias is None or bias.shape != (weight.shape[axis],)):
        return None
    return Layer(node, node.inputs[1], bias_name, axis)


class _Search:
    """What has to be codes, and which of it shares a scale (a forest of ``parents``)."""

    def __init__(self, graph: Graph, target: str, layers: Sequence[Layer]) -> None:
        self._target = target
        self._constants = graph.constants
        self._producer = {name: node for node in graph.nodes for name in node.outputs if name}
        self._place = {node.name: i for i, node in enumerate(graph.nodes)}
        self._layers = {layer.name for layer in layers}
        self._outputs = {info.name for info in graph.outputs}
        self._readers: dict[str, list[Node]] = {}
        for node in graph.nodes:
            for name in dict.fromkeys(node.reads):
                self._readers.setdefault(name, []).append(node)
        self.parents: dict[str, str] = {}
        self.joins: list[Join] = []
        self.computed: set[str] = set()

    def leader(self, name: str) -> str:
        while self.parents[name] != name:
            name = self.parents[name]
        return name

    def need(self, name: str) -> None:
        """Make this value codes, and what is worth it above."""
        pending = [name]
        while pending:
            name = pending.pop()
            if name in self.parents or name in self._constants:
                continue
            self.parents[name] = name
            pending.extend(self._above(name))

    def finished(self, name: str) -> str:
        """The value after the Relu or Clip that alone reads this one; itself where there is none."""
        reader = self._only_reader(name)
        return reader.outputs[0] if reader is not None and _absorbed(reader, self._constants) else name

    def separate(self, points: Mapping[str, str], layers: Sequence[Layer]) -> frozenset[str]:
        """Points that depthwise layers alone read, and that share their scale with no other value.

        Their sums have one input channel each, so a scale per channel costs nothing. Not straight behind a layer or its
        Relu: ONNX Runtime would take them into a QLinearConv, and then fail at their zero points.
        """
        depthwise = {layer.name for layer in layers if self._is_depthwise(layer)}
        shared = [leader for name, leader in points.items() if name != leader]
        joined = {name for join in self.joins for name in (join.output, *join.inputs)}
        return frozenset(
            name
            for name in points
            if {reader.name for reader in self._readers.get(name, ())} <= depthwise
            and points[name] == name
            and self._is_computed_apart(name)
            and name not in shared
            and name not in joined
            and name not in self._outputs
        )

    def _is_computed_apart(self, name: str) -> bool:
        producer = self._producer.get(name)
        return producer is not None and producer.name not in self._layers and producer.op_type != "Relu"

    def _is_depthwise(self, layer: Layer) -> bool:
        shape = self._constants[layer.weight].shape
        return layer.node.op_type == "Conv" and shape[1] == 1 and layer.node.attributes.get("group", 1) == shape[0] > 1

    def _only_reader(self, name: str) -> Node | None:
        readers = self._readers.get(name, [])
        return readers[0] if len(readers) == 1 and name not in self._outputs else None

    def _above(self, name: str) -> Iterable[str]:
        """What has to be codes too because this value is."""
        node = self._producer.get(name)
        if node is None or node.domain:
            return
        if node.op_type in MOVING or _copies_pixels(node):
            self.computed.add(node.name)
            yield from self._shared(name, node.inputs[0])
        elif node.op_type == "Concat":
            self.computed.add(node.name)
            self.joins.append(Join(name, node.inputs))
            yield from node.inputs
        elif _absorbed(node, self._constants) and self._only_reader(node.inputs[0]) is node:
            self.computed.add(node.name)
            before = self._producer.get(node.inputs[0])
            if before is not None:
                yield from self._operands(before)
        else:
            yield from self._operands(node)

    def _shared(self, name: str, source: str) -> Iterable[str]:
        """The source of a value that was only moved, under the same scale."""
        if source in self._constants:
            return
        if source not in self.parents:
            self.parents[source] = source
            self.parents[self.leader(name)] = source
            yield from self._above(source)
        elif self.leader(name) != self.leader(source):
            self.parents[self.leader(name)] = self.leader(source)

    def _operands(self, node: Node) -> Iterable[str]:
        """The operands of a computation whose result is codes."""
        if node.domain or node.name in self._layers or any(name in self._constants for name in node.inputs):
            return
        runtime = self._target == "onnxruntime"
        if node.op_type in POOLS or (runtime and node.op_type in ("Add", *RUNTIME_ONLY)):
            self.computed.add(node.name)
            yield from node.inputs
        elif node.op_type == "Add":
            self.computed.add(node.name)
            fused = [name for name in dict.fromkeys(node.inputs) if self._fusable(name)]
            last = max(fused, key=lambda name: self._place[self._producer[name].name], default="")
            yield from (name for name in node.inputs if name != last)

    def _fusable(self, name: str) -> bool:
        """Whether a layer of 8 bits makes the value for one reader alone, which can then be done on its sums."""
        producer = self._producer.get(name)
        return producer is not None and producer.name in self._layers and self._only_reader(name) is not None


def _absorbed(node: Node, constants: Mapping[str, Array]) -> bool:
    if node.op_type == "Clip":
        return not node.domain and all(name in constants for name in node.inputs[1:] if name)
    return node.op_type == "Relu" and not node.domain


def _copies_pixels(node: Node) -> bool:
    """Whether a Resize takes the nearest pixel."""
    mode = node.attributes.get("mode", "nearest")
    return node.op_type == "Resize" and mode in ("nearest", b"nearest")
