"""Concat without copies: decide which maps are produced straight into the map that they are a part of.

Walks the assemblies from the last to the first, so that nested ones compose: the inner map is a part of the outer, and
its own parts are parts of parts. A part is copied in where it is an input, a view, wanted in two places, or read
through a window while its pixels lie scattered (a padded window needs its neighbours and a border of zeros).
"""

from __future__ import annotations

from dataclasses import replace

from reconv.engine.lower import draft as d
from reconv.engine.lower import draft_codes as c

__all__ = ["Placement", "place"]

WINDOWED = (d.Conv, d.MaxPool, d.AveragePool, c.Product8, c.AveragePool8)
Placement = dict[int, tuple[int, d.Channels | d.Pixels]]


def place(draft: d.Draft) -> Placement:
    """For each map that is produced in place, its parent and its place in it; copies are added for the others."""
    windowed = {x for op in draft.ops if isinstance(op, WINDOWED) and _spans(op) for x in _x(op)}
    placed: Placement = {}
    for op in reversed(draft.ops.copy()):
        if not isinstance(op, d.Assemble):
            continue
        if _pixelwise(op) and windowed.intersection(
            _faces(draft, op.out)
        ):  # a map of flattened pixels has no border of zeros
            flat_map = draft.like(op.out)
            at = draft.ops.index(op)
            draft.ops[at : at + 1] = [
                flattened := replace(op, out=flat_map),
                d.Copy(x=flat_map, out=op.out, nodes=op.nodes),
            ]
            op = flattened
        scattered = _scattered(placed, op.out)
        parts = []
        for part, where in op.parts:
            flat = scattered or isinstance(where, d.Pixels)
            below = draft.producer.get(part)
            free = below is not None and part not in placed and not isinstance(below, d.View) and not _pixelwise(below)
            if free and not (flat and _read_by_window(draft, part, windowed)):
                placed[part] = (op.out, where)
                parts.append((part, where))
                continue
            twin = draft.like(part)
            copy = d.Copy(x=part, out=twin, nodes=op.nodes)
            draft.ops.insert(draft.ops.index(op), copy)
            placed[twin] = (op.out, where)
            parts.append((twin, where))
        at = draft.ops.index(op)
        draft.ops[at] = replace(op, parts=parts)
    draft.index()
    return placed


def _x(op: d.Op) -> tuple[int, ...]:
    return op.reads[:1]


def _spans(op: d.Conv | d.MaxPool | d.AveragePool | c.Product8 | c.AveragePool8) -> bool:
    kernel = op.weight.shape[2:] if isinstance(op, (d.Conv, c.Product8)) else op.kernel
    return max(kernel) > 1 or max(op.pads) > 0


def _pixelwise(op: d.Op) -> bool:
    return isinstance(op, d.Assemble) and any(isinstance(where, d.Pixels) for _, where in op.parts)


def _scattered(placed: Placement, x: int) -> bool:
    while x in placed:
        x, where = placed[x]
        if isinstance(where, d.Pixels):
            return True
    return False


def _read_by_window(draft: d.Draft, x: int, windowed: set[int]) -> bool:
    """Whether a window reads the map, a view of it, or a map that is part of it (already placed)."""
    if windowed.intersection(_faces(draft, x)):
        return True
    below = draft.producer.get(x)
    inner = [part for part, _ in below.parts] if isinstance(below, d.Assemble) else []
    return any(_read_by_window(draft, part, windowed) for part in inner)


def _faces(draft: d.Draft, x: int) -> set[int]:
    """The map and all views of it."""
    return {x}.union(*(_faces(draft, op.out) for op in draft.ops if isinstance(op, d.View) and op.x == x))
