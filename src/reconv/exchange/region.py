"""Where two graphs differ, cut out of both with its neighbours: what a measurement compares.

A runtime fuses a node with those around it, so that a swap measured alone would seem to gain what a fusion had given
before. The cut therefore takes along the nodes just above, and below those that change, the next two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from reconv.errors import ModelError
from reconv.exchange.view import View
from reconv.graph import Graph, Node, extract

__all__ = ["Region", "region"]

BELOW = 2  # steps down from what changes: a convolution is fused with an activation of one or two nodes


@dataclass(frozen=True, eq=False)
class Region:
    """The same part of two graphs: serialized models with the same inputs and outputs.

    shapes and types: of the inputs.
    """

    before: bytes
    after: bytes
    shapes: dict[str, tuple[int, ...]]
    types: dict[str, np.dtype[Any]]


def region(old: View, new: View) -> Region | None:
    """The part in which two views of one model differ; None when they do not, or when it cannot be cut out.

    It cannot where the size of a value is unknown, or a node with a body of its own stands next to it.
    """
    kept = {id(node) for node in old.graph.nodes} & {id(node) for node in new.graph.nodes}
    gone = [node for node in old.graph.nodes if id(node) not in kept]
    come = [node for node in new.graph.nodes if id(node) not in kept]
    if not gone and not come:
        return None
    around = _around(old, gone, kept) | _around(new, come, kept)
    parts = [[n for n in view.graph.nodes if id(n) in around or id(n) not in kept] for view in (old, new)]
    if any(node.captures or not node.outputs for part in parts for node in part):
        return None
    made = [{name for node in part for name in node.outputs if name} for part in parts]
    inputs = _inputs(old, parts[0], made[0]) | _inputs(new, parts[1], made[1])
    if any(name in made[0] or name in made[1] for name in inputs):
        return None
    outputs = [name for name in _needed(old, parts[0]) if name in made[1]]
    if not outputs or set(outputs) != set(_needed(new, parts[1])):
        return None
    shapes = {}
    for name in sorted(inputs):
        size = old.sizes.get(name)
        if size is None or None in size:
            return None
        shapes[name] = tuple(n for n in size if n is not None)
    types = {name: old.types.get(name, np.dtype(np.float32)) for name in shapes}
    try:
        cut = [_cut(view.graph, shapes, outputs, types) for view in (old, new)]
    except ModelError:  # a value that cannot be an input of a model: a sequence, or beyond protobuf's limit
        return None
    return Region(cut[0], cut[1], shapes, types)


def _around(view: View, changed: list[Node], kept: set[int]) -> set[int]:
    """Kept nodes next to the changed ones."""
    found: set[int] = set()
    for node in changed:
        for name in node.inputs:
            above = view.producer(name)
            if above is not None and id(above) in kept:
                found.add(id(above))
    level = changed
    for _ in range(BELOW):
        level = [reader for node in level for name in node.outputs if name for reader in view.readers(name)]
        found |= {id(node) for node in level if id(node) in kept}
    return found


def _inputs(view: View, part: list[Node], made: set[str]) -> set[str]:
    return {name for node in part for name in node.reads if name not in made and name not in view.graph.constants}


def _needed(view: View, part: list[Node]) -> list[str]:
    """Values of the part that something outside of it reads."""
    inside = {id(node) for node in part}
    names = [name for node in part for name in node.outputs if name]
    return [n for n in names if view.is_output(n) or any(id(r) not in inside for r in view.readers(n))]


def _cut(graph: Graph, shapes: dict[str, tuple[int, ...]], outputs: list[str], types: dict[str, Any]) -> bytes:
    return extract(graph, list(shapes), outputs, shapes, types=types)
