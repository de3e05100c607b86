"""Fusion rules: data movement that the op which reads it takes over."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from reconv.engine.lower import draft as d

__all__ = ["flat_views", "focus", "picked_twice", "zero_frame"]


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


def focus(draft: d.Draft, op: d.Op) -> bool:
    """conv(concat(x[0::s, 0::s], x[1::s, 0::s], ...)) -> conv of x with a kernel and strides s times as large.

    Tap (i, j) of the part that starts at (oy, ox) reads x at s*i + oy, s*j + ox; the taps of several parts never meet
    when their starts differ. Padding by p pixels of the parts is padding by s*p of x when x is a multiple of s.
    """
    if not isinstance(op, d.Conv) or op.groups != 1 or op.dilations != (1, 1):
        return False
    whole = draft.made_by(op.x, d.Assemble)
    if whole is None:
        return False
    picks = [draft.made_by(part, d.Pick) for part, _ in whole.parts]
    first = picks[0]
    if first is None or any(
        pick is None or pick.x != first.x or pick.steps != first.steps or max(pick.start) >= max(first.steps)
        for pick in picks
    ):
        return False
    chosen = [pick for pick in picks if pick is not None]
    steps, source = first.steps, draft.maps[first.x]
    starts = [pick.start for pick in chosen]
    inside = all(o < s for start in starts for o, s in zip(start, steps, strict=True))
    sizes = {draft.maps[pick.out] for pick in chosen}
    expected = (source.height // steps[0], source.width // steps[1], source.channels)
    divides = source.height % steps[0] == 0 and source.width % steps[1] == 0
    sparse = 2 * len(starts) < steps[0] * steps[1]  # mostly zero taps: not worth it
    if sparse or len(set(starts)) < len(starts) or not inside or not divides or sizes != {expected}:
        return False
    out_channels, _, height, width = op.weight.shape
    weight = np.zeros((out_channels, source.channels, height * steps[0], width * steps[1]), np.float32)
    for pick, (_, place) in zip(chosen, whole.parts, strict=True):
        if not isinstance(place, d.Channels):
            return False
        part = op.weight[:, place.first : place.first + place.count]
        weight[:, :, pick.start[0] :: steps[0], pick.start[1] :: steps[1]] = part
    new = replace(
        op,
        x=first.x,
        weight=weight,
        strides=(op.strides[0] * steps[0], op.strides[1] * steps[1]),
        pads=(op.pads[0] * steps[0], op.pads[1] * steps[1]),
    )
    draft.swap([op, whole, *chosen], new)
    return True


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
