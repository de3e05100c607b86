"""Where a model is cut into stretches, and which stretch of a variant differs.

A *cut* is a place between two nodes; its values are those that are made before it and read behind it. Stretches of few
layers end where the fewest bytes cross. A variant (the same model with something changed in one place) computes the
same up to the last cut before its change, and from the first cut behind the change on the same network goes on from
other values: only what lies between is the variant's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reconv.graph import Graph, Node, element_types, extract, infer, reads, stretch, value_bytes

__all__ = ["Cut", "Own", "cuts_of", "own_part", "part"]

Array = np.ndarray[Any, Any]
LAYERS = 3  # in one stretch, about


@dataclass(frozen=True)
class Cut:
    """Before node number ``place``: names, shapes and types of what crosses."""

    place: int
    names: tuple[str, ...]
    shapes: Mapping[str, tuple[int, ...]]
    types: Mapping[str, np.dtype[Any]]


@dataclass(frozen=True)
class Own:
    """A variant's own part lies between these two cuts, by their numbers. The same number twice: nothing differs."""

    first: int
    last: int


def cuts_of(graph: Graph, layers: Sequence[str], shapes: Mapping[str, tuple[int, ...]]) -> tuple[Cut, ...]:
    """The cuts of a model for inputs of these shapes: the inputs first, the outputs last, and between them a cut for
    every few of the layers (names of nodes), where the least bytes cross."""
    names = [info.name for info in graph.inputs]
    outputs = [info.name for info in graph.outputs]
    made = {name for node in graph.nodes for name in node.outputs}
    whole = extract(graph, names, [name for name in outputs if name in made], shapes)
    sizes, types = infer(whole), element_types(whole)
    crossing = _crossing(graph, names)
    places = [place for place, node in enumerate(graph.nodes) if node.name in set(layers)]
    found = [Cut(0, tuple(names), dict(shapes), {info.name: info.dtype for info in graph.inputs})]
    for window in range(LAYERS, len(places), LAYERS):
        room = range(places[window - LAYERS] + 1, places[window] + 1)
        costs = {p: c for p in room if p > found[-1].place and (c := _cost(crossing[p], sizes, types)) is not None}
        if costs:
            place = min(costs, key=lambda p: (costs[p], -p))
            found.append(_cut(place, crossing[place], sizes, types))
    found.append(_cut(len(graph.nodes), tuple(outputs), {}, {}))
    return tuple(found)


def _crossing(graph: Graph, inputs: Sequence[str]) -> list[tuple[str, ...]]:
    """For every place the values that are made before it and needed from there on; inputs of the model count."""
    needed = {info.name for info in graph.outputs}
    behind = []
    for node in reversed(graph.nodes):
        needed |= set(node.reads)
        behind.append(frozenset(needed))
    behind.reverse()
    alive: dict[str, None] = dict.fromkeys(inputs)
    found = []
    for node, wanted in zip(graph.nodes, behind, strict=True):
        found.append(tuple(name for name in alive if name in wanted))
        alive.update(dict.fromkeys(name for name in node.outputs if name))
    return found


def _cost(names: Sequence[str], sizes: Mapping[str, Any], types: Mapping[str, Any]) -> int | None:
    """Bytes that cross; None where something crosses that the engine would rather know ahead, as sizes are."""
    total = 0
    for name in names:
        count = value_bytes(name, sizes, types)
        if count is None or types.get(name) != np.float32 or len(sizes[name]) < 2:
            return None
        total += count
    return total


def _cut(place: int, names: tuple[str, ...], sizes: Mapping[str, Any], types: Mapping[str, Any]) -> Cut:
    return Cut(place, names, {n: sizes[n] for n in names if n in sizes}, {n: types[n] for n in names if n in types})


def own_part(graph: Graph, variant: Graph, cuts: Sequence[Cut]) -> Own:
    """Between which cuts a variant differs from the model that they are of. Nodes count as the same where operator,
    attributes, constants and the names of what they read and make are the same."""
    theirs = {name: node for node in variant.nodes for name in node.outputs if name}
    differs = []
    for number in range(len(cuts) - 1):
        stretch = graph.nodes[cuts[number].place : cuts[number + 1].place]
        differs.append(not all(_same(node, theirs.get(_first(node)), graph, variant) for node in stretch))
    changed = [number for number, differing in enumerate(differs) if differing]
    return Own(changed[0], changed[-1] + 1) if changed else Own(0, 0)


def part(graph: Graph, first: Cut, last: Cut) -> tuple[Graph, tuple[str, ...], tuple[str, ...]] | None:
    """What lies between two cuts as a model of its own, with its inputs and outputs; None where it makes nothing.

    Raises:
        ModelError: the graph cannot be cut there.
    """
    outputs = tuple(name for name in last.names if name not in first.names and name not in graph.constants)
    if not outputs:
        return None
    _, inputs = reads(graph, first.names, outputs)
    made = stretch(graph, inputs, outputs, first.shapes, {**first.types, **last.types})
    return made, inputs, outputs


def _first(node: Node) -> str:
    return next(name for name in node.outputs if name)


def _same(ours: Node, theirs: Node | None, graph: Graph, variant: Graph) -> bool:
    if ours is theirs:
        return all(_equal(graph.constants.get(name), variant.constants.get(name)) for name in ours.reads)
    if theirs is None or (ours.op_type, ours.domain, ours.overload) != (theirs.op_type, theirs.domain, theirs.overload):
        return False
    if (ours.inputs, ours.outputs, ours.captures) != (theirs.inputs, theirs.outputs, theirs.captures):
        return False
    if ours.attributes.keys() != theirs.attributes.keys():
        return False
    if not all(_equal(value, theirs.attributes[key]) for key, value in ours.attributes.items()):
        return False
    return all(_equal(graph.constants.get(name), variant.constants.get(name)) for name in ours.reads)


def _equal(a: Any, b: Any) -> bool:
    """Of attributes and constants, bit for bit."""
    if a is b:
        return True
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return type(a) is type(b) and isinstance(a, (int, float, str, bytes, tuple)) and a == b
