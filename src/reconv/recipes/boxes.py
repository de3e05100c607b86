"""What detectors of boxes have in common: the better of overlapping boxes, agreement, drawing, JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from reconv.recipes.agree import LIKELY, SURE, Boxes, box_f1
from reconv.recipes.coco import COCO_NAMES
from reconv.recipes.nearness import box_drift
from reconv.recipes.pixels import opencv
from reconv.recipes.recipe import Frame, Recipe

__all__ = ["FARTHEST", "BoxRecipe"]

FARTHEST = 1 << 14  # from the frame's corner, in pixels: what OpenCV draws to
COLOURS = ((60, 180, 75), (230, 120, 30), (40, 90, 240), (200, 60, 180), (20, 170, 210), (150, 150, 30))


class BoxRecipe(Recipe):
    """A result is `Boxes` in frame pixels down to the score of 0.2; only those from 0.3 are shown and written.

    `names` are those of the classes; where there are none, 80 classes are COCO's and others have numbers.
    """

    overlap: ClassVar[float] = 0.45  # boxes of one class that overlap a better one by more are the same object
    names: Sequence[str] = ()

    def kept(self, boxes: NDArray[Any], scores: NDArray[Any], classes: NDArray[Any], kinds: int) -> Boxes:
        """The best boxes of each object, best first, in frame pixels.

        boxes: (N, 4) as x, y, width, height in pixels of the network's input; kinds: how many classes there are.
        """
        index = self.best(boxes, scores, classes)
        return Boxes(self.corners(boxes[index]), scores[index], classes[index].astype(np.int64), kinds)

    def corners(self, boxes: NDArray[Any]) -> NDArray[np.float64]:
        """Boxes (N, 4) as x, y, width, height in the network's input as x0, y0, x1, y1 in frame pixels."""
        sides = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
        return self.letterbox.to_frame(sides.reshape(-1, 2, 2)).reshape(-1, 4)

    def best(self, boxes: NDArray[Any], scores: NDArray[Any], classes: NDArray[Any]) -> NDArray[np.int64]:
        """Which of boxes (N, 4) as x, y, width, height stay when of each object only the best does, best first.

        What a network says that is no number is no box.
        """
        (finite,) = np.nonzero(np.isfinite(boxes).all(1) & np.isfinite(scores))
        if not len(finite):
            return np.zeros(0, np.int64)
        parts = (array[finite].tolist() for array in (boxes, scores, classes))
        found = opencv().dnn.NMSBoxesBatched(*parts, LIKELY, self.overlap)
        index = finite[np.asarray(found, np.int64).reshape(-1)]
        return index[np.argsort(-scores[index], kind="stable")]

    def agreement(self, results: Sequence[Boxes], dense_results: Sequence[Boxes]) -> dict[str, float]:
        """F1 of boxes at an overlap above 0.75 and above 0.5; see `reconv.recipes.agree`."""
        return {f"f1@{iou:g}": box_f1(results, dense_results, iou) for iou in (0.75, 0.5)}

    def drift(self, result: Boxes, dense_result: Boxes) -> float:
        return box_drift(result, dense_result)

    def draw(self, frame: Frame, result: Boxes) -> Frame:
        cv2, picture = opencv(), frame.copy()
        sure = result.at_least(SURE)
        for box, score, cls in zip(sure.corners, sure.scores, sure.classes, strict=True):
            x0, y0, x1, y1 = (round(float(v)) for v in np.clip(box, -FARTHEST, FARTHEST))
            colour = COLOURS[int(cls) % len(COLOURS)]
            cv2.rectangle(picture, (x0, y0), (x1, y1), colour, 2)
            text = f"{self.class_name(int(cls), result.kinds)} {score:.2f}"
            cv2.putText(picture, text, (x0, max(y0 - 4, 10)), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)
        return picture

    def to_json(self, result: Boxes) -> Any:
        sure = result.at_least(SURE)
        return [
            {
                "box": [round(float(v), 2) for v in box],
                "score": round(float(score), 4),
                "class": self.class_name(int(cls), result.kinds),
            }
            for box, score, cls in zip(sure.corners, sure.scores, sure.classes, strict=True)
        ]

    def class_name(self, cls: int, kinds: int) -> str:
        """What class `cls` of `kinds` is called."""
        names = self.names or (COCO_NAMES if kinds == len(COCO_NAMES) else ())
        return names[cls] if cls < len(names) else str(cls)
