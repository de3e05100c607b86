"""Which nodes give another result every time: random operators, also inside subgraphs and functions.

Such a node is never folded, and a tail with one runs at every step. Dropout is one in training: since opset 12, when
its third input says so. That input has to be a constant false for the node to count as calm, and inside of subgraphs
and functions, where constants are not followed, it has to be missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from reconv.graph.graph import Graph, Node

__all__ = ["draws_at_random"]

RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)


def draws_at_random(node: Node, graph: Graph) -> bool:
    """Whether the node is random, or something in its subgraphs or in the functions that it calls."""
    if _trains(node.domain, node.op_type, [graph.constants.get(name, name) for name in node.inputs]):
        return True
    functions = {(f.domain, f.name, f.overload): f for f in graph.source.functions.values()}
    entered: set[tuple[str, str, str]] = set()

    def random(key: tuple[str, str, str], subgraphs: Iterable[Iterable[ir.Node]]) -> bool:
        if key[1] in RANDOM:
            return True
        bodies = list(subgraphs)
        if key in functions and key not in entered:
            entered.add(key)
            bodies.append(functions[key])
        return any(
            _trains(inner.domain, inner.op_type, ["" if value is None else value.name or "" for value in inner.inputs])
            or random(_key(inner), _graphs(attribute.value for attribute in inner.attributes.values()))
            for body in bodies
            for inner in body
        )

    return random(_key(node), _graphs(node.attributes.values()))


def _key(node: Node | ir.Node) -> tuple[str, str, str]:
    return node.domain, node.op_type, node.overload


def _trains(domain: str, op_type: str, inputs: Sequence[Any]) -> bool:
    """Whether it is a Dropout that may draw. ``inputs``: names, or arrays where they are constants."""
    if op_type != "Dropout" or domain not in ("", "ai.onnx") or len(inputs) < 3:
        return False
    mode = inputs[2]
    return bool(mode.any()) if isinstance(mode, np.ndarray) else mode != ""


def _graphs(values: Iterable[object]) -> Iterator[Iterable[ir.Node]]:
    for value in values:
        if isinstance(value, (list, tuple)):
            yield from _graphs(value)
        elif isinstance(value, (ir.Graph, ir.GraphView)):
            yield value
