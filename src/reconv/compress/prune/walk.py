"""One pass over a graph that follows its channels: what the rules of the operators ask, and where they write."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from reconv.compress.prune.channels import Adapt, Atoms, Carried, Layer, PinnedError, Site
from reconv.errors import ModelError
from reconv.graph import Graph, Node, draws_at_random, evaluate, shapes_of

__all__ = ["Rule", "Walk"]

Array = np.ndarray[Any, Any]
FOLDED_VALUES = 1 << 24  # values that a node computes constants from, at the most
WRITTEN_VALUES = 1 << 12  # of a constant that the file computes: cutting a larger one would make the file larger
Rule = Callable[["Walk", Node], None]


class Walk:
    """One pass over a graph, node by node in their order; the rules of the operators write what they find into it."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.atoms = Atoms()
        self.carried: dict[str, Carried] = {}
        self.sites: list[Site] = []
        self.layers: list[Layer] = []
        self.adapts: dict[str, tuple[Array, Adapt]] = {}
        self.shapes = shapes_of(graph)
        self._constants: dict[str, Array] = dict(graph.constants)
        self._weights: dict[tuple[str, int], Array] = {}
        self._readers: dict[str, list[Node]] = {}
        for node in graph.nodes:
            for name in dict.fromkeys(node.reads):
                self._readers.setdefault(name, []).append(node)

    # --- what rules ask

    def constant(self, name: str) -> Array | None:
        """The value of a constant, or of what is computed from constants alone."""
        return self._constants.get(name)

    def shape(self, name: str) -> tuple[int | None, ...]:
        """Shape of a value, None for a free size.

        Raises:
            PinnedError: not even the number of axes is known.
        """
        if (array := self._constants.get(name)) is not None:
            return tuple(array.shape)
        if (found := self.shapes.get(name)) is None:
            raise PinnedError(f"the number of axes of {name!r} is unknown")
        return found

    def readers(self, name: str) -> list[Node]:
        """The nodes that read a value."""
        return self._readers.get(name, [])

    def is_used(self, name: str) -> bool:
        """Whether something reads the value."""
        return bool(name) and (name in self._readers or any(info.name == name for info in self.graph.outputs))

    def numbers(self, node: Node, place: int, attribute: str = "") -> list[int] | None:
        """Integers that are an input, or in older opsets an attribute; None where they are left out.

        Raises:
            PinnedError: they are computed while the model runs.
        """
        name = node.inputs[place] if place < len(node.inputs) else ""
        if name:
            if (array := self.constant(name)) is None:
                raise PinnedError(f"{name!r} is computed while the model runs")
            return [int(value) for value in array.reshape(-1)]
        found = node.attributes.get(attribute)
        return None if found is None else [int(value) for value in found]

    # --- what rules tell

    def carry(self, name: str, axis: int, atoms: Array, still: Array | None = None) -> None:
        """The value carries these atoms along the axis."""
        if name:
            self.carried[name] = Carried(axis, atoms, np.full(len(atoms), np.nan) if still is None else still)

    def site(self, node: Node, place: int, axis: int, atoms: Array, role: str = "other") -> None:
        """Input ``place`` of the node is a constant that is cut along the axis.

        Raises:
            PinnedError: it is not a constant, or of another length.
        """
        array = self.constant(node.inputs[place])
        if array is None:
            raise PinnedError(f"{node.inputs[place]!r} is computed while the model runs")
        if array.shape[axis] != len(atoms):
            raise PinnedError(f"{node.inputs[place]!r} has another number of channels")
        if node.inputs[place] not in self.graph.constants and array.size > WRITTEN_VALUES:
            raise PinnedError(f"{node.inputs[place]!r} is large, and computed when the model is loaded")
        self.sites.append(Site(node, place, array, axis, atoms, role))

    def adapt(self, node: Node, atoms: Array, change: Adapt) -> None:
        """What else of the node changes when some of these atoms go."""
        self.adapts[node.name] = (atoms, change)

    def weight_atoms(self, name: str, axis: int, count: int) -> Array:
        """Atoms of an axis of weights, the same whichever node reads them: layers that share weights stay shared."""
        if (name, axis) not in self._weights:
            self._weights[name, axis] = self.atoms.fresh(count)
        return self._weights[name, axis]

    # --- the pass

    def run(self, operators: Mapping[str, Rule], sources: Mapping[str, Rule]) -> None:
        """Walk. ``operators``: rules by operator; ``sources``: of those that also make channels from what has none."""
        for node in self.graph.nodes:
            if self._fold(node):
                continue
            reads = [self.carried[name] for name in node.reads if name in self.carried]
            if not reads and node.op_type not in sources:
                continue
            rule = {**operators, **sources}.get(node.op_type) if not node.domain else None
            before = len(self.sites)
            try:
                if rule is None:
                    raise PinnedError("the operator is not known")
                rule(self, node)
            except PinnedError as pin:
                for atoms in (*(c.atoms for c in reads), *(site.atoms for site in self.sites[before:])):
                    self.atoms.pin(atoms, f"{node.name} ({node.op_type}): {pin}")
                for name in node.outputs:
                    self.carried.pop(name, None)
        for info in self.graph.outputs:
            if info.name in self.carried:
                self.atoms.pin(self.carried[info.name].atoms, f"{info.name} is an output of the model")

    def _fold(self, node: Node) -> bool:
        """Whether the node computes with constants alone; if so, what it makes is a constant too."""
        arrays = [self._constants.get(name) if name else None for name in node.inputs]
        if node.domain or node.captures or not any(node.inputs) or draws_at_random(node, self.graph):
            return False
        if any(name and array is None for name, array in zip(node.inputs, arrays, strict=True)):
            return False
        if sum(array.size for array in arrays if array is not None) > FOLDED_VALUES:
            return False
        try:
            values = evaluate(node, arrays, self.graph.opset)
        except ModelError:
            return False
        self._constants.update((name, value) for name, value in zip(node.outputs, values, strict=True) if name)
        return True
