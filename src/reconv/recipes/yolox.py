"""YOLOX detectors (Ge et al. 2021, arXiv 2107.08430) as exported with one output (1, N, 5 + classes).

Input: BGR 0..255, scaled to fit, anchored at the top left, the rest 114. Output, one row per cell of the grids of
strides 8, 16 and 32: centre = (xy + cell) * stride, size = exp(wh) * stride, score = objectness * class. Boxes of one
class that overlap by more than 0.45 with a better one are dropped.
"""

from __future__ import annotations

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
        boxes, scores, classes, offset = [], [], [], 0
        for stride in STRIDES:
            height, width = self.size[0] // stride, self.size[1] // stride
            part, offset = rows[offset : offset + height * width], offset + height * width
            (keep,) = np.nonzero(part[:, 4] >= LIKELY)  # class scores are at most 1, and most cells end here
            score = part[keep, 4:5] * part[keep, 5:]
            likely = score.max(1, initial=0) >= LIKELY
            keep, score = keep[likely], score[likely]
            part = part[keep]
            cell = np.stack([keep % width, keep // width], 1)
            extent = np.exp(part[:, 2:4]) * stride
            boxes.append(np.concatenate([(part[:, :2] + cell) * stride - extent / 2, extent], 1))
            scores.append(score.max(1, initial=0))
            classes.append(score.argmax(1))
        return np.concatenate(boxes).astype(np.float64), np.concatenate(scores), np.concatenate(classes)
