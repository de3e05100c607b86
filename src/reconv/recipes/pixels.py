"""Pictures into network inputs: arithmetic per pixel as data, letterboxing, and the sizes that a network accepts.

The arithmetic is x = (pixel * scale - mean) / std per channel, in the channel order and layout of the network.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from reconv.errors import InputError, MissingError
from reconv.graph import TensorInfo

__all__ = ["PixelArithmetic", "input_size", "opencv"]

Triple = tuple[float, float, float]


def opencv() -> Any:
    """The module cv2. Raises MissingError when it is not installed."""
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise MissingError("pictures and video need OpenCV and PyAV: pip install 'reconv[video]'") from error


@dataclass(frozen=True)
class PixelArithmetic:
    """x = (pixel * scale - mean) / std; `mean` and `std` in the network's channel order."""

    scale: float = 1.0
    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (1.0, 1.0, 1.0)
    channel_order: Literal["RGB", "BGR"] = "RGB"
    layout: Literal["NCHW", "NHWC"] = "NCHW"

    def apply(self, picture: NDArray[Any]) -> NDArray[np.float32]:
        """A picture uint8 (H, W, 3) in BGR as float32 (1, 3, H, W), or (1, H, W, 3) for NHWC.

        A pixel's value depends on that pixel alone, so equal pixels stay bit for bit equal from frame to frame.
        """
        height, width = picture.shape[:2]
        nchw = self.layout == "NCHW"
        out = np.empty((1, 3, height, width) if nchw else (1, height, width, 3), np.float32)
        planes = out[0] if nchw else out[0].transpose(2, 0, 1)
        for channel, plane in enumerate(planes):
            source = picture[..., channel if self.channel_order == "BGR" else 2 - channel]
            factor = np.float32(self.scale / self.std[channel])
            shift = np.float32(self.mean[channel] / self.std[channel])
            np.multiply(source, factor, out=plane, dtype=np.float32)
            if shift:
                plane -= shift
        return out


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
