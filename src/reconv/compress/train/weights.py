"""Which constants of a graph are weights, and what is trained in their place.

A weight is a constant at a place of `PLACES`, or one that reaches such a place through nodes that only move or decode
it (`THROUGH`): the codes behind a DequantizeLinear, the codebook behind a Gather. A constant elsewhere (the 3 of a
hard swish, the mean of a preprocessing) is part of the function and stays what it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from reconv.graph import Graph, Node

__all__ = ["Codes", "Weights", "find_weights"]

Array = np.ndarray[Any, Any]

PLACES: Mapping[str, tuple[int, ...]] = {
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Gemm": (0, 1, 2),
    "MatMul": (0, 1),
    "BatchNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "PRelu": (1,),
}
# a constant added to what these give is a bias, one that it is multiplied with a scale
PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization")
THROUGH = (
    "DequantizeLinear", "QuantizeLinear", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity",
    "Gather",
)  # fmt: skip


@dataclass(frozen=True)
class Codes:
    """Constant whole numbers behind a DequantizeLinear: floats are trained in their place, and rounded at the end.

    ``axis`` is that of the scales. For codes of 32 bits (a bias) ``parts`` are the scales of the input and of the
    weight, whose product its own scale is; () where it is not found.
    """

    scale: str
    zero: str
    axis: int
    parts: tuple[str, str] | tuple[()] = ()


@dataclass(frozen=True)
class Weights:
    """Names of constants. floats: trained as they are; codes: trained as what they stand for; statistics: of batch
    norms (mean, variance); scales: of activations and weights, each with those that must stay equal to it."""

    floats: tuple[str, ...]
    codes: Mapping[str, Codes]
    statistics: tuple[str, ...]
    scales: Mapping[str, tuple[str, ...]]


def find_weights(graph: Graph) -> Weights:
    """The weights of a graph, in the order in which its nodes read them."""
    producer = {name: node for node in graph.nodes for name in node.outputs if name}
    readers = Counter(name for node in graph.nodes for name in node.reads)
    floats: dict[str, None] = {}
    codes: dict[str, Codes] = {}
    statistics: dict[str, None] = {}
    for node in graph.nodes:
        if node.op_type == "BatchNormalization":
            statistics.update((name, None) for name in node.inputs[3:5] if name in graph.constants)
        for name in _places(node, producer):
            source, decoder = _source(name, producer, graph)
            if not source:
                continue
            array = graph.constants[source]
            if array.dtype == np.float32:
                floats[source] = None
            elif decoder is not None and readers[source] == 1 and decoder.inputs[0] == source:
                codes[source] = _codes(decoder, node, producer, graph)
    scales = _scales(graph, producer)
    for name in [name for name in codes if graph.constants[name].dtype == np.int32]:
        scales.pop(codes[name].scale, None)
    return Weights(tuple(floats), codes, tuple(statistics), {k: tuple(v) for k, v in scales.items()})


def _places(node: Node, producer: Mapping[str, Node]) -> Iterator[str]:
    if node.domain:
        return
    yield from (node.inputs[place] for place in PLACES.get(node.op_type, ()) if place < len(node.inputs))
    if node.op_type in ("Add", "Mul") and len(node.inputs) == 2:
        for name, other in (node.inputs, node.inputs[::-1]):
            above = producer.get(other)
            if above is not None and above.op_type in PRODUCTS and name not in producer:
                yield name


def _source(name: str, producer: Mapping[str, Node], graph: Graph) -> tuple[str, Node | None]:
    """The constant that a value is made of, "" where there is none, and the DequantizeLinear on the way."""
    decoder = None
    while name in producer:
        node = producer[name]
        if node.op_type not in THROUGH or any(other not in graph.constants for other in node.inputs[1:] if other):
            return "", None
        decoder = node if node.op_type == "DequantizeLinear" else decoder
        name = node.inputs[0]
    return (name, decoder) if name in graph.constants else ("", None)


def _codes(decoder: Node, reader: Node, producer: Mapping[str, Node], graph: Graph) -> Codes:
    parts: tuple[str, str] | tuple[()] = ()
    if graph.constants[decoder.inputs[0]].dtype == np.int32 and len(reader.inputs) > 2:
        above = [producer.get(name) for name in reader.inputs[:2]]
        scales = [node.inputs[1] for node in above if node is not None and node.op_type == "DequantizeLinear"]
        parts = (scales[0], scales[1]) if len(scales) == 2 else ()
    zero = decoder.inputs[2] if len(decoder.inputs) > 2 else ""
    return Codes(decoder.inputs[1], zero, int(decoder.attributes.get("axis", 1)), parts)


def _scales(graph: Graph, producer: Mapping[str, Node]) -> dict[str, list[str]]:
    """Every constant scale, under the first of those that belong together: of a QuantizeLinear and its readers."""
    first: dict[str, str] = {}
    for node in graph.nodes:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear") or node.inputs[1] not in graph.constants:
            continue
        name = node.inputs[1]
        above = producer.get(node.inputs[0])
        while above is not None and above.op_type in (*THROUGH[2:], "MaxPool"):  # codes that are only moved
            above = producer.get(above.inputs[0])
        tied = node.op_type == "DequantizeLinear" and above is not None and above.op_type == "QuantizeLinear"
        head = first.get(above.inputs[1], "") if tied and above is not None else ""
        if head and np.array_equal(graph.constants[head], graph.constants[name]):
            first.setdefault(name, head)
        first.setdefault(name, name)
    found: dict[str, list[str]] = {}
    for name, head in first.items():
        found.setdefault(head, []).append(name)
    return found
