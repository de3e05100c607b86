"""What a recipe is: the steps around one model family, at one size of the network's input.

    frame -> preprocess -> [the network] -> decode -> result

and three things said about results: how much two runs agree, how a result is drawn on its frame, and how it is written
as JSON. A recipe holds no state between frames, so one object may serve several streams of frames of one size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from reconv.errors import InputError
from reconv.graph import TensorInfo
from reconv.recipes.letterbox import Letterbox
from reconv.recipes.pixels import PixelArithmetic, input_size

__all__ = ["Frame", "Outputs", "Recipe", "Size"]

Frame = NDArray[Any]  # uint8 (H, W, 3), blue, green, red
Outputs = Mapping[str, NDArray[Any]]
Size = tuple[int, int]  # height, width


class Recipe(ABC):
    """One model family at one input size.

    Args:
        input: the network's input as the model declares it.
        frame_shape: (height, width) of the frames to come; None when the source is not made of pictures.
        size: (height, width) of the network's input; None takes the size that the model fixes, else that of the
            frames, rounded up to a multiple of `multiple`.

    Raises:
        InputError: the input is not a picture of three channels, or the size is not one that the network can run.
    """

    name: ClassVar[str]
    multiple: ClassVar[int] = 1
    fill: ClassVar[int] = 0  # what surrounds a letterboxed frame
    pixels: PixelArithmetic

    def __init__(self, input: TensorInfo, frame_shape: Size | None, size: Size | None) -> None:
        self.input = input
        self.size: Size = input_size(self.name, input, self.pixels.layout, frame_shape, size, multiple=self.multiple)
        self.frame_shape: Size = frame_shape or self.size
        self.letterbox = Letterbox(self.frame_shape, self.size)

    def preprocess(self, frame: Frame) -> NDArray[np.float32]:
        """The network's input, C-contiguous with a batch of 1, for a frame uint8 (H, W, 3) in BGR."""
        if frame.dtype != np.uint8 or frame.shape != (*self.frame_shape, 3):
            wanted = f"uint8 ({self.frame_shape[0]}, {self.frame_shape[1]}, 3)"
            raise InputError(f"recipe {self.name} was made for frames of {wanted}, got {frame.dtype} {frame.shape}")
        return self.pixels.apply(self.letterbox.apply(frame, self.fill))

    @abstractmethod
    def decode(self, outputs: Outputs) -> Any:
        """The network's outputs as this family's result, in pixels of the frame."""

    @abstractmethod
    def agreement(self, results: Sequence[Any], dense_results: Sequence[Any]) -> dict[str, float]:
        """How well two lists of results of the same frames agree: one number per measure, the first is the headline.

        Equal lists give the best value (1 for shares and F1). Measures are in a fixed order, larger is better.
        """

    @abstractmethod
    def draw(self, frame: Frame, result: Any) -> Frame:
        """A copy of the frame with the result drawn on it."""

    @abstractmethod
    def to_json(self, result: Any) -> Any:
        """The result as dicts, lists, strings and numbers."""

    def on_frame(self, plane: NDArray[Any]) -> NDArray[Any]:
        """A plane over the network's input, (height, width) of `size`, laid over the frame: (H, W) of `frame_shape`."""
        return self.letterbox.undo(plane)

    def _output(self, outputs: Outputs, axes: str, fits: bool) -> None:
        """Raises InputError unless `fits`; `axes` says what was expected."""
        if not fits:
            got = ", ".join(f"{name} {tuple(array.shape)}" for name, array in outputs.items())
            raise InputError(f"recipe {self.name} expects {axes}, the model gives {got}; is it the right recipe?")
