"""Pictures into network inputs: the sizes that a network accepts; the arithmetic is `reconv.engine.pixels`."""

from __future__ import annotations

import importlib
from typing import Any

from reconv.engine.pixels import PixelArithmetic
from reconv.errors import InputError, MissingError
from reconv.graph import TensorInfo

__all__ = ["PixelArithmetic", "input_size", "opencv"]


def opencv() -> Any:
    """The module cv2. Raises MissingError when it is not installed."""
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise MissingError("pictures and video need OpenCV and PyAV: pip install 'reconv[video]'") from error


def input_size(
    recipe: str,
    info: TensorInfo,
    layout: str,
    frame_shape: tuple[int, int] | None,
    size: tuple[int, int] | None,
    *,
    multiple: int,
) -> tuple[int, int]:
    """The (height, width) to run the network at; see `Recipe` for the order of precedence and what is raised."""
    if len(info.shape) != 4:
        raise InputError(f"recipe {recipe} needs an input of 4 dimensions ({layout}), the model has {info}")
    axes = (2, 3) if layout == "NCHW" else (1, 2)
    channels = info.shape[6 - sum(axes)]
    if channels != 3 and isinstance(channels, int):
        raise InputError(f"recipe {recipe} needs an input of 3 channels ({layout}), the model has {info}")
    fixed = [info.shape[axis] for axis in axes]
    result = []
    for axis, asked, frame in zip((0, 1), size or (None, None), frame_shape or (None, None), strict=True):
        own, word = fixed[axis], ("height", "width")[axis]
        if isinstance(own, int):
            if asked not in (None, own):
                raise InputError(f"the model's input has a fixed {word} of {own}, --size asks for {asked}")
            result.append(own)
        elif asked is not None:
            result.append(asked)
        elif frame is not None:
            result.append(-(-frame // multiple) * multiple)
        else:
            raise InputError(
                f"the model leaves its input's {word} open and there are no frames to take it from: --size"
            )
    if any(extent <= 0 or extent % multiple for extent in result):
        text = f"{result[0]}x{result[1]}"
        raise InputError(f"recipe {recipe} needs a height and width that are multiples of {multiple}, got {text}")
    return result[0], result[1]
