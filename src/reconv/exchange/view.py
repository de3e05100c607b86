"""A graph as rules look at it: who makes and who reads a value, shapes that hold at every size, and fresh names.

``shapes`` holds what is known from the file alone, with None for a size that is free: a rule that relies on it is
right for every input that the model takes. Costs and proofs need numbers: ``sizes`` are the shapes at the sizes that
the user gave.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from reconv.graph import Graph, Names, Node, Rewrite, element_types, extract, infer, rewritten

__all__ = ["Sizes", "View", "look", "look_again"]

Array = np.ndarray[Any, Any]
Sizes = Mapping[str, tuple[int | None, ...]]


@dataclass(frozen=True, eq=False)
class View:
    """One graph, with indexes over it. ``types`` are of the elements, as far as they are known."""

    graph: Graph
    shapes: Sizes
    sizes: Sizes
    types: Mapping[str, np.dtype[Any]] = field(default_factory=dict)

    @property
    def opset(self) -> int:
        return self.graph.opset

    @cached_property
    def _producers(self) -> Mapping[str, Node]:
        return {name: node for node in self.graph.nodes for name in node.outputs if name}

    @cached_property
    def _readers(self) -> Mapping[str, tuple[Node, ...]]:
        found: dict[str, list[Node]] = {}
        for node in self.graph.nodes:
            for name in dict.fromkeys(node.reads):
                found.setdefault(name, []).append(node)
        return {name: tuple(nodes) for name, nodes in found.items()}

    @cached_property
    def _results(self) -> frozenset[str]:
        return frozenset(info.name for info in self.graph.outputs)

    @cached_property
    def _names(self) -> Names:
        return Names(self.graph)

    def producer(self, name: str) -> Node | None:
        """The node that makes a value; None for inputs and constants."""
        return self._producers.get(name)

    def readers(self, name: str) -> tuple[Node, ...]:
        """The nodes that read a value, each once, bodies of If, Loop and Scan counted with their node."""
        return self._readers.get(name, ())

    def is_output(self, name: str) -> bool:
        """Whether the value is an output of the model."""
        return name in self._results

    def only_reader(self, name: str) -> Node | None:
        """The node that alone reads the value; None when several do, none does, or it is an output of the model."""
        readers = self.readers(name)
        return readers[0] if len(readers) == 1 and name not in self._results else None

    def constant(self, name: str) -> Array | None:
        """The constant of that name; None for another value and for ``""``."""
        return self.graph.constants.get(name)

    def shape(self, name: str) -> tuple[int | None, ...] | None:
        """Shape that holds at every size of the inputs, None in it for a free size; None when the rank is unknown."""
        return self.shapes.get(name)

    def is_float(self, name: str) -> bool:
        """Whether the value is known to be float32, the type that rules are proved for."""
        constant = self.graph.constants.get(name)
        kind = self.types.get(name) if constant is None else constant.dtype
        return kind == np.float32

    def fresh(self, hint: str) -> str:
        """A name that nothing has yet, neither a value nor a node; each call gives another."""
        return self._names.fresh(hint)

    def node(self, op_type: str, inputs: tuple[str, ...], outputs: tuple[str, ...] | str, **attributes: Any) -> Node:
        """A new node of ONNX's own domain with a fresh name. Attributes that are None are left out."""
        outputs = (outputs,) if isinstance(outputs, str) else outputs
        given = {key: value for key, value in attributes.items() if value is not None}
        return Node(self.fresh(f"{outputs[0]}/{op_type}"), op_type, "", inputs, outputs, given)


def look(graph: Graph, sizes: Mapping[str, tuple[int, ...]] | None = None) -> View:
    """The view of a model.

    Args:
        graph: the model.
        sizes: shapes of inputs whose sizes the file leaves free; others count as declared.

    Raises:
        ModelError: ONNX's shape inference refuses the model.
    """
    names = [info.name for info in graph.inputs]
    produced = {name for node in graph.nodes for name in node.outputs}
    outputs = [info.name for info in graph.outputs if info.name in produced]
    if not outputs:
        return View(graph, {}, {})
    free = {info.name: info.shape for info in graph.inputs if info.has_rank}
    part = extract(graph, names, outputs, free)
    shapes = infer(part)
    fixed = shapes if not sizes else infer(extract(graph, names, outputs, {**free, **sizes}))
    return View(graph, shapes, fixed, element_types(part))


def look_again(view: View, rewrite: Rewrite) -> View:
    """The view after a rewrite: only what the rewrite brings is inferred, the rest keeps its shapes.

    Raises:
        ModelError: the rewrite does not fit the graph.
    """
    graph = rewritten(view.graph, rewrite)
    made = [name for node in rewrite.after for name in node.outputs if name]
    inside = set(made)
    reads = [n for n in dict.fromkeys(n for node in rewrite.after for n in node.reads) if n not in inside]
    reads = [name for name in reads if name not in graph.constants]
    kinds = {name: view.types[name] for name in reads if name in view.types}
    found = []
    for shapes in (view.shapes, view.sizes):
        known = {name: shapes[name] for name in reads if name in shapes}
        part = extract(graph, reads, made, known, types=kinds)
        found.append({**shapes, **{k: v for k, v in infer(part).items() if k in inside and k not in shapes}})
    types = {**view.types, **{k: v for k, v in element_types(part).items() if k in inside and k not in view.types}}
    return View(graph, found[0], found[1], types)
