"""How much of a frame moved since the last one, from a few rows of it: what a plain stream asks before it has lists.

The rows are compared as the engine compares inputs: a pixel moved where sqrt(sum_c w_c (new_c - old_c)^2) is above the
tolerance, at tolerance 0 where a bit differs. About eight rows are seen, so this costs some ten microseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reconv.engine.compiled import Compiled
from reconv.engine.lower import Border
from reconv.engine.pixels import Feed, Picture, in_floats

__all__ = ["Glance"]

Floats = NDArray[np.float32]

ROWS = 8


class Glance:
    """Rows of the inputs of one item that the engine reads.

    Args:
        compiled: what the item runs on.
        weights: w_c (C,) by input; empty at tolerance 0.
        tolerance: of the stream.
    """

    def __init__(self, compiled: Compiled, weights: Mapping[str, Floats], tolerance: float) -> None:
        self._compiled, self._weights, self._tolerance = compiled, weights, tolerance
        self._kept: dict[str, Floats] = {}

    def keep(self, feeds: Mapping[str, Feed]) -> None:
        """The frame to compare the next one with."""
        self._kept = self._rows(feeds)

    def moved(self, feeds: Mapping[str, Feed]) -> float | None:
        """Share of the pixels seen that moved since `keep`, of the input of which most did; None without `keep`."""
        if not self._kept:
            return None
        rows = self._rows(feeds)
        return max(self._share(name, self._kept[name], new) for name, new in rows.items())

    def _share(self, name: str, old: Floats, new: Floats) -> float:
        weights = self._weights.get(name)
        if weights is None:
            moved = (old.view(np.uint32) != new.view(np.uint32)).any(axis=0)
        else:
            with np.errstate(over="ignore", invalid="ignore"):  # what is not finite has moved
                moved = ~(np.tensordot(weights, np.square(new - old), 1) <= self._tolerance**2)
        return float(np.count_nonzero(moved) / moved.size)

    def _rows(self, feeds: Mapping[str, Feed]) -> dict[str, Floats]:
        return {border.name: self._of(border, feeds[border.name]) for border in self._compiled.lowered.inputs}

    def _of(self, border: Border, feed: Feed) -> Floats:
        """(C, rows, W), a copy."""
        plan = self._compiled.lowered.plan
        height, width, channels = plan.size(border.map)
        apart = max(1, height // ROWS)
        seen = slice(apart // 2, None, apart)
        if isinstance(feed, Picture) and feed.bytes.shape == (height, width, channels):
            made = feed.pixels.apply(feed.bytes[seen])[0]
            return np.ascontiguousarray(made if feed.pixels.layout == "NCHW" else made.transpose(2, 0, 1))
        flat: Any = np.ascontiguousarray(in_floats(feed)).reshape(-1)
        own = tuple(plan.input_strides(border.index))
        usual = (width, 1, height * width)
        if own == usual:  # (C, H, W): quicker than any strides
            planes = flat.reshape(channels, height, width)
        else:
            strides = tuple(flat.itemsize * own[axis] for axis in (2, 0, 1))
            planes = np.lib.stride_tricks.as_strided(flat, (channels, height, width), strides, writeable=False)
        return np.array(planes[:, seen], np.float32, order="C")
