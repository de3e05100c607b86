"""The graphs inside a model: its functions, and the bodies of If, Loop and Scan."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

__all__ = ["bodies_of", "every_graph", "nested"]


def bodies_of(node: ir.Node) -> Iterator[ir.Graph]:
    """The graphs among a node's attributes, not those inside them."""
    for attribute in node.attributes.values():
        if attribute.is_ref():
            continue
        if attribute.type == ir.AttributeType.GRAPH:
            yield attribute.as_graph()
        elif attribute.type == ir.AttributeType.GRAPHS:
            yield from attribute.as_graphs()


def nested(graph: ir.Graph | ir.Function) -> Iterator[ir.Graph | ir.Function]:
    """The graph and all graphs inside it."""
    yield graph
    for node in graph:
        for body in bodies_of(node):
            yield from nested(body)


def every_graph(model: ir.Model) -> Iterator[ir.Graph | ir.Function]:
    """The model's graph, its functions, and all graphs inside them."""
    yield from nested(model.graph)
    for function in model.functions.values():
        yield from nested(function)
