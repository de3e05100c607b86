"""Letterboxing anchored at the top left: scaled to fit, the rest filled. Frame pixel (x, y) lands at (x, y) * ratio."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reconv.recipes.pixels import opencv

__all__ = ["Letterbox"]


class Letterbox:
    """Frames of `frame_shape` (height, width) in a picture of `size` (height, width).

    A frame that fits unscaled is copied, not resampled, so that equal pixels stay equal.
    """

    def __init__(self, frame_shape: tuple[int, int], size: tuple[int, int]) -> None:
        self.frame_shape, self.size = frame_shape, size
        self.ratio = min(size[0] / frame_shape[0], size[1] / frame_shape[1])
        self.inner = (max(1, int(frame_shape[0] * self.ratio)), max(1, int(frame_shape[1] * self.ratio)))

    def apply(self, frame: NDArray[Any], fill: int) -> NDArray[Any]:
        """The frame (H, W, 3) in the upper left of a picture of `size` filled with `fill`."""
        if frame.shape[:2] == self.size:
            return frame
        height, width = self.inner
        picture = np.full((*self.size, 3), fill, frame.dtype)
        picture[:height, :width] = frame if frame.shape[:2] == self.inner else opencv().resize(frame, (width, height))
        return picture

    def undo(self, plane: NDArray[Any]) -> NDArray[Any]:
        """A plane (height, width) over the picture, laid over the frame: each frame pixel takes the nearest value."""
        inner = plane[: self.inner[0], : self.inner[1]]
        if self.inner == self.frame_shape:
            return inner
        rows, columns = (np.arange(n) * m // n for n, m in zip(self.frame_shape, self.inner, strict=True))
        return inner[rows[:, None], columns[None, :]]
