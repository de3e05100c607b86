"""DB text detectors (Liao et al. 2020, arXiv 1911.08947), as PP-OCR exports them: one probability map (1, 1, H, W).

Input: (pixel / 255 - 0.5) / 0.5 in BGR, multiples of 32. The map is thresholded at 0.3 and dilated by 2x2; of each
contour the smallest rectangle is taken, kept where the mean probability in it is 0.5 or more, and grown by
d = area * 1.6 / perimeter on every side, since the network is trained on shrunk text. (Growing the rectangle's polygon
by d and taking the smallest rectangle again, as PP-OCR does, gives the same rectangle.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from reconv.recipes.agree import Boxes, box_f1, equal_share
from reconv.recipes.nearness import box_drift
from reconv.recipes.pixels import PixelArithmetic, opencv
from reconv.recipes.recipe import Frame, Outputs, Recipe

__all__ = ["DbNet", "TextBoxes"]

TEXT = 0.3  # a pixel above is text
BOX = 0.5  # a box of a lower mean is dropped
GROWTH = 1.6
LEAST_SIDE, MOST_BOXES = 3, 1000


@dataclass(frozen=True, eq=False)
class TextBoxes:
    """`corners` (N, 4, 2) as x, y in frame pixels, `scores` (N,); `text` (H, W) says which input pixels are text."""

    corners: NDArray[Any]
    scores: NDArray[Any]
    text: NDArray[np.bool_]


class DbNet(Recipe):
    """A result is `TextBoxes`."""

    name: ClassVar[str] = "dbnet"
    multiple: ClassVar[int] = 32
    pixels = PixelArithmetic(scale=1 / 255, mean=(0.5,) * 3, std=(0.5,) * 3, channel_order="BGR")

    @np.errstate(over="ignore", invalid="ignore")  # boxes that are no numbers are left out
    def decode(self, outputs: Outputs) -> TextBoxes:
        height, width = self.size
        probability = next(iter(outputs.values()))
        fits = len(outputs) == 1 and probability.shape == (1, 1, height, width)
        self.expect(outputs, f"one output (1, 1, {height}, {width})", fits)
        probability = probability[0, 0]
        text = probability > TEXT
        cv2 = opencv()
        mask = cv2.dilate(text.astype(np.uint8), np.ones((2, 2), np.uint8))
        contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
        corners, scores = [], []
        for contour in contours[:MOST_BOXES]:
            centre, (w, h), angle = cv2.minAreaRect(contour)
            if min(w, h) < LEAST_SIDE:
                continue
            score = _mean_inside(probability, cv2.boxPoints((centre, (w, h), angle)))
            grown = 2 * (w * h * GROWTH / (2 * (w + h)))
            if BOX <= score < np.inf:
                corners.append(cv2.boxPoints((centre, (w + grown, h + grown), angle)))
                scores.append(score)
        order = np.argsort(-np.array(scores), kind="stable")
        found = self.letterbox.to_frame(np.array(corners, np.float64).reshape(-1, 4, 2)[order])
        limit = np.array([self.frame_shape[1], self.frame_shape[0]], np.float64)
        return TextBoxes(np.clip(found, 0, limit), np.array(scores)[order], text)

    def agreement(self, results: Sequence[TextBoxes], dense_results: Sequence[TextBoxes]) -> dict[str, float]:
        """F1 of the boxes' bounding rectangles at an overlap above 0.75; share of equal thresholded pixels."""
        ours, dense = ([_upright(result) for result in side] for side in (results, dense_results))
        pixels = equal_share([r.text for r in results], [r.text for r in dense_results])
        return {"f1@0.75": box_f1(ours, dense, 0.75), "equal_pixels": pixels}

    def drift(self, result: TextBoxes, dense_result: TextBoxes) -> float:
        return box_drift(_upright(result), _upright(dense_result))

    def draw(self, frame: Frame, result: TextBoxes) -> Frame:
        picture = frame.copy()
        opencv().polylines(picture, list(result.corners.round().astype(np.int32)), True, (40, 90, 240), 2)
        return picture

    def to_json(self, result: TextBoxes) -> Any:
        return [
            {"corners": corners.round(1).tolist(), "score": round(float(score), 4)}
            for corners, score in zip(result.corners, result.scores, strict=True)
        ]


def _upright(result: TextBoxes) -> Boxes:
    corners = np.concatenate([result.corners.min(1), result.corners.max(1)], 1)
    return Boxes(corners, result.scores, np.zeros(len(result.scores), np.int64))


def _mean_inside(probability: NDArray[Any], corners: NDArray[Any]) -> float:
    """Mean probability inside a polygon (4, 2), over its bounding rectangle's pixels that it covers."""
    height, width = probability.shape
    x0, y0 = np.clip(np.floor(corners.min(0)).astype(int), 0, (width - 1, height - 1))
    x1, y1 = np.clip(np.ceil(corners.max(0)).astype(int), 0, (width - 1, height - 1))
    mask = np.zeros((y1 - y0 + 1, x1 - x0 + 1), np.uint8)
    opencv().fillPoly(mask, [(corners - (x0, y0)).astype(np.int32)], 1)
    inside = probability[y0 : y1 + 1, x0 : x1 + 1][mask.astype(bool)]
    return float(inside.mean()) if inside.size else 0.0
