"""Nodes beside a graph that compute layers with codes, so that one pass of the float model tells their errors.

Each error is summed up inside the graph, to a number per channel or one in all: what leaves a run is small, and one
session and one pass over the samples serve all layers and all scales that are tried.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from reconv.compress.quantize.scheme import Codes
from reconv.graph import Graph, Node, Rewrite, rewritten

__all__ = ["Beside"]

Array = np.ndarray[Any, Any]


class Beside:
    """What is added to one graph. Names of new values are returned, to be asked for when `graph` is run."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._nodes: list[Node] = []
        self._constants: dict[str, Array] = {}
        self._rounded: dict[tuple[str, Codes], str] = {}

    def graph(self) -> Graph:
        """The graph with the nodes so far."""
        return rewritten(self._graph, Rewrite((), tuple(self._nodes), self._constants))

    def rounded(self, name: str, codes: Codes) -> str:
        """What is left of a value in these codes."""
        if (name, codes) not in self._rounded:
            scale, zero = self.constant(name, codes.scales), self.constant(name, codes.zeros)
            axis = {"axis": 1} if codes.scales.ndim else {}
            between = self.node(name, "QuantizeLinear", (name, scale, zero), axis)
            self._rounded[name, codes] = self.node(name, "DequantizeLinear", (between, scale, zero), axis)
        return self._rounded[name, codes]

    def copy(self, node: Node, inputs: tuple[str, ...]) -> str:
        """The first result of a node over other inputs, those that are left out as they are."""
        return self.node(node.name, node.op_type, (*inputs, *node.inputs[len(inputs) :]), node.attributes)

    def constant(self, hint: str, value: Array) -> str:
        """A new constant."""
        name = f"{hint}/beside/constant/{len(self._constants)}"
        self._constants[name] = value
        return name

    def node(
        self, hint: str, op_type: str, inputs: tuple[str, ...], attributes: Mapping[str, Any] | None = None
    ) -> str:
        """The result of a new node."""
        name = f"{hint}/beside/{op_type}/{len(self._nodes)}"
        self._nodes.append(Node(name, op_type, "", inputs, (f"{name}/y",), attributes or {}))
        return f"{name}/y"
