"""What a recipe is: the steps around one model family, at one size of the network's input.

    frame -> preprocess -> [the network] -> decode -> result

and three things said about results: how much two runs agree, how a result is drawn on its frame, and how it is written
as JSON. A recipe holds no state between frames, so one object may serve several streams of frames of one size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from reconv.errors import InputError
from reconv.graph import TensorInfo, is_half
from reconv.recipes.letterbox import Letterbox
from reconv.recipes.pixels import PixelArithmetic, fitted, input_channels, input_size, opencv

if TYPE_CHECKING:
    from reconv.recipes.sources import Source

__all__ = ["Ends", "Frame", "Outputs", "Recipe", "Size"]

Frame = NDArray[Any]  # uint8 (H, W, 3), blue, green, red
Outputs = Mapping[str, NDArray[Any]]
Size = tuple[int, int]  # height, width


class Ends(Protocol):
    """What a model or a graph takes and gives."""

    @property
    def inputs(self) -> tuple[TensorInfo, ...]: ...

    @property
    def outputs(self) -> tuple[TensorInfo, ...]: ...


class Recipe(ABC):
    """One model family at one input size.

    Args:
        input: the network's input as the model declares it.
        frame_shape: (height, width) of the frames to come; None when the source is not made of pictures.
        size: (height, width) of the network's input; None takes the size that the model fixes, else that of the
            frames, rounded up to a multiple of `multiple`.

    Raises:
        InputError: the input is not a picture of one or three channels, or the size is not one that the network can
            run.
    """

    name: ClassVar[str]
    pictures: ClassVar[bool] = True  # whether frames are pictures: a sound has no size, and nothing is drawn on it
    multiple: ClassVar[int] = 1
    fill: ClassVar[int] = 0  # what surrounds a letterboxed frame
    pixels: PixelArithmetic
    others: Mapping[str, NDArray[Any]] = MappingProxyType({})  # what inputs beside that of the frames take, at each

    def __init__(self, input: TensorInfo, frame_shape: Size | None, size: Size | None) -> None:
        self.input = input
        self.pixels = self.laid_out(input)
        self.size: Size = input_size(self.name, input, self.pixels.layout, frame_shape, size, multiple=self.multiple)
        self.frame_shape: Size = frame_shape or self.size
        self.letterbox = Letterbox(self.frame_shape, self.size, self.multiple)

    @classmethod
    def for_model(cls, model: Ends, frame_shape: Size | None, size: Size | None) -> Recipe:
        """The recipe around a model, which must have an input; a picture goes to the first. Raises as the class."""
        return cls(model.inputs[0], frame_shape, size)

    def laid_out(self, input: TensorInfo) -> PixelArithmetic:
        """The arithmetic of the family as this input takes it: its layout, its channels, bytes as they are."""
        return fitted(self.pixels, input)

    def framed(self, source: Source) -> Source:
        """The source with frames as this recipe takes them: as they come, where a recipe does not say."""
        return source

    def inputs(self, frame: Frame) -> dict[str, NDArray[Any]]:
        """Input name -> array for one frame, in 16-bit floats or whole numbers where the network takes such."""
        made, dtype = self.preprocess(frame), self.input.dtype
        typed = made.astype(dtype, copy=False) if is_half(dtype) or dtype.kind in "iu" else made
        return {**self.others, self.input.name: typed}

    def feeds(self, frame: Frame | dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """As `inputs`; arrays by name go as they are, with the batch of 1 that a frame lacks."""
        if isinstance(frame, dict):
            return {**self.others, **{name: np.ascontiguousarray(array)[None] for name, array in frame.items()}}
        return self.inputs(frame)

    @property
    def takes_bytes(self) -> bool:
        """Whether the network's one input is `pixels` applied to `bytes`, so that a stream may take the bytes instead:
        not where a recipe makes its input otherwise, nor for whole numbers of more than 8 bits."""
        kind, dtype = type(self), self.input.dtype
        own = kind.preprocess is Recipe.preprocess and kind.inputs is Recipe.inputs
        return self.pictures and own and (dtype.kind == "f" or dtype == np.uint8)

    def bytes(self, frame: Frame) -> NDArray[np.uint8]:
        """The frame, uint8 (H, W, 3) in BGR, as a picture uint8 of the network's `size`: what a stream with these
        `pixels` takes. Grey, (H, W, 1), for a network of one channel. May be the frame itself."""
        if frame.dtype != np.uint8 or frame.shape != (*self.frame_shape, 3):
            wanted = f"uint8 ({self.frame_shape[0]}, {self.frame_shape[1]}, 3)"
            raise InputError(
                f"recipe {self.name} was made for frames of {wanted}, got {frame.dtype} {frame.shape}: "
                "bring all frames to one size, or make a recipe for each"
            )
        picture = self.letterbox.apply(frame, self.fill)
        if input_channels(self.input, self.pixels.layout) == 3:
            return picture
        cv2 = opencv()
        grey: NDArray[np.uint8] = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
        return grey[..., None]

    def preprocess(self, frame: Frame) -> NDArray[np.float32]:
        """The network's input as floats, C-contiguous with a batch of 1, for a frame uint8 (H, W, 3) in BGR."""
        return self.pixels.apply(self.bytes(frame))

    @abstractmethod
    def decode(self, outputs: Outputs) -> Any:
        """The network's outputs as this family's result, in pixels of the frame."""

    @abstractmethod
    def agreement(self, results: Sequence[Any], dense_results: Sequence[Any]) -> dict[str, float]:
        """How well two lists of results of the same frames agree: one number per measure, the first is the headline.

        Equal lists give the best value (1 for shares and F1). Measures are in a fixed order, larger is better.
        """

    def audit(self, outputs: Outputs, dense_outputs: Outputs) -> float:
        """The headline agreement of one frame's outputs with the dense ones: for `Model.stream(agreement=...)`."""
        measures = self.agreement([self.decode(outputs)], [self.decode(dense_outputs)])
        return next(iter(measures.values()))

    def brief(self, result: Any) -> Any:
        """What `agreement` needs of a result, where that is less than all of it: of long clips only this is kept."""
        return result

    def decode_brief(self, outputs: Outputs) -> Any:
        """`brief` of `decode`: what is kept of every frame of a clip."""
        return self.brief(self.decode(outputs))

    def drift(self, result: Any, dense_result: Any) -> float:
        """How far one result is from the dense one of its frame: 0 where they are equal, smooth if it can be, for a
        search to follow (`reconv.engine.tuning`). By default what `agreement` of the one frame lacks to 1."""
        return max(0.0, 1.0 - next(iter(self.agreement([result], [dense_result]).values())))

    @abstractmethod
    def draw(self, frame: Frame, result: Any) -> Frame:
        """A copy of the frame with the result drawn on it; where the result is a picture of its own, that picture."""

    @abstractmethod
    def to_json(self, result: Any) -> Any:
        """The result as dicts, lists, strings and numbers."""

    def on_frame(self, plane: NDArray[Any]) -> NDArray[Any]:
        """A plane over the network's input, (height, width) of `size`, laid over the frame: (H, W) of `frame_shape`."""
        return self.letterbox.undo(plane)

    def expect(self, outputs: Outputs, axes: str, fits: bool) -> None:
        """Raises InputError unless `fits`; `axes` says what was expected."""
        if not fits:
            got = ", ".join(f"{name} {tuple(array.shape)}" for name, array in outputs.items())
            raise InputError(f"recipe {self.name} expects {axes}, the model gives {got}; is it the right recipe?")
