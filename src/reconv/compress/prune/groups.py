"""Channel groups: what can be removed from a model, and what goes with it.

A *unit* is a set of channels of which none can go without the others (`channels`); a *group* has the units that lie
along the same axes all through the model, and of which any number but all can go. Two layers whose results are added
are one group; the two halves of a split are two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from reconv.compress.prune.table import trace
from reconv.compress.prune.walk import Walk
from reconv.graph import Graph

__all__ = ["Group", "groups", "groups_of"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Group:
    """Channels that may go.

    name: the first layer that makes them (with "#2" and so on where a layer makes several groups); layers: names of
    the nodes with weights that make them; readers: of those that sum over them; units: how many can go one by one;
    width: channels of a unit, in the layer that has the fewest. ``roots`` are the units' atoms, in channel order.
    """

    name: str
    layers: tuple[str, ...]
    readers: tuple[str, ...]
    units: int
    width: int
    roots: tuple[int, ...]

    @property
    def channels(self) -> int:
        """Channels of the group in the layer that has the fewest of them."""
        return self.units * self.width


def groups(graph: Graph) -> list[Group]:
    """The channel groups of a model, in the order of their layers; groups of a single unit, which cannot go, left out.

    Raises:
        ModelError: ONNX's shape inference refuses the model.
    """
    return groups_of(trace(graph))


def groups_of(walk: Walk) -> list[Group]:
    """The groups that a pass over a graph found."""
    occurs: dict[int, list[tuple[str, int]]] = {}  # unit -> values that carry it, and how often
    for name, carried in walk.carried.items():
        for root, count in zip(*np.unique(walk.atoms.roots(carried.atoms), return_counts=True), strict=True):
            occurs.setdefault(int(root), []).append((name, int(count)))
    alike: dict[tuple[tuple[str, int], ...], list[int]] = {}
    for root in sorted(occurs):
        if walk.atoms.reason(root) is None:
            alike.setdefault(tuple(occurs[root]), []).append(root)
    makers: dict[int, dict[str, int]] = {}
    readers: dict[int, dict[str, int]] = {}
    for layer in walk.layers:
        for found, atoms in ((makers, layer.outs), (readers, None if layer.ins is None else layer.ins.atoms)):
            if atoms is not None and not (found is readers and layer.whole):
                for root, count in zip(*np.unique(walk.atoms.roots(atoms), return_counts=True), strict=True):
                    found.setdefault(int(root), {})[layer.node.name] = int(count)
    result, names = [], dict[str, int]()
    for roots in alike.values():
        made, read = makers.get(roots[0], {}), readers.get(roots[0], {})
        if len(roots) < 2 or not made:
            continue
        first = next(iter(made))
        names[first] = names.get(first, 0) + 1
        name = first if names[first] == 1 else f"{first}#{names[first]}"
        width = min([*made.values(), *read.values()])
        result.append(Group(name, tuple(made), tuple(read), len(roots), width, tuple(roots)))
    return result
