"""Which channels of a model can only go together.

Every element along a channel axis is an *atom*. What a layer makes has fresh atoms, one for each of its output
channels; every operator then says how its inputs' atoms become its outputs' (`table.OPERATORS`): an addition joins the
atoms of its two sides, a concatenation puts them side by side, a flattening repeats each of them, a reshape that folds
channels joins those that fold onto one another. Atoms that are joined go together or stay together: these are the
dependency groups of Fang et al. (DepGraph, CVPR 2023), found by one pass over the ONNX graph.

A value carries atoms along at most one axis. What an operator cannot express, or does not know, is *pinned*: it stays.
Along with the atoms goes, where it is known, the value that a channel has everywhere (`Carried.still`): a channel whose
weights are all zero is what its bias makes of it, and can be removed exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from reconv.graph import Node

__all__ = ["Adapt", "Atoms", "Carried", "Change", "Kept", "Layer", "PinnedError", "Site"]

Array = np.ndarray[Any, Any]
Kept = Callable[[Array], Array]
"""Atoms -> which of them stay, as booleans."""
FOLDED_VALUES = 1 << 24  # values that a node computes constants from, at the most
WRITTEN_VALUES = (
    1 << 12
)  # of a constant that the file computes: larger ones would make the file larger when they are cut


class PinnedError(Exception):
    """Raised by a rule: the channels that the node reads have to stay, and why."""


@dataclass(frozen=True, eq=False)
class Carried:
    """What a value carries. atoms: (n,) along ``axis``; still: (n,) float64, NaN where the channel is not constant."""

    axis: int
    atoms: Array
    still: Array

    def at(self, places: Array, axis: int | None = None) -> Carried:
        """The same for these places of the axis, in their order."""
        return Carried(self.axis if axis is None else axis, self.atoms[places], self.still[places])


@dataclass(frozen=True, eq=False)
class Site:
    """A constant that is cut: input ``place`` of the node, ``array`` its value, ``atoms`` along ``axis``.

    role: "out" and "in" for weights; "bias"; "scale" and "shift" of a norm; "other".
    """

    node: Node
    place: int
    array: Array
    axis: int
    atoms: Array
    role: str


@dataclass(frozen=True, eq=False)
class Layer:
    """A convolution or matrix product with constant weights.

    products: (groups, channels in of a group, channels out of a group), the weights summed over their window: what a
    constant input channel adds to each output. power: (groups, channels in of a group), the sum of the squares of the
    weights of an input channel. ins, outs: what it reads and makes, all groups in a row; ``ins`` is
    None where the input's channels are not carried. whole: groups go as a whole, so that the weights of a channel that
    goes go with what it makes. exact: a constant input channel adds the same at every pixel, the border included.
    """

    node: Node
    products: Array
    power: Array
    ins: Carried | None
    outs: Array
    whole: bool
    exact: bool


@dataclass(frozen=True)
class Change:
    """What a node becomes: other attributes, and other constants by the place of the input."""

    attributes: Mapping[str, Any] = field(default_factory=dict)
    constants: Mapping[int, Array] = field(default_factory=dict)


Adapt = Callable[[Kept], Change]


class Atoms:
    """Union-find over atoms; a set is pinned when one of its atoms is."""

    def __init__(self) -> None:
        self._parent: list[int] = []
        self._reason: dict[int, str] = {}
        self._roots: Array | None = None  # of all atoms, while nothing is joined

    def __len__(self) -> int:
        return len(self._parent)

    def fresh(self, count: int) -> Array:
        """So many new atoms."""
        first = len(self._parent)
        self._parent.extend(range(first, first + count))
        self._roots = None
        return np.arange(first, first + count)

    def join(self, a: Array, b: Array) -> None:
        """The atoms at each place go together from now on."""
        for one, other in zip(a.tolist(), b.tolist(), strict=True):
            x, y = self._root(one), self._root(other)
            if x == y:
                continue
            x, y = min(x, y), max(x, y)  # the oldest is the root, so that the order of units is that of channels
            self._parent[y] = x
            self._roots = None
            reason = self._reason.pop(y, None)
            if reason is not None:
                self._reason.setdefault(x, reason)

    def pin(self, atoms: Array, reason: str) -> None:
        """These stay."""
        for atom in atoms.tolist():
            self._reason.setdefault(self._root(atom), reason)

    def roots(self, atoms: Array) -> Array:
        """The atom that stands for the set of each."""
        if self._roots is None:
            parents = np.array(self._parent, np.int64)
            while not np.array_equal(parents, above := parents[parents]):
                parents = above
            self._roots = parents
        return np.asarray(self._roots[atoms])

    def reason(self, root: int) -> str | None:
        """Why a set is pinned; None when it is not."""
        return self._reason.get(root)

    def _root(self, atom: int) -> int:
        parent = self._parent
        while parent[atom] != atom:
            parent[atom] = atom = parent[parent[atom]]
        return atom
