"""How many bytes of maps are alive at once when the nodes run one after the other.

A value lives from the node that makes it to the last one that reads it; outputs of the model live to the end, inputs
from the start, and constants do not count. This is what a runtime needs that frees and reuses, writes every result into
memory of its own, and does nothing in place: what the engine really takes is less (`reconv.engine.memory`).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from reconv.graph.graph import Graph

__all__ = ["live_bytes", "peak_bytes", "value_bytes"]

Sizes = Mapping[str, tuple[int | None, ...]]
Types = Mapping[str, np.dtype[Any]]


def value_bytes(name: str, sizes: Sizes, types: Types) -> int | None:
    """Bytes of a value; None where its size is unknown. A value of unknown type counts as float32."""
    size = sizes.get(name)
    if size is None or None in size:
        return None
    kind = types.get(name, np.dtype(np.float32))
    return prod(n for n in size if n is not None) * kind.itemsize


def live_bytes(graph: Graph, sizes: Sizes, types: Types) -> tuple[int, ...]:
    """Bytes alive while each node runs, what it reads and makes included; values of unknown size count as nothing."""
    last: dict[str, int] = {}
    for position, node in enumerate(graph.nodes):
        last.update((name, position) for name in (*node.reads, *node.outputs) if name)
    last.update((info.name, len(graph.nodes)) for info in graph.outputs)
    ending: dict[int, list[str]] = {}
    for name, position in last.items():
        ending.setdefault(position, []).append(name)
    bytes_of = {name: value_bytes(name, sizes, types) or 0 for name in last if name not in graph.constants}
    alive = sum(bytes_of.get(info.name, 0) for info in graph.inputs)
    found = []
    for position, node in enumerate(graph.nodes):
        alive += sum(bytes_of.get(name, 0) for name in node.outputs if name)
        found.append(alive)
        alive -= sum(bytes_of.get(name, 0) for name in ending.get(position, ()))
    return tuple(found)


def peak_bytes(graph: Graph, sizes: Sizes, types: Types) -> int:
    """The largest of `live_bytes`; 0 for a model without nodes."""
    return max(live_bytes(graph, sizes, types), default=0)
