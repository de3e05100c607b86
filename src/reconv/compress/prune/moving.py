"""How operators carry channels that only move them: concatenations, splits, slices, gathers, transposes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from reconv.compress.prune.channels import Carried, Change, Kept, PinnedError
from reconv.compress.prune.walk import Rule, Walk
from reconv.graph import Node

__all__ = ["MOVING", "only_first"]

Array = np.ndarray[Any, Any]


def only_first(walk: Walk, node: Node) -> Carried:
    """What the first input carries; the others may not carry anything."""
    if any(name in walk.carried for name in node.inputs[1:]):
        raise PinnedError("more than its first input depends on channels")
    return walk.carried[node.inputs[0]]


def transpose(walk: Walk, node: Node) -> None:
    x = only_first(walk, node)
    rank = len(walk.shape(node.inputs[0]))
    order = list(node.attributes.get("perm", range(rank)[::-1]))
    walk.carry(node.outputs[0], order.index(x.axis), x.atoms, x.still)


def concat(walk: Walk, node: Node) -> None:
    """Side by side along the channels, or along another axis, where all have to carry the same ones."""
    axis = int(node.attributes["axis"]) % len(walk.shape(node.inputs[0]))
    parts = [walk.carried.get(name) for name in node.inputs]
    first = next(part for part in parts if part is not None)
    if any(part is not None and part.axis != first.axis for part in parts):
        raise PinnedError("its inputs carry channels along different axes")
    if first.axis == axis:
        found = [part or _standing(walk, name, axis) for part, name in zip(parts, node.inputs, strict=True)]
        atoms, still = (np.concatenate([getattr(part, kind) for part in found]) for kind in ("atoms", "still"))
        walk.carry(node.outputs[0], axis, atoms, still)
        return
    still = first.still
    for part, (place, name) in zip(parts, enumerate(node.inputs), strict=True):
        if part is None:
            if walk.constant(name) is None:
                raise PinnedError(f"{name!r} does not carry channels")
            walk.site(node, place, first.axis, first.atoms)
            still = np.full(len(first.atoms), np.nan)
        else:
            walk.atoms.join(first.atoms, part.atoms)
            still = np.where(still == part.still, still, np.nan)
    walk.carry(node.outputs[0], first.axis, first.atoms, still)


def _standing(walk: Walk, name: str, axis: int) -> Carried:
    """Channels that stay, of a value that carries none."""
    size = walk.shape(name)[axis]
    if size is None:
        raise PinnedError(f"the number of channels of {name!r} is unknown")
    atoms = walk.atoms.fresh(size)
    walk.atoms.pin(atoms, f"{name} does not come from a layer with weights")
    return Carried(axis, atoms, np.full(size, np.nan))


def split(walk: Walk, node: Node) -> None:
    """Split along the channels, whose sizes follow, or along another axis."""
    x = only_first(walk, node)
    rank = len(walk.shape(node.inputs[0]))
    if int(node.attributes.get("axis", 0)) % rank != x.axis:
        for name in node.outputs:
            walk.carry(name, x.axis, x.atoms, x.still)
        return
    sizes = walk.numbers(node, 1, "split")
    if not sizes:
        parts = len(node.outputs)
        largest = -(-len(x.atoms) // parts)  # the last is smaller where they do not divide
        sizes = [largest] * (parts - 1) + [len(x.atoms) - largest * (parts - 1)]
    if sum(sizes) != len(x.atoms) or len(sizes) != len(node.outputs):
        raise PinnedError("its sizes do not fit its channels")
    parts_of = np.split(np.arange(len(x.atoms)), np.cumsum(sizes)[:-1])
    pieces = [x.atoms[part] for part in parts_of]
    for name, part in zip(node.outputs, parts_of, strict=True):
        if name:
            piece = x.at(part)
            walk.carry(name, x.axis, piece.atoms, piece.still)

    def adapt(kept: Kept) -> Change:
        new = [int(kept(piece).sum()) for piece in pieces]
        attributes = {key: None for key in ("num_outputs",) if key in node.attributes}
        if walk.graph.opset < 13:
            return Change({**attributes, "split": tuple(new)})
        return Change(attributes, {1: np.array(new, np.int64)})

    walk.adapt(node, x.atoms, adapt)


def slice_(walk: Walk, node: Node) -> None:
    """Slice of neighbouring channels, or along other axes."""
    x = only_first(walk, node)
    rank = len(walk.shape(node.inputs[0]))
    old = walk.graph.opset < 10
    names = (*node.inputs, "", "", "", "")[1:5]
    if old:
        starts, ends, axes = (_listed(node.attributes.get(key)) for key in ("starts", "ends", "axes"))
        steps = None
    else:
        starts, ends, axes, steps = (_listed(walk.constant(name)) for name in names)
        if names[2] and axes is None:
            raise PinnedError("its axes are computed while the model runs")
    if axes is None:  # the first so many
        axes = list(range(rank if starts is None else len(starts)))
    axes = [axis % rank for axis in axes]
    if x.axis not in axes:
        walk.carry(node.outputs[0], x.axis, x.atoms, x.still)
        return
    at = axes.index(x.axis)
    if starts is None or ends is None or (names[3] and steps is None):
        raise PinnedError("what it takes is computed while the model runs")
    if steps is not None and steps[at] != 1:
        raise PinnedError("it takes every so-many-th channel")
    begin, end, _ = slice(starts[at], ends[at]).indices(len(x.atoms))
    piece = x.at(np.arange(begin, max(begin, end)))
    walk.carry(node.outputs[0], x.axis, piece.atoms, piece.still)

    def adapt(kept: Kept) -> Change:
        first = int(kept(x.atoms[:begin]).sum())
        last = first + int(kept(piece.atoms).sum())
        new = [list(starts), list(ends)]
        new[0][at], new[1][at] = first, last
        if old:
            return Change({"starts": tuple(new[0]), "ends": tuple(new[1])})
        return Change(constants={1: np.array(new[0], np.int64), 2: np.array(new[1], np.int64)})

    walk.adapt(node, x.atoms, adapt)


def _listed(numbers: Any) -> list[int] | None:
    return None if numbers is None else [int(number) for number in np.reshape(numbers, -1)]


def gather(walk: Walk, node: Node) -> None:
    """Gather of channels by constant places, or along another axis."""
    x = only_first(walk, node)
    rank = len(walk.shape(node.inputs[0]))
    axis = int(node.attributes.get("axis", 0)) % rank
    rest = len(walk.shape(node.inputs[1])) - 1
    if axis != x.axis:
        walk.carry(node.outputs[0], x.axis + (rest if axis < x.axis else 0), x.atoms, x.still)
        return
    places = walk.constant(node.inputs[1])
    if places is None or rest > 0:
        raise PinnedError("what it takes is computed while the model runs, or has several axes")
    places = np.asarray(places)
    taken = places.reshape(-1) % len(x.atoms)
    if rest == 0:
        piece = x.at(taken)
        walk.carry(node.outputs[0], x.axis, piece.atoms, piece.still)
    else:
        walk.atoms.pin(x.atoms[taken], f"{node.name} takes this channel alone")

    def adapt(kept: Kept) -> Change:
        stays = kept(x.atoms)
        new = (np.cumsum(stays) - 1)[taken[stays[taken]]]
        return Change(constants={1: new.reshape((-1,) if places.ndim else ()).astype(places.dtype)})

    walk.adapt(node, x.atoms, adapt)


MOVING: Mapping[str, Rule] = {
    "Concat": concat,
    "Gather": gather,
    "Slice": slice_,
    "Split": split,
    "Transpose": transpose,
}
