"""Fusion rules: data movement that the op which reads it takes over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reconv.engine.lower import draft as d

__all__ = ["flat_views", "focus", "picked_twice", "strided", "times", "zero_frame"]


def picked_twice(draft: d.Draft, op: d.Op) -> bool:
    """x[a::s][b::t] -> x[a + s*b :: s*t]."""
    inner = draft.made_by(op.x, d.Pick, alone=False) if isinstance(op, d.Pick) else None
    if inner is None or not isinstance(op, d.Pick):
        return False
    start = tuple(a + s * o for a, s, o in zip(inner.start, inner.steps, op.start, strict=True))
    steps = tuple(s * t for s, t in zip(inner.steps, op.steps, strict=True))
    new = replace(op, x=inner.x, start=(start[0], start[1]), steps=(steps[0], steps[1]), nodes=op.nodes | inner.nodes)
    draft.swap([op], new)
    return True


@dataclass(frozen=True)
class Strided:
    """A convolution of ``x`` in place of one of a concat of its parts; ``gone``: what is not needed for it any more."""

    x: int
    steps: d.Pair
    weight: np.ndarray[Any, Any]
    gone: list[d.Op]


def focus(draft: d.Draft, op: d.Op) -> bool:
    """conv(concat(x[0::s, 0::s], x[1::s, 0::s], ...)) -> conv of x with a kernel and strides s times as large.

    Padding by p pixels of the parts is padding by s*p of x when x is a multiple of s.
    """
    if not isinstance(op, d.Conv) or op.groups != 1 or op.dilations != (1, 1):
        return False
    whole = draft.made_by(op.x, d.Assemble)
    parts = [] if whole is None else [(draft.made_by(part, d.Pick), place) for part, place in whole.parts]
    found = strided(draft, parts, op.weight)
    if whole is None or found is None:
        return False
    strides, pads = times(op.strides, found.steps), times(op.pads, found.steps)
    draft.swap([op, whole, *found.gone], replace(op, x=found.x, weight=found.weight, strides=strides, pads=pads))
    return True


def times(a: d.Pair, b: d.Pair) -> d.Pair:
    """The product along each axis."""
    return a[0] * b[0], a[1] * b[1]


def strided(
    draft: d.Draft, parts: Sequence[tuple[d.Pick | None, d.Channels | d.Pixels]], weight: np.ndarray[Any, Any]
) -> Strided | None:
    """The weight (Cout, Cin, kh, kw) of a concat of the parts as one of what they are picked from.

    Tap (i, j) of the part that starts at (oy, ox) reads x at s*i + oy, s*j + ox; the taps of several parts never meet
    when their starts differ. None where they might, where the parts are not what a stride leaves of one map, and where
    most of the taps would be zeros.
    """
    chosen = [pick for pick, _ in parts if pick is not None]
    if not chosen or len(chosen) < len(parts):
        return None
    first = chosen[0]
    if any(p.x != first.x or p.steps != first.steps or max(p.start) >= max(first.steps) for p in chosen):
        return None
    steps, source = first.steps, draft.maps[first.x]
    starts = [pick.start for pick in chosen]
    inside = all(o < s for start in starts for o, s in zip(start, steps, strict=True))
    sizes = {draft.maps[pick.out] for pick in chosen}
    expected = (source.height // steps[0], source.width // steps[1], source.channels)
    divides = source.height % steps[0] == 0 and source.width % steps[1] == 0
    sparse = 2 * len(starts) < steps[0] * steps[1]
    if sparse or len(set(starts)) < len(starts) or not inside or not divides or sizes != {expected}:
        return None
    out_channels, _, height, width = weight.shape
    wide = np.zeros((out_channels, source.channels, height * steps[0], width * steps[1]), weight.dtype)
    for pick, place in zip(chosen, (place for _, place in parts), strict=True):
        if not isinstance(place, d.Channels):
            return None
        part = weight[:, place.first : place.first + place.count]
        wide[:, :, pick.start[0] :: steps[0], pick.start[1] :: steps[1]] = part
    return Strided(first.x, steps, wide, list(chosen))


def zero_frame(draft: d.Draft, op: d.Op) -> bool:
    """conv(pad(x, 0)) -> conv with larger pads."""
    if not isinstance(op, d.Conv):
        return False
    frame = draft.made_by(op.x, d.Pad)
    if frame is None or frame.fill != 0:
        return False
    pads = (op.pads[0] + frame.before[0], op.pads[1] + frame.before[1])
    draft.swap([op, frame], replace(op, x=frame.x, pads=pads))
    return True


def flat_views(draft: d.Draft, op: d.Op) -> bool:
    """concat(x[:, :k], x[:, k:], ...) -> concat(x, ...)."""
    if not isinstance(op, d.Assemble):
        return False
    for i, (part, place) in enumerate(op.parts):
        view = draft.made_by(part, d.View, alone=False)
        if view is None or view.first != 0 or not isinstance(place, d.Channels):
            continue
        x, covered, end = view.x, 0, i
        while end < len(op.parts):
            following = draft.made_by(op.parts[end][0], d.View, alone=False)
            if following is None or following.x != x or following.first != covered:
                break
            covered += draft.maps[following.out].channels
            end += 1
        if covered == draft.maps[x].channels:
            parts = [*op.parts[:i], (x, d.Channels(place.first, covered)), *op.parts[end:]]
            draft.swap([op], replace(op, parts=parts))
            return True
    return False
