"""What lowering gives: the sealed plan, its borders, and where every node of the graph went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from reconv import _core
from reconv.graph import Node

__all__ = ["Border", "Lowered", "PlacedNode", "Where"]

Where = Literal["engine", "folded", "tail"]


@dataclass(frozen=True)
class Border:
    """A tensor that enters or leaves the plan: its position among the plan's inputs or outputs, and its map."""

    name: str
    shape: tuple[int, ...]
    index: int
    map: int


@dataclass(frozen=True)
class PlacedNode:
    """Where a node runs.

    ``ops`` are indices of the plan; several nodes may share one, whose ``macs`` are at the node that the others were
    fused into. ``folded`` nodes cost nothing at run time: constants, renamed dimensions, and what no output needs.
    ``out_map`` is the plan's map that holds the node's first output, None where it was fused away or is no map.
    ``stored`` is False where streams do not keep that map: the op that reads it does the node's work as well.
    """

    node: Node
    where: Where
    reason: str
    ops: tuple[int, ...] = ()
    macs: int = 0
    out_map: int | None = None
    out_shape: tuple[int, ...] | None = None
    stored: bool = True


@dataclass(eq=False)
class Lowered:
    """A graph for fixed input shapes.

    ``inputs`` are the graph inputs that the plan reads; ``outputs`` what it computes: graph outputs, and values that
    the tail reads. Graph inputs among them are not in ``outputs``: the caller has them. ``constants`` are all values
    that became constants, graph outputs among them; ``tail_nodes`` the names of the nodes left to the tail; ``scales``
    the steps of the plan's maps that hold 8-bit codes, all others hold floats.
    """

    plan: _core.Plan
    inputs: list[Border] = field(default_factory=list)
    outputs: list[Border] = field(default_factory=list)
    nodes: list[PlacedNode] = field(default_factory=list)
    constants: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    tail_nodes: tuple[str, ...] = ()
    scales: Mapping[int, float] = field(default_factory=dict)
