"""Which nodes give another result every time: random operators, also inside subgraphs and functions.

Such a node is never folded, and a tail with one runs at every step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx_ir as ir

from reconv.graph.graph import Graph, Node

__all__ = ["draws_at_random"]

RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)


def draws_at_random(node: Node, graph: Graph) -> bool:
    """Whether the node is random, or something in its subgraphs or in the functions that it calls."""
    functions = {(f.domain, f.name): f for f in graph.source.functions.values()}
    entered: set[tuple[str, str]] = set()

    def random(domain: str, op_type: str, subgraphs: Iterable[Iterable[ir.Node]]) -> bool:
        if op_type in RANDOM:
            return True
        bodies = list(subgraphs)
        key = (domain, op_type)
        if key in functions and key not in entered:
            entered.add(key)
            bodies.append(functions[key])
        return any(
            random(inner.domain, inner.op_type, _graphs(attribute.value for attribute in inner.attributes.values()))
            for body in bodies
            for inner in body
        )

    return random(node.domain, node.op_type, _graphs(node.attributes.values()))


def _graphs(values: Iterable[object]) -> Iterator[Iterable[ir.Node]]:
    for value in values:
        if isinstance(value, (list, tuple)):
            yield from _graphs(value)
        elif isinstance(value, (ir.Graph, ir.GraphView)):
            yield value
