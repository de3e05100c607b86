"""YOLOX detectors (Ge et al. 2021, arXiv 2107.08430) as exported with one output (1, N, 5 + classes).

Input: BGR 0..255, scaled to fit, anchored at the top left, the rest 114. Output, one row per cell of the grids of
strides 8, 16 and 32: centre = (xy + cell) * stride, size = exp(wh) * stride, score = objectness * class. Boxes of one
class that overlap by more than 0.45 with a better one are dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from reconv.recipes.agree import LIKELY, SURE, Boxes, box_f1
from reconv.recipes.coco import COCO_NAMES
from reconv.recipes.pixels import PixelArithmetic, opencv
from reconv.recipes.recipe import Frame, Outputs, Recipe

__all__ = ["Yolox"]

STRIDES = (8, 16, 32)
OVERLAP = 0.45


class Yolox(Recipe):
    """A result is `Boxes` in frame pixels down to the score of 0.2; only those from 0.3 are shown and written."""

    name: ClassVar[str] = "yolox"
    multiple: ClassVar[int] = 32
    fill: ClassVar[int] = 114
    pixels = PixelArithmetic(channel_order="BGR")

    def decode(self, outputs: Outputs) -> Boxes:
        cells = sum((self.size[0] // stride) * (self.size[1] // stride) for stride in STRIDES)
        array = next(iter(outputs.values()))
        self._output(outputs, f"one output (1, {cells}, 5 + classes)", len(outputs) == 1)
        self._output(outputs, f"an output (1, {cells}, 5 + classes)", array.ndim == 3 and array.shape[:2] == (1, cells))
        self._output(outputs, f"an output (1, {cells}, 5 + classes)", array.shape[2] > 5)
        boxes, scores, classes = self._candidates(array[0])
        if not len(scores):
            return Boxes(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))
        kept = opencv().dnn.NMSBoxesBatched(boxes.tolist(), scores.tolist(), classes.tolist(), LIKELY, OVERLAP)
        index = np.asarray(kept, np.int64).reshape(-1)
        index = index[np.argsort(-scores[index], kind="stable")]
        ratio = self.letterbox.ratio
        corners = np.concatenate([boxes[index, :2], boxes[index, :2] + boxes[index, 2:]], 1) / ratio
        return Boxes(corners, scores[index], classes[index])

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

    def agreement(self, results: Sequence[Boxes], dense_results: Sequence[Boxes]) -> dict[str, float]:
        """F1 of boxes at an overlap above 0.75 and above 0.5; see `reconv.recipes.agree`."""
        return {f"f1@{iou:g}": box_f1(results, dense_results, iou) for iou in (0.75, 0.5)}

    def draw(self, frame: Frame, result: Boxes) -> Frame:
        cv2, picture = opencv(), frame.copy()
        sure = result.at_least(SURE)
        for box, score, cls in zip(sure.corners, sure.scores, sure.classes, strict=True):
            x0, y0, x1, y1 = (round(float(v)) for v in box)
            colour = _COLOURS[int(cls) % len(_COLOURS)]
            cv2.rectangle(picture, (x0, y0), (x1, y1), colour, 2)
            text = f"{_name(int(cls))} {score:.2f}"
            cv2.putText(picture, text, (x0, max(y0 - 4, 10)), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)
        return picture

    def to_json(self, result: Boxes) -> Any:
        sure = result.at_least(SURE)
        return [
            {"box": [round(float(v), 2) for v in box], "score": round(float(score), 4), "class": _name(int(cls))}
            for box, score, cls in zip(sure.corners, sure.scores, sure.classes, strict=True)
        ]


_COLOURS = ((60, 180, 75), (230, 120, 30), (40, 90, 240), (200, 60, 180), (20, 170, 210), (150, 150, 30))


def _name(cls: int) -> str:
    return COCO_NAMES[cls] if cls < len(COCO_NAMES) else str(cls)
