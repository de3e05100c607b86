"""What the rest of reconv knows of a model: nodes in topological order, constants, inputs and outputs.

A `Graph` is frozen data. Values are known by name, as in ONNX; a constant is a name in `Graph.constants`, whatever it
was in the file (an initializer, an initializer that is listed as an input, or a Constant node). ``source`` keeps the
onnx-ir model for `reconv.graph.extract`; nothing outside `reconv.graph` touches it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

__all__ = ["Graph", "NoItems", "Node", "TensorInfo"]

Shape = tuple[int, ...]


@dataclass(frozen=True)
class TensorInfo:
    """Name, type and shape of a model's input or output.

    ``shape`` has an int for a fixed size, the name of a free size, or None for a free size without a name. Where the
    file says nothing about the shape, not even how many axes there are, it is ``()`` and ``has_rank`` is False.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | str | None, ...]
    has_rank: bool = True

    def __str__(self) -> str:
        if not self.has_rank:
            return f"{self.name}: {self.dtype} of any shape"
        sizes = ", ".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.name}: {self.dtype} ({sizes})"


class NoItems(tuple[Any, ...]):
    """An empty list among a node's attributes. ``kind`` tells what it would be a list of: floats are no integers."""

    kind: ir.AttributeType

    @classmethod
    def of(cls, kind: ir.AttributeType) -> NoItems:
        found = cls()
        found.kind = kind
        return found


@dataclass(frozen=True)
class Node:
    """One operator call. ``""`` among the inputs is an optional input left out.

    ``captures`` are names of the surrounding graph that the subgraphs of If, Loop and Scan read: inputs that ONNX does
    not list. ``attributes`` holds python values: int, float, str, tuples of them, numpy arrays for tensors; a
    subgraph is an opaque object. ``overload`` tells functions of the model apart that have one domain and name.
    """

    name: str
    op_type: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    captures: tuple[str, ...] = ()
    overload: str = ""

    @property
    def reads(self) -> tuple[str, ...]:
        """Every value that the node depends on, captures included, absent inputs left out."""
        return tuple(name for name in (*self.inputs, *self.captures) if name)


@dataclass(frozen=True, eq=False)
class Graph:
    """A model. ``nodes`` is in topological order and has no Constant nodes: those are in ``constants``."""

    nodes: tuple[Node, ...]
    constants: Mapping[str, np.ndarray[Any, Any]]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    opset: int
    source: ir.Model = field(repr=False)
