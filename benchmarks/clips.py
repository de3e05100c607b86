"""Clips as networks' inputs: frames of a video file through a recipe."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from reconv.graph import load
from reconv.measure import Array
from reconv.recipes import RECIPES, Recipe

Frame = np.ndarray[Any, Any]


def read(path: Path, skip: int = 0, count: int | None = None) -> Iterator[Frame]:
    """uint8 (H, W, 3), blue, green, red: `count` frames (None: all) after the first `skip`."""
    capture = cv2.VideoCapture(str(path))
    try:
        yield from itertools.islice(_captured(capture), skip, None if count is None else skip + count)
    finally:
        capture.release()


def _captured(capture: cv2.VideoCapture) -> Iterator[Frame]:
    more, frame = capture.read()
    while more:
        yield frame
        more, frame = capture.read()


class ClipInputs:
    """A clip as inputs of one model: letterboxed to `size` (height, width), as the recipe wants its pixels."""

    def __init__(self, model: Path, recipe: str, clip: Path, size: tuple[int, int]) -> None:
        info = load(model).inputs[0]
        frame_shape = next(read(clip, count=1)).shape[:2]
        self.model, self.clip, self.input = model, clip, info.name
        self.recipe: Recipe = RECIPES[recipe](info, (frame_shape[0], frame_shape[1]), size)

    def frames(self, skip: int = 0, count: int | None = None) -> Iterator[dict[str, Array]]:
        for frame in read(self.clip, skip, count):
            yield {self.input: self.recipe.preprocess(frame)}
