"""Batch norm folded into the layers beside it, before weights are rounded, shared or cut off.

The exchange's own rules do it (those of its family "batch norm" that are never more work). A layer that has taken its
norm in keeps its name, so that users can go on naming layers as their file does.
"""

from __future__ import annotations

from dataclasses import replace

from reconv.exchange.firing import Firing, State
from reconv.exchange.rules import RULES
from reconv.exchange.view import look
from reconv.graph import Graph, Node, remade

__all__ = ["folded"]

LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


def folded(graph: Graph) -> Graph:
    """The graph with its batch norms folded, as far as they can be; the graph itself where there are none.

    Raises:
        ModelError: ONNX's shape inference refuses the model.
    """
    rules = [rule for rule in RULES if rule.family == "batch norm" and rule.simplifies]
    if all(node.op_type != "BatchNormalization" for node in graph.nodes):
        return graph
    made = Firing(rules).simplified(State(look(graph)), proved=False).view.graph
    if made is graph:
        return graph
    makers = {name: node for node in graph.nodes for name in node.outputs if name}
    known, names = {node.name for node in graph.nodes}, {node.name for node in made.nodes}
    renamed: dict[str, list[Node]] = {}
    for node in made.nodes:
        if node.name in known or node.op_type not in LAYERS:
            continue
        before = _layer_of(makers, node)
        if before is not None and before.name not in names:
            names.add(before.name)
            renamed[node.name] = [replace(node, name=before.name)]
    return remade(made, renamed, {}) if renamed else made


def _layer_of(makers: dict[str, Node], node: Node) -> Node | None:
    """The layer of the file whose place a new one has taken: the first of its kind above what it makes."""
    name = node.outputs[0]
    while (found := makers.get(name)) is not None:
        if found.op_type == node.op_type:
            return found
        if not found.inputs:
            return None
        name = next((each for each in found.inputs if each in makers), "")
    return None
