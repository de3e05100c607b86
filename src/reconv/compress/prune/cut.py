"""The smaller graph: every constant, size and attribute that knows of a channel follows when it goes.

What a removed channel was worth to the layers that read it is added to their bias, where it is known: exactly, where
the channel had one value everywhere (`Carried.still`), and as well as the channels that stay can stand in for it where
it is known what they are on samples (`moments`). Where a convolution pads with zeros the border saw less of a constant,
and what is added is that of the inside.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from reconv.compress.prune.channels import Change, Layer
from reconv.compress.prune.moments import Moments
from reconv.compress.prune.walk import Walk
from reconv.errors import ModelError
from reconv.graph import Graph, Names, Node, remade, shapes_of

__all__ = ["cut"]

Array = np.ndarray[Any, Any]
Wanted = tuple[Array, tuple[Any, ...]]
"""A new constant, and what tells two of them with one origin apart."""


def cut(walk: Walk, gone: Collection[int], known: Mapping[str, Moments] | None = None) -> Graph:
    """The graph without some channels.

    Args:
        walk: what is known of the graph's channels.
        gone: the units that go, each by the atom that stands for it (`Group.roots`).
        known: of values that layers read, what their channels are on samples.

    Raises:
        ModelError: a unit has to stay, or is no unit; or what comes out has other shapes than it should, which means
            that the channels were not followed rightly.
    """
    for root in gone:
        if int(walk.atoms.roots(np.array([root]))[0]) != root:
            raise ModelError(f"channel {root} goes together with others: name the unit, not one of its channels")
        if (reason := walk.atoms.reason(root)) is not None:
            raise ModelError(f"channel {root} has to stay: {reason}")
    made = _Cut(walk, np.array(sorted(gone), np.int64), known or {})
    nodes, constants = made.result()
    graph = remade(walk.graph, nodes, constants)
    _check(walk, made, graph)
    return graph


class _Cut:
    """One removal of channels under way."""

    def __init__(self, walk: Walk, gone: Array, known: Mapping[str, Moments]) -> None:
        self._walk = walk
        self._gone = np.zeros(len(walk.atoms), bool)
        self._gone[gone] = True
        self._names = Names(walk.graph)
        self._nodes = {node.name: node for node in walk.graph.nodes}
        self._wanted: dict[str, dict[int, Wanted]] = {}
        self._weights: dict[str, Array] = {}  # of layers that make up for what they no longer read
        self._shifts: list[tuple[Layer, Array]] = []
        self._extra: dict[str, Array] = {}  # what is added after a MatMul
        self._attributes: dict[str, Mapping[str, Any]] = {}
        self._stand_ins: dict[str, tuple[Array, Array]] = {}
        for layer in walk.layers:
            self._make_up(layer, known)
        self._cut_sites()
        for layer, shift in self._shifts:
            self._fold(layer, shift)
        for name, (atoms, adapt) in walk.adapts.items():
            if not self.kept(atoms).all():
                self._change(self._nodes[name], adapt(self.kept))

    def kept(self, atoms: Array) -> Array:
        """Which of these stay."""
        return np.asarray(~self._gone[self._walk.atoms.roots(atoms)])

    def _make_up(self, layer: Layer, known: Mapping[str, Moments]) -> None:
        """What the channels that go were worth to a layer: a shift of its results, other weights of those that stay."""
        if layer.ins is None or layer.whole:
            return
        stays = self.kept(layer.ins.atoms)
        if stays.all():
            return
        values = np.where(stays | np.isnan(layer.ins.still), 0.0, layer.ins.still)
        name = layer.node.inputs[0]
        if name in known:
            if name not in self._stand_ins:
                self._stand_ins[name] = known[name].stand_in(stays)
            factors, rest = self._stand_ins[name]
            unknown = np.isnan(layer.ins.still[~stays])
            alone = len(layer.products) > 1  # a group of a grouped convolution does not read all that could stand in
            values[~stays] = np.where(unknown, known[name].mean[~stays] if alone else rest, values[~stays])
            if not alone and factors.any():
                self._weights[layer.node.name] = factors * unknown[:, None]
        shift = np.einsum("gio,gi->go", layer.products, values.reshape(layer.products.shape[:2])).reshape(-1)
        if shift.any():
            self._shifts.append((layer, shift))

    def _cut_sites(self) -> None:
        for site in self._walk.sites:
            places = np.flatnonzero(self.kept(site.atoms))
            if len(places) == len(site.atoms):
                continue
            uses = self._wanted.setdefault(site.node.name, {})
            array, key = uses.get(site.place, (site.array, ()))
            if site.role == "in" and (factors := self._weights.get(site.node.name)) is not None:
                array = _made_up(array, site.axis, self.kept(site.atoms), factors)
                key = (*key, "made up", site.node.name)
            uses[site.place] = (np.take(array, places, axis=site.axis), (*key, site.axis, places.tobytes()))

    def _fold(self, layer: Layer, shift: Array) -> None:
        """Add to the bias of a layer what it no longer reads. ``shift``: of each output channel before the cut."""
        node = layer.node
        stays = self.kept(layer.outs)
        name = node.inputs[2] if len(node.inputs) > 2 else ""
        weight = self._walk.constant(node.inputs[1])
        kind = np.float32 if weight is None else weight.dtype
        key = ("shifted", node.name)
        if node.op_type == "MatMul":
            self._extra[node.name] = shift[stays].astype(kind)
            return
        uses = self._wanted.setdefault(node.name, {})
        bias = self._walk.constant(name) if name else None
        beta = float(node.attributes.get("beta", 1.0)) if node.op_type == "Gemm" else 1.0
        if bias is None or beta == 0:
            uses[2] = (shift[stays].astype(kind), key)
            if node.op_type == "Gemm":
                self._attributes[node.name] = {"beta": 1.0}
            return
        whole = bias.astype(np.float64) + shift / beta
        uses[2] = (whole[..., stays].astype(bias.dtype), key)

    def _change(self, node: Node, change: Change) -> None:
        uses = self._wanted.setdefault(node.name, {})
        for place, array in change.constants.items():
            name = node.inputs[place] if place < len(node.inputs) else ""
            old = self._walk.constant(name) if name else None
            if old is None or not np.array_equal(old, array):
                uses[place] = (array, ("changed", array.tobytes()))
        same = all(node.attributes.get(key) == value for key, value in change.attributes.items())
        if not same:
            self._attributes[node.name] = {**self._attributes.get(node.name, {}), **change.attributes}

    def result(self) -> tuple[dict[str, tuple[Node, ...]], dict[str, Array]]:
        """What takes the place of which nodes, and the new constants."""
        constants: dict[str, Array] = {}
        names = self._named(constants)
        nodes: dict[str, tuple[Node, ...]] = {}
        for name, node in self._nodes.items():
            uses = {place: names[name, place] for place in self._wanted.get(name, {})}
            attributes = self._attributes.get(name, {})
            if not uses and not attributes and name not in self._extra:
                continue
            count = max([len(node.inputs), *(place + 1 for place in uses)])
            inputs = [*node.inputs, *[""] * (count - len(node.inputs))]
            for place, constant in uses.items():
                inputs[place] = constant
            merged = {k: v for k, v in {**node.attributes, **attributes}.items() if v is not None}
            new = replace(node, inputs=tuple(inputs), attributes=merged)
            nodes[name] = (new,) if name not in self._extra else self._with_addition(new, constants)
        self._drop_dead(nodes)
        return nodes, constants

    def _with_addition(self, node: Node, constants: dict[str, Array]) -> tuple[Node, ...]:
        inner, added = (self._names.fresh(f"{node.outputs[0]}/{kind}") for kind in ("product", "shift"))
        constants[added] = self._extra[node.name]
        addition = Node(self._names.fresh(f"{node.name}/Add"), "Add", "", (inner, added), node.outputs)
        return replace(node, outputs=(inner,)), addition

    def _named(self, constants: dict[str, Array]) -> dict[tuple[str, int], str]:
        """The name of each constant that a node now reads: its own, where all that read it agree on what it becomes."""
        graph = self._walk.graph
        readers: dict[str, int] = {}
        for node in graph.nodes:
            for name in (*node.inputs, *node.captures):
                readers[name] = readers.get(name, 0) + 1
        for info in graph.outputs:
            readers[info.name] = readers.get(info.name, 0) + 1
        variants: dict[str, dict[Any, list[tuple[str, int]]]] = {}
        for name, uses in self._wanted.items():
            for place, (_, key) in uses.items():
                inputs = self._nodes[name].inputs
                origin = inputs[place] if place < len(inputs) else ""
                variants.setdefault(origin, {}).setdefault(key, []).append((name, place))
        found: dict[tuple[str, int], str] = {}
        for origin, alike in variants.items():
            for places in alike.values():
                first = places[0]
                own = origin in graph.constants and len(places) == readers[origin]
                hint = origin if origin in graph.constants else f"{first[0]}/{first[1]}"
                name = origin if own else self._names.fresh(f"{hint}/cut")
                constants[name] = self._wanted[first[0]][first[1]][0]
                found.update(dict.fromkeys(places, name))
        return found

    def _drop_dead(self, nodes: dict[str, tuple[Node, ...]]) -> None:
        """Nodes that made a constant which is now written down go, where nothing else needs them."""
        before, after = (_needed(self._walk.graph, given) for given in ({}, nodes))
        nodes.update((name, ()) for name in before - after)


def _made_up(weight: Array, axis: int, stays: Array, factors: Array) -> Array:
    """Weights whose channels that stay are read for those that go too. factors: (gone, staying)."""
    last = np.moveaxis(weight.astype(np.float64), axis, -1)
    last[..., stays] += last[..., ~stays] @ factors
    return np.moveaxis(last, -1, axis).astype(weight.dtype)


def _needed(graph: Graph, nodes: Mapping[str, tuple[Node, ...]]) -> set[str]:
    """The nodes that the outputs need."""
    wanted = {info.name for info in graph.outputs}
    found = set()
    for node in reversed(graph.nodes):
        parts = nodes.get(node.name, (node,))
        if any(name in wanted for part in parts for name in part.outputs):
            found.add(node.name)
            wanted.update(name for part in parts for name in part.reads)
    return found


def _check(walk: Walk, made: _Cut, graph: Graph) -> None:
    """Every value has to have as many channels as are left of it, and otherwise the shape that it had.

    Raises:
        ModelError: one has not.
    """
    for name, shape in shapes_of(graph).items():
        old = walk.shapes.get(name)
        if old is None or name in walk.graph.constants:
            continue
        expected = list(old)
        if (carried := walk.carried.get(name)) is not None:
            expected[carried.axis] = int(made.kept(carried.atoms).sum())
        fits = len(shape) == len(expected) and all(
            a is None or b is None or a == b for a, b in zip(shape, expected, strict=True)
        )
        if not fits:
            raise ModelError(f"the channels were not followed rightly: {name!r} has shape {shape}, not {expected}")
