"""Where a frame lies in the network's input: scaled to fit, its middle cut out, or surrounded by its own edge.

All three say which rectangle of the frame is seen, how large it becomes and where it is put, and undo that for planes
and points. What fits unscaled is copied, not resampled, so that equal pixels stay equal.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reconv.engine.room import check_room, no_room
from reconv.recipes.pixels import opencv

__all__ = ["Bordered", "CentreCrop", "Letterbox"]

Size = tuple[int, int]  # height, width
PIXEL_BYTES = 3 + 3 * 4  # a pixel of the picture, and as the network's floats
NO_MEMORY = -4  # the code of OpenCV's error, StsNoMem


class Letterbox:
    """Frames of `frame_shape` in the upper left of a picture of `size`, scaled to fit, the rest filled.

    A frame that is less than `slack` pixels smaller than the picture, in height and in width, stays as large as it is:
    the picture is larger only because networks take multiples of some number.

    Attributes, each (height, width) or (y, x): `start` and `seen`, where the part of the frame that is seen begins and
    how large it is; `inner` and `corner`, how large it becomes and where it lies in the picture.

    Raises InputError for a picture of more than the machine's memory.
    """

    def __init__(self, frame_shape: Size, size: Size, slack: int = 1) -> None:
        check_room(PIXEL_BYTES * size[0] * size[1], f"a picture of {size[0]}x{size[1]} for the network")
        self.frame_shape, self.size = frame_shape, size
        self.start, self.seen = (0, 0), frame_shape
        nearly = all(0 <= extent - own < slack for own, extent in zip(frame_shape, size, strict=True))
        self.corner, self.inner = (0, 0), frame_shape if nearly else _fitted(frame_shape, size)

    @property
    def ratio(self) -> float:
        """Pixels of the picture per pixel of the frame, to a pixel's rounding; see `to_frame`."""
        return max(inner / seen for inner, seen in zip(self.inner, self.seen, strict=True))

    def apply(self, frame: NDArray[Any], fill: int) -> NDArray[Any]:
        """The frame (H, W, 3) as a picture of `size`, with `fill` where the frame is not. Raises InputError when memory
        runs out."""
        try:
            return self._laid(frame, fill)
        except Exception as error:
            if isinstance(error, MemoryError) or getattr(error, "code", 0) == NO_MEMORY:
                raise no_room("a frame at the network's size", error) from error
            raise

    def _laid(self, frame: NDArray[Any], fill: int) -> NDArray[Any]:
        part = self._scaled(frame)
        if self.inner == self.size:
            return part
        picture = np.full((*self.size, 3), fill, frame.dtype)
        (top, left), (height, width) = self.corner, self.inner
        picture[top : top + height, left : left + width] = part
        return picture

    def _scaled(self, frame: NDArray[Any]) -> NDArray[Any]:
        """The part of the frame that is seen, `inner` large."""
        (top, left), (height, width) = self.start, self.seen
        part = frame[top : top + height, left : left + width]
        if self.seen == self.inner:
            return part
        cv2 = opencv()
        return np.asarray(cv2.resize(part, self.inner[::-1], interpolation=self._interpolation(cv2)))

    def _interpolation(self, cv2: Any) -> int:
        return int(cv2.INTER_LINEAR)

    def undo(self, plane: NDArray[Any]) -> NDArray[Any]:
        """A plane (height, width) over the picture, laid over the frame: each frame pixel takes the nearest value, 0
        where the frame is not seen."""
        (top, left), (height, width) = self.corner, self.inner
        laid = plane[top : top + height, left : left + width]
        if self.inner != self.seen:
            rows, columns = (np.arange(n) * m // n for n, m in zip(self.seen, self.inner, strict=True))
            laid = laid[rows[:, None], columns[None, :]]
        if self.seen == self.frame_shape:
            return laid
        whole = np.zeros(self.frame_shape, plane.dtype)
        whole[self.start[0] : self.start[0] + self.seen[0], self.start[1] : self.start[1] + self.seen[1]] = laid
        return whole

    def to_frame(self, points: NDArray[Any]) -> NDArray[np.float64]:
        """Points (..., 2) as x, y in the picture, in pixels of the frame."""
        corner, scale, start = self._way_back
        return np.asarray((points - corner) * scale + start, np.float64)

    @cached_property
    def _way_back(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        corner, start = (np.array(place[::-1], np.float64) for place in (self.corner, self.start))
        return corner, np.array(self.seen[::-1], np.float64) / self.inner[::-1], start


class CentreCrop(Letterbox):
    """The middle of the frame in all of the picture: what is left of the frame when it is scaled until the picture is
    `share` of what it covers, and cut. `share` None scales the whole frame, whatever becomes of its proportions.

    A frame of the picture's own size is taken as it is: it has been cut before.
    """

    def __init__(self, frame_shape: Size, size: Size, share: float | None) -> None:
        super().__init__(frame_shape, size)
        self.inner = size
        if share is not None and frame_shape != size:
            ratio = max(extent / own for extent, own in zip(size, frame_shape, strict=True)) / share
            height, width = (
                max(1, min(own, round(extent / ratio))) for extent, own in zip(size, frame_shape, strict=True)
            )
            self.seen = (height, width)
            self.start = ((frame_shape[0] - height) // 2, (frame_shape[1] - width) // 2)

    def _interpolation(self, cv2: Any) -> int:
        """Means over areas where pixels become fewer: fine patterns would turn into coarse ones that are not there."""
        fewer = all(inner <= seen for inner, seen in zip(self.inner, self.seen, strict=True))
        return int(cv2.INTER_AREA if fewer else cv2.INTER_LINEAR)


class Bordered(Letterbox):
    """The frame with a border of `margin` pixels where there is room, made of its own outermost pixels repeated; never
    larger than it is, and smaller only where it would not fit."""

    def __init__(self, frame_shape: Size, size: Size, margin: int) -> None:
        super().__init__(frame_shape, size)
        if all(own <= extent for own, extent in zip(frame_shape, size, strict=True)):
            self.inner = frame_shape
        rest = (extent - inner for extent, inner in zip(size, self.inner, strict=True))
        top, left = (min(margin, extent // 2) for extent in rest)
        self.corner = (top, left)

    def _laid(self, frame: NDArray[Any], fill: int) -> NDArray[Any]:  # noqa: ARG002 - nothing is filled
        part = self._scaled(frame)
        (top, left), (height, width) = self.corner, self.inner
        if self.inner == self.size:
            return part
        below, right = self.size[0] - top - height, self.size[1] - left - width
        cv2 = opencv()
        return np.asarray(cv2.copyMakeBorder(part, top, below, left, right, cv2.BORDER_REPLICATE))


def _fitted(frame_shape: Size, size: Size) -> Size:
    """The largest (height, width) of the frame's proportions in `size`, in whole numbers without a detour."""
    height = min(size[0], frame_shape[0] * size[1] // frame_shape[1])
    width = min(size[1], frame_shape[1] * size[0] // frame_shape[0])
    return max(1, height), max(1, width)
