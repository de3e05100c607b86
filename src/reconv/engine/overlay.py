"""Where a step worked, as pictures: for overlays and reports, not needed to run."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reconv.engine.paced import PacedItem
from reconv.errors import InputError

__all__ = ["recomputed_map", "stale_pixels"]


def stale_pixels(item: PacedItem, name: str | None) -> NDArray[np.bool_]:
    """Pixels (H, W) of an input that the last step stored anew."""
    borders = {border.name: border for border in item.compiled.lowered.inputs}
    if name is None and len(borders) == 1:
        name = next(iter(borders))
    if name not in borders or item.state is None:
        known = ", ".join(repr(known) for known in borders) or "none"
        raise InputError(f"{name!r} is not an input that the engine reads as an image; those are: {known}")
    if item.ran_plain:
        return np.ones(item.compiled.lowered.plan.size(borders[name].map)[:2], np.bool_)
    return item.state.stale(borders[name].map)


def recomputed_map(item: PacedItem, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Share (H, W) of the multiply-adds above each pixel that the last step spent.

    Every op's work is spread evenly over the image, and its list of recomputed pixels is laid over the image by
    nearest neighbour, so the mean of the picture is the engine's recomputed share (but for rounding at the borders).
    """
    if item.ran_plain:
        return np.ones(shape, np.float32)
    spent = np.zeros(shape, np.float64)
    state = item.state
    if state is None:
        return spent.astype(np.float32)
    by_size: dict[tuple[int, int], NDArray[np.float64]] = {}
    total = 0
    for op, macs in enumerate(item.compiled.lowered.plan.op_macs()):
        if macs:
            todo = state.todo(op)
            layer = by_size.setdefault((todo.shape[0], todo.shape[1]), np.zeros(todo.shape, np.float64))
            layer += macs * todo
            total += macs
    for (height, width), layer in by_size.items():
        rows = np.arange(shape[0]) * height // shape[0]
        columns = np.arange(shape[1]) * width // shape[1]
        spent += layer[np.ix_(rows, columns)]
    return (spent / max(total, 1)).astype(np.float32)
