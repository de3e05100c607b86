"""How much would be missed of each unit: one number for each, larger is more.

- magnitude (Li et al. 2017, over the whole group as in DepGraph, Fang et al. 2023): the norm of all weights of a unit,
  in each layer divided by the layer's mean, averaged over the layers. A batch norm behind a layer scales its weights.
- activation: what a unit's channels contribute to the layers that read them: mean square on samples (or, where what
  goes is made up for, variance) times the squared weights that read it, as a share of the layer's sum. Shares compare
  across groups too. (The variance that all other channels do not explain, as in Optimal Brain Surgeon, is worse where
  many go at once: of two channels that say the same, both go.)
- taylor (Molchanov et al. 2019): the square of the first-order change of the loss if the channels were zero where they
  are read: sum of weight times gradient over the weights that read them, averaged over the batches. In units of the
  loss, so these compare across groups too.

A unit whose channels are constant wherever they are read costs nothing: it scores 0, whatever the rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from reconv.compress.prune.channels import Site
from reconv.compress.prune.groups import Group
from reconv.compress.prune.moments import Moments
from reconv.compress.prune.walk import Walk
from reconv.errors import InputError

__all__ = ["Gradients", "activation", "constant", "magnitude", "taylor"]

Array = np.ndarray[Any, Any]
Gradients = Mapping[str, Array] | Iterable[Mapping[str, Array]]
"""Name of a weight -> the loss's gradient, of the weight's shape; or one such mapping for each batch."""


class _Units:
    """Where each atom's unit stands: sums over atoms become one row of numbers for each group."""

    def __init__(self, walk: Walk, groups: Sequence[Group]) -> None:
        self._walk = walk
        self._place = {root: (at, unit) for at, group in enumerate(groups) for unit, root in enumerate(group.roots)}
        self._sizes = [group.units for group in groups]

    def zeros(self) -> list[Array]:
        return [np.zeros(size) for size in self._sizes]

    def sums(self, atoms: Array, values: Array) -> dict[int, Array]:
        """By the place of the group: the values of each unit's atoms, summed."""
        found: dict[int, Array] = {}
        for root, value in zip(self._walk.atoms.roots(atoms).tolist(), values.tolist(), strict=True):
            if root in self._place:
                at, unit = self._place[root]
                found.setdefault(at, np.zeros(self._sizes[at]))[unit] += value
        return found


def magnitude(walk: Walk, groups: Sequence[Group], order: int = 2) -> list[Array]:
    """Scores by the weights' norm: 1 or 2."""
    units, votes = _Units(walk, groups), [0] * len(groups)
    scores = units.zeros()
    factors = _norm_factors(walk)
    for site in walk.sites:
        if site.role not in ("in", "out"):
            continue
        sizes = np.abs(site.array.astype(np.float64)) ** order
        sizes = sizes.sum(axis=tuple(axis for axis in range(sizes.ndim) if axis != site.axis))
        if site.role == "out" and site.node.name in factors and len(factors[site.node.name]) == len(sizes):
            sizes = sizes * factors[site.node.name] ** order
        for at, row in units.sums(site.atoms, sizes).items():
            row = row ** (1 / order)
            mean = float(row.mean())
            scores[at] = scores[at] + (row / mean if mean else row)
            votes[at] += 1
    return [score / max(count, 1) for score, count in zip(scores, votes, strict=True)]


def _norm_factors(walk: Walk) -> dict[str, Array]:
    """Of layers that a batch norm alone reads: what it multiplies each of their channels with."""
    layers = {layer.node.outputs[0]: layer.node.name for layer in walk.layers}
    found = {}
    for site in walk.sites:
        node = site.node
        name = layers.get(node.inputs[0])
        if site.role != "scale" or node.op_type != "BatchNormalization" or name is None:
            continue
        if len(walk.readers(node.inputs[0])) == 1:
            variance = np.asarray(walk.constant(node.inputs[4]), np.float64)
            spread = np.sqrt(np.maximum(variance + float(node.attributes.get("epsilon", 1e-5)), 1e-30))
            found[name] = np.abs(site.array.astype(np.float64)) / spread
    return found


def activation(walk: Walk, groups: Sequence[Group], found: Mapping[str, Moments], *, made_up: bool) -> list[Array]:
    """Scores by what is contributed. ``made_up``: the layers that read what goes make up for its mean at least."""
    units = _Units(walk, groups)
    scores = units.zeros()
    for layer in walk.layers:
        if layer.ins is None or layer.whole:
            continue
        of = found[layer.node.inputs[0]]
        lost = (of.variance if made_up else of.square) * layer.power.reshape(-1)
        total = float(lost.sum())
        if total:
            for at, row in units.sums(layer.ins.atoms, lost / total).items():
                scores[at] = scores[at] + row
    return scores


def taylor(walk: Walk, groups: Sequence[Group], gradients: Gradients) -> list[Array]:
    """Scores by weight times gradient.

    Raises:
        InputError: the gradient of a weight that matters is missing, or has another shape; or there are none at all.
    """
    units = _Units(walk, groups)
    sites: dict[tuple[str, int], Site] = {}  # of weights that layers share, one: the gradient is that of all of them
    for site in walk.sites:
        if site.role == "in" and units.sums(site.atoms, np.ones(len(site.atoms))):
            sites.setdefault((site.node.inputs[site.place], site.axis), site)
    scores, batches = units.zeros(), 0
    for batch in [gradients] if isinstance(gradients, Mapping) else gradients:
        change = units.zeros()
        for (name, axis), site in sites.items():
            if name not in batch:
                raise InputError(f"the gradient of {name!r} is missing; gradients are by the names of the weights")
            if batch[name].shape != site.array.shape:
                raise InputError(f"the gradient of {name!r} has shape {batch[name].shape}, expected {site.array.shape}")
            product = site.array.astype(np.float64) * batch[name]
            product = product.sum(axis=tuple(a for a in range(product.ndim) if a != axis))
            for at, row in units.sums(site.atoms, product).items():
                change[at] += row
        scores = [score + row**2 for score, row in zip(scores, change, strict=True)]
        batches += 1
    if not batches:
        raise InputError("importance 'taylor' needs the gradients of the loss on at least one batch")
    return [score / batches for score in scores]


def constant(walk: Walk, groups: Sequence[Group]) -> list[Array]:
    """Of each unit, whether its channels are constant wherever they are read, so that it goes without a trace."""
    units = _Units(walk, groups)
    varies = units.zeros()
    for layer in walk.layers:
        if layer.ins is not None and not layer.whole:
            still = layer.ins.still
            exact = (still == 0) | (~np.isnan(still) & layer.exact)
            for at, row in units.sums(layer.ins.atoms, (~exact).astype(np.float64)).items():
                varies[at] += row
    return [row == 0 for row in varies]
