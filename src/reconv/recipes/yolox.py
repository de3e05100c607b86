"""YOLOX detectors (Ge et al. 2021, arXiv 2107.08430) as exported with one output (1, N, 5 + classes).

Input: BGR 0..255, scaled to fit, anchored at the top left, the rest 114. Output, one row per cell of the grids of
strides 8, 16 and 32: centre = (xy + cell) * stride, size = exp(wh) * stride, score = objectness * class. Boxes of one
class that overlap by more than 0.45 with a better one are dropped.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from reconv.recipes.agree import LIKELY, Boxes
from reconv.recipes.boxes import BoxRecipe
from reconv.recipes.pixels import PixelArithmetic
from reconv.recipes.recipe import Outputs

__all__ = ["Yolox"]

STRIDES = (8, 16, 32)


class Yolox(BoxRecipe):
    """A result is `Boxes`, see `BoxRecipe`."""

    name: ClassVar[str] = "yolox"
    multiple: ClassVar[int] = 32
    fill: ClassVar[int] = 114
    pixels = PixelArithmetic(channel_order="BGR")

    @np.errstate(over="ignore", invalid="ignore")  # boxes that are no numbers are left out
    def decode(self, outputs: Outputs) -> Boxes:
        cells = sum((self.size[0] // stride) * (self.size[1] // stride) for stride in STRIDES)
        array = next(iter(outputs.values()))
        self.expect(outputs, f"one output (1, {cells}, 5 + classes)", len(outputs) == 1)
        self.expect(outputs, f"an output (1, {cells}, 5 + classes)", array.ndim == 3 and array.shape[:2] == (1, cells))
        self.expect(outputs, f"an output (1, {cells}, 5 + classes)", array.shape[2] > 5)
        return self.kept(*self._candidates(array[0]), array.shape[2] - 5)

    def _candidates(self, rows: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Boxes (N, 4) as x, y, width, height in input pixels, scores (N,) and classes (N,), from `LIKELY` up."""
        (keep,) = np.nonzero(rows[:, 4] >= LIKELY)  # class scores are at most 1, and most cells end here
        score = rows[keep, 4:5] * rows[keep, 5:]
        best = score.max(1, initial=0)
        likely = best >= LIKELY
        keep, score, best = keep[likely], score[likely], best[likely]
        part, (cell, stride) = rows[keep, :4], self._grid
        extent = np.exp(part[:, 2:]) * stride[keep]
        corner = (part[:, :2] + cell[keep]) * stride[keep] - extent / 2
        return np.concatenate([corner, extent], 1).astype(np.float64), best, score.argmax(1)

    @cached_property
    def _grid(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Of each row of the output: its cell (N, 2) as x, y, and its stride (N, 1)."""
        cells, strides = [], []
        for stride in STRIDES:
            height, width = self.size[0] // stride, self.size[1] // stride
            index = np.arange(height * width)
            cells.append(np.stack([index % width, index // width], 1))
            strides.append(np.full((len(index), 1), stride, np.float32))
        return np.concatenate(cells), np.concatenate(strides)
