"""The weights that methods work on: constants of float32 that convolutions and fully connected layers multiply with."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from reconv.errors import InputError, ModelError
from reconv.graph import Graph, Node

__all__ = ["QUANTIZED", "Weight", "check_float", "chosen", "relative_error", "weights_of"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Weight:
    """One constant, and the nodes that multiply with it, each the same way.

    outs, ins: the axis of the output channels and that of the input channels (of a group).
    """

    name: str
    array: Array
    nodes: tuple[Node, ...]
    outs: int
    ins: int

    @property
    def layer(self) -> str:
        """The name of its first node: what users know it by."""
        return self.nodes[0].name


def weights_of(graph: Graph) -> list[Weight]:
    """The weights of Conv, ConvTranspose, Gemm and MatMul, in the order of the nodes, each constant once.

    A constant that anything else reads too, or that nodes read in different ways, is left out, as are weights that are
    not float32.
    """
    read: dict[str, list[tuple[Node, tuple[int, int] | None]]] = {}
    for node in graph.nodes:
        for place, name in enumerate(node.inputs):
            if name in graph.constants:
                read.setdefault(name, []).append((node, _axes(node, place, graph.constants[name])))
        for name in node.captures:
            if name in graph.constants:
                read.setdefault(name, []).append((node, None))
    results = {info.name for info in graph.outputs}
    found = []
    for name, readers in read.items():
        array, axes = graph.constants[name], {axes for _, axes in readers}
        if len(axes) == 1 and array.dtype == np.float32 and array.size and name not in results:
            (both,) = axes
            if both is not None:
                found.append(Weight(name, array, tuple(node for node, _ in readers), *both))
    return found


def chosen(graph: Graph, exclude: Collection[str] = (), only: Collection[str] | None = None) -> list[Weight]:
    """The weights of the layers that are asked for by the names of their nodes.

    Raises:
        InputError: a name is none of a layer with weights.
        ModelError: the graph is quantized already.
    """
    check_float(graph)
    found = weights_of(graph)
    known = {node.name for weight in found for node in weight.nodes}
    if unknown := [name for name in (*exclude, *(only or ())) if name not in known]:
        raise InputError(f"the model has no layer with weights called {unknown[0]!r}; give the name of its node")
    return [
        weight
        for weight in found
        if all(node.name not in exclude and (only is None or node.name in only) for node in weight.nodes)
    ]


def check_float(graph: Graph) -> None:
    """Refuse what is quantized: its weights are codes already.

    Raises:
        ModelError: the graph has nodes that quantize.
    """
    for node in graph.nodes:
        if node.op_type in QUANTIZED:
            raise ModelError(
                f"the model is quantized already ({node.name!r} is a {node.op_type}): compress the float model first, "
                "and quantize what comes out"
            )


def relative_error(before: Array, after: Array) -> float:
    """|before - after| / |before| in the Frobenius norm; 0 for zeros that stay."""
    exact = before.astype(np.float64)
    size = float(np.linalg.norm(exact))
    off = float(np.linalg.norm(exact - after))
    return off / size if size else off


QUANTIZED: frozenset[str] = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger"}
    | {"MatMulInteger"}
)


def _axes(node: Node, place: int, array: Array) -> tuple[int, int] | None:
    """The axes of output and input channels of a node's weight; None where this input is no weight."""
    if node.domain or place != 1:
        return None
    if node.op_type == "Conv" and array.ndim > 2:
        return 0, 1
    if node.op_type == "ConvTranspose" and array.ndim > 2:
        return 1, 0
    if node.op_type == "Gemm" and array.ndim == 2:
        return (0, 1) if node.attributes.get("transB", 0) else (1, 0)
    return (1, 0) if node.op_type == "MatMul" and array.ndim == 2 else None
