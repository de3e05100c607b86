"""YOLOv8 detectors, and those of the same head (YOLOv9, YOLO11), as Ultralytics exports them: (1, 4 + classes, N).

Input: RGB / 255, scaled to fit, the rest 114. Output, one column per cell of the grids of the strides: centre x and y,
width and height in input pixels, then a score 0..1 for each class. Of each cell the best class counts; boxes of one
class that overlap a better one by more than 0.45 are dropped. The frame lies at the upper left, not in the middle: the
network sees the same picture, and a frame that fits is copied as it is.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from reconv.recipes.agree import LIKELY, Boxes
from reconv.recipes.boxes import BoxRecipe
from reconv.recipes.names import names_of
from reconv.recipes.pixels import PixelArithmetic
from reconv.recipes.recipe import Ends, Outputs, Size

__all__ = ["Yolov8"]

STRIDES = ((8, 16, 32), (4, 8, 16, 32), (8, 16, 32, 64))  # the usual head, and those for small and for large things


class Yolov8(BoxRecipe):
    """A result is `Boxes`, see `BoxRecipe`; `names` are those that the model's file holds."""

    name: ClassVar[str] = "yolov8"
    multiple: ClassVar[int] = 32
    fill: ClassVar[int] = 114
    pixels = PixelArithmetic(scale=1 / 255)

    @classmethod
    def for_model(cls, model: Ends, frame_shape: Size | None, size: Size | None) -> Yolov8:
        recipe = cls(model.inputs[0], frame_shape, size)
        recipe.names = names_of(model)
        return recipe

    @np.errstate(over="ignore", invalid="ignore")  # boxes that are no numbers are left out
    def decode(self, outputs: Outputs) -> Boxes:
        height, width = self.size
        cells = [sum((height // stride) * (width // stride) for stride in strides) for strides in STRIDES]
        array = next(iter(outputs.values()))
        fits = len(outputs) == 1 and array.ndim == 3 and array.shape[0] == 1 and array.shape[1] > 4
        self.expect(outputs, f"one output (1, 4 + classes, {cells[0]})", fits and array.shape[2] in cells)
        scores = array[0, 4:]
        best = scores.max(0)
        (keep,) = np.nonzero(best >= LIKELY)
        boxes = array[0, :4, keep].astype(np.float64)
        boxes[:, :2] -= boxes[:, 2:] / 2
        return self.kept(boxes, best[keep], scores[:, keep].argmax(0), len(scores))
