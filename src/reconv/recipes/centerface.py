"""CenterFace, a detector of faces (Xu et al. 2019, arXiv 1911.03599): heat map, sizes, offsets and landmarks.

Input: RGB 0..255, multiples of 32. Four outputs over a grid of stride 4, in this order: how sure there is the middle of
a face (1, 1, h, w); the logarithms of its height and width in cells; how far down and to the right of the cell the
middle is; and five landmarks as y and x, in shares of the face's height and width from its upper left corner:

    height = 4 exp(scale_y)         middle_y = 4 (y + offset_y + 0.5)         and so for x
    landmark_y = top + height * landmark

Faces that overlap a better one by more than 0.3 are dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from reconv.recipes.agree import LIKELY, SURE, Boxes
from reconv.recipes.boxes import FARTHEST, BoxRecipe
from reconv.recipes.pixels import PixelArithmetic, opencv
from reconv.recipes.recipe import Frame, Outputs

__all__ = ["CenterFace", "Faces"]

STRIDE = 4
POINTS = ("right eye", "left eye", "nose", "right mouth corner", "left mouth corner")  # of the person seen


@dataclass(frozen=True, eq=False)
class Faces(Boxes):
    """Boxes of faces with `landmarks` (N, 5, 2) as x, y in frame pixels: eyes, nose, corners of the mouth."""

    landmarks: NDArray[Any] = field(default_factory=lambda: np.zeros((0, len(POINTS), 2)))

    def where(self, keep: NDArray[Any]) -> Faces:
        return replace(super().where(keep), landmarks=self.landmarks[keep])


class CenterFace(BoxRecipe):
    """A result is `Faces`."""

    name: ClassVar[str] = "centerface"
    multiple: ClassVar[int] = 32
    overlap: ClassVar[float] = 0.3
    names = ("face",)
    pixels = PixelArithmetic()

    @np.errstate(over="ignore", invalid="ignore")  # boxes that are no numbers are left out
    def decode(self, outputs: Outputs) -> Faces:
        grid = (self.size[0] // STRIDE, self.size[1] // STRIDE)
        channels = (1, 2, 2, 2 * len(POINTS))
        wanted = [(1, count, *grid) for count in channels]
        fits = [array.shape for array in outputs.values()] == wanted
        self.expect(outputs, "four outputs " + ", ".join(str(shape) for shape in wanted), fits)
        heat, scale, offset, landmark = (array[0] for array in outputs.values())
        cells = np.argwhere(heat[0] >= LIKELY)  # (N, 2) as y, x
        y, x = cells.T
        limit = np.array(self.size, np.float64)
        extent = np.exp(scale[:, y, x].T.astype(np.float64)) * STRIDE
        first = np.clip((cells + offset[:, y, x].T + 0.5) * STRIDE - extent / 2, 0, limit)
        last = np.minimum(first + extent, limit)
        points = landmark[:, y, x].T.reshape(-1, len(POINTS), 2) * extent[:, None] + first[:, None]
        boxes = np.concatenate([first[:, ::-1], (last - first)[:, ::-1]], 1)
        scores, classes = heat[0, y, x], np.zeros(len(cells), np.int64)
        scores = np.where(np.isfinite(points).all((1, 2)), scores, np.nan)
        index = self.best(boxes, scores, classes)
        landmarks = self.letterbox.to_frame(points[index][..., ::-1])
        return Faces(self.corners(boxes[index]), scores[index], classes[index], 1, landmarks)

    def draw(self, frame: Frame, result: Boxes) -> Frame:
        picture = super().draw(frame, result)
        for points in _landmarks(result.at_least(SURE)):
            for x, y in points:
                opencv().circle(
                    picture, tuple(round(float(v)) for v in np.clip((x, y), -FARTHEST, FARTHEST)), 2, (40, 90, 240), -1
                )
        return picture

    def to_json(self, result: Boxes) -> Any:
        faces = super().to_json(result)
        for face, points in zip(faces, _landmarks(result.at_least(SURE)), strict=True):
            face["landmarks"] = {
                name: [round(float(v), 2) for v in point] for name, point in zip(POINTS, points, strict=True)
            }
        return faces


def _landmarks(result: Boxes) -> NDArray[Any]:
    assert isinstance(result, Faces)
    return result.landmarks
