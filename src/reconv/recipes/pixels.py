"""Pictures into network inputs: the sizes, channels and types that a network accepts; the arithmetic is
`reconv.engine.pixels`."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

import numpy as np

from reconv.engine.pixels import PixelArithmetic
from reconv.errors import InputError, MissingError
from reconv.graph import TensorInfo

__all__ = ["PixelArithmetic", "channels_last", "fitted", "input_channels", "input_size", "opencv"]


def opencv() -> Any:
    """The module cv2. Raises MissingError when it is not installed."""
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise MissingError("pictures and video need OpenCV and PyAV: pip install 'reconv[video]'") from error


def channels_last(shape: Sequence[object]) -> bool:
    """Whether an input of this shape is (n, h, w, 3), or (n, h, w, 1), rather than (n, c, h, w)."""
    if len(shape) != 4:
        return False
    return shape[1] != 3 if shape[3] == 3 else shape[3] == 1 and shape[1] not in (1, 3)


def input_channels(info: TensorInfo, layout: str) -> int:
    """How many channels a picture has for this input, of 4 dimensions: 1 is grey; 3 where the model does not say."""
    channels = info.shape[1 if layout == "NCHW" else 3]
    return channels if isinstance(channels, int) else 3


def fitted(pixels: PixelArithmetic, info: TensorInfo) -> PixelArithmetic:
    """A family's arithmetic for one network's input.

    An input (n, h, w, 3) has its channels last. One of whole numbers takes the bytes as they are: what the family does
    to them is in the network. Of a grey one the mean and the deviation are the mean of those of the three colours.
    """
    if channels_last(info.shape):
        pixels = replace(pixels, layout="NHWC")
    if info.dtype.kind in "iu":
        return PixelArithmetic(channel_order=pixels.channel_order, layout=pixels.layout)
    if len(info.shape) == 4 and input_channels(info, pixels.layout) == 1:
        mean, std = (fmean(v) if isinstance(v, tuple) else v for v in (pixels.mean, pixels.std))
        return replace(pixels, mean=mean, std=std)
    return pixels


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
    if input_channels(info, layout) not in (1, 3):
        raise InputError(f"recipe {recipe} needs an input of 1 or 3 channels ({layout}), the model has {info}")
    if info.dtype.kind in "iu" and np.iinfo(info.dtype).max < 255:
        raise InputError(f"recipe {recipe} gives bytes 0..255, more than {info.dtype} holds: {info}")
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
