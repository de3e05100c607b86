"""How operators carry channels that change the axes of a value: reshapes, flattening, blocks of pixels, Shape."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from reconv.compress.prune.channels import Carried, Change, Kept, PinnedError
from reconv.compress.prune.moving import only_first
from reconv.compress.prune.walk import Rule, Walk
from reconv.graph import Node

__all__ = ["RESHAPING"]

Array = np.ndarray[Any, Any]
Sizes = tuple[int | None, ...]


def squeeze(walk: Walk, node: Node) -> None:
    """Squeeze of other axes than the channels."""
    x = only_first(walk, node)
    rank = len(walk.shape(node.inputs[0]))
    axes = walk.numbers(node, 1, "axes")
    if axes is None:
        raise PinnedError("it does not say which axes it takes out")
    gone = {axis % rank for axis in axes}
    if x.axis in gone:
        raise PinnedError("it takes the channels' axis out")
    walk.carry(node.outputs[0], x.axis - sum(axis < x.axis for axis in gone), x.atoms, x.still)


def unsqueeze(walk: Walk, node: Node) -> None:
    x = only_first(walk, node)
    axes = walk.numbers(node, 1, "axes") or []
    rank = len(walk.shape(node.inputs[0])) + len(axes)
    new = {axis % rank for axis in axes}
    old = [axis for axis in range(rank) if axis not in new]
    walk.carry(node.outputs[0], old[x.axis], x.atoms, x.still)


def flatten(walk: Walk, node: Node) -> None:
    """Flatten: every channel becomes as many as it has pixels."""
    x = only_first(walk, node)
    before = walk.shape(node.inputs[0])
    at = int(node.attributes.get("axis", 1))
    at = at + len(before) if at < 0 else at
    low, high = (0, at) if x.axis < at else (at, len(before))
    merged = _merged(x, before[low:high], x.axis - low)
    walk.carry(node.outputs[0], 0 if low == 0 and at > 0 and x.axis < at else 1, merged.atoms, merged.still)


def _merged(x: Carried, sizes: Sizes, place: int) -> Carried:
    """What the axis carries that these become, of which the one at ``place`` has the channels."""
    outer, inner = sizes[:place], sizes[place + 1 :]
    if None in outer or None in inner:
        raise PinnedError("the number of pixels that it puts side by side is free")
    places = np.tile(np.repeat(np.arange(len(x.atoms)), prod(n or 0 for n in inner)), prod(n or 0 for n in outer))
    return x.at(places)


def reshape(walk: Walk, node: Node) -> None:
    """Reshape: the channels' axis stays, or is put together with others, or is folded.

    Of the axes that channels are folded into the largest (of equal ones the last) goes on carrying them, and the
    channels that share a place of it go together: a channel shuffle loses the same places of every group.
    """
    x = only_first(walk, node)
    before, after = walk.shape(node.inputs[0]), walk.shape(node.outputs[0])
    low, high, first, last = _block(before, after, x.axis)
    olds, news = before[low:high], after[first:last]
    if len(news) == 1:
        found, axis = _merged(x, olds, x.axis - low), first
    elif len(olds) == 1 and None not in news:
        sizes = [n or 0 for n in news]
        chosen = max(range(len(sizes)), key=lambda at: (sizes[at], at))
        atoms = np.moveaxis(x.atoms.reshape(sizes), chosen, 0).reshape(sizes[chosen], -1)
        still = np.moveaxis(x.still.reshape(sizes), chosen, 0).reshape(sizes[chosen], -1)
        for column in atoms.T[1:]:
            walk.atoms.join(atoms[:, 0], column)
        even = (still == still[:, :1]).all(axis=1)
        found, axis = Carried(0, atoms[:, 0], np.where(even, still[:, 0], np.nan)), first + chosen
    else:
        raise PinnedError("it mixes channels with other axes")
    target = _target(walk, node, before, after, axis=axis, alike=low)
    walk.carry(node.outputs[0], axis, found.atoms, found.still)
    if target is not None:

        def adapt(kept: Kept) -> Change:
            return Change(
                constants={1: np.array([kept(found.atoms).sum() if n is None else n for n in target], np.int64)}
            )

        walk.adapt(node, found.atoms, adapt)


def _block(before: Sizes, after: Sizes, axis: int) -> tuple[int, int, int, int]:
    """The fewest axes around ``axis`` that the reshape turns into others: [low, high) become [first, last).

    Raises:
        PinnedError: free sizes hide which become which.
    """
    low = first = 0
    while low < len(before):
        high, last = low + 1, first + 1
        if last > len(after):
            break
        if before[low] is None or after[first] is None:
            if low != first or low == axis:  # a free batch stays in its place; one that is fixed here is fixed before
                raise PinnedError("free sizes hide what becomes of the channels")
        else:
            p, q = before[low] or 0, after[first] or 0
            while p != q:
                more = before[high : high + 1] if p < q else after[last : last + 1]
                if not more or more[0] is None:
                    raise PinnedError("free sizes hide what becomes of the channels")
                if p < q:
                    p, high = p * more[0], high + 1
                else:
                    q, last = q * more[0], last + 1
        if low <= axis < high:
            return low, high, first, last
        low, first = high, last
    raise PinnedError("it mixes channels with other axes")


def _target(walk: Walk, node: Node, before: Sizes, after: Sizes, *, axis: int, alike: int) -> list[int | None] | None:
    """The shape to write, None in it for the number of channels; None where the one that is there will do.

    alike: so many axes at the front stay what they are.

    Raises:
        PinnedError: it is computed while the model runs, and cannot be written down.
    """
    wanted = walk.constant(node.inputs[1]) if len(node.inputs) > 1 else np.asarray(node.attributes["shape"])
    if wanted is not None:
        if wanted.reshape(-1)[axis] in (-1, 0):
            return None
        if len(node.inputs) < 2:
            raise PinnedError("its shape is an attribute")
        return [None if at == axis else int(n) for at, n in enumerate(wanted.reshape(-1))]
    found: list[int | None] = []
    for at, size in enumerate(after):
        copied = at < alike and before[at] is None
        found.append(None if at == axis else size if size is not None else 0 if copied else -1)
    if found.count(-1) > 1:
        raise PinnedError("its shape is computed while the model runs")
    return found


def blocks(walk: Walk, node: Node) -> None:
    """DepthToSpace: the channels that become one block go together. SpaceToDepth: each becomes as many as a block."""
    x = only_first(walk, node)
    area = int(node.attributes["blocksize"]) ** 2
    if x.axis != 1:
        raise PinnedError("its channels are not those that are carried")
    if node.op_type == "SpaceToDepth":
        walk.carry(node.outputs[0], 1, np.tile(x.atoms, area), np.tile(x.still, area))
        return
    columns = str(node.attributes.get("mode", "DCR")) == "CRD"
    atoms, still = (kind.reshape(-1, area) if columns else kind.reshape(area, -1).T for kind in (x.atoms, x.still))
    for other in atoms.T[1:]:
        walk.atoms.join(atoms[:, 0], other)
    even = (still == still[:, :1]).all(axis=1)
    walk.carry(node.outputs[0], 1, atoms[:, 0], np.where(even, still[:, 0], np.nan))


def expand(walk: Walk, node: Node) -> None:
    """Expand along other axes than the channels, to a shape that the file tells."""
    x = only_first(walk, node)
    shape = walk.numbers(node, 1)
    rank = len(walk.shape(node.inputs[0]))
    if shape is None or len(x.atoms) == 1:
        raise PinnedError("it repeats channels")
    more = len(shape) - rank
    axis = x.axis + max(more, 0)
    at = x.axis + more
    if at >= 0 and shape[at] == len(x.atoms):

        def adapt(kept: Kept) -> Change:
            new = [kept(x.atoms).sum() if place == at else n for place, n in enumerate(shape)]
            return Change(constants={1: np.array(new, np.int64)})

        walk.adapt(node, x.atoms, adapt)
    elif at >= 0 and shape[at] != 1:
        raise PinnedError("it repeats channels")
    walk.carry(node.outputs[0], axis, x.atoms, x.still)


def shape_of(walk: Walk, node: Node) -> None:
    """Shape, as long as nobody looks at the number of channels: it would tell of another."""
    x = walk.carried[node.inputs[0]]
    rank = len(walk.shape(node.inputs[0]))
    begin, end, _ = slice(node.attributes.get("start", 0), node.attributes.get("end", rank)).indices(rank)
    if not begin <= x.axis < end:
        return
    for reader in walk.readers(node.outputs[0]):
        if reader.op_type == "Gather" and reader.inputs[0] == node.outputs[0]:
            places = walk.constant(reader.inputs[1])
            if places is not None and x.axis - begin not in places.reshape(-1) % (end - begin):
                continue
        if reader.op_type == "Slice":
            ends = [walk.constant(name) for name in reader.inputs[1:3]]
            if len(ends) == 2 and all(e is not None for e in ends):
                taken = np.arange(end - begin)[int(ends[0].reshape(-1)[0]) : int(ends[1].reshape(-1)[0])]  # type: ignore[union-attr]
                if x.axis - begin not in taken:
                    continue
        raise PinnedError("the number of channels is computed with")
    if any(info.name == node.outputs[0] for info in walk.graph.outputs):
        raise PinnedError("the number of channels is a result")


RESHAPING: Mapping[str, Rule] = {
    "DepthToSpace": blocks,
    "Expand": expand,
    "Flatten": flatten,
    "Reshape": reshape,
    "Shape": shape_of,
    "SpaceToDepth": blocks,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
}
