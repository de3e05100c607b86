"""Frames of bytes: the arithmetic that makes pictures a network's input, as data, and a picture that waits for it.

x = (pixel * scale - mean) / std per channel, in the channel order and layout of the network. A byte has 256 values, so
the arithmetic of a channel is a table of 256 floats. The core looks bytes up in it and gets the very floats of
`PixelArithmetic.apply`; what goes elsewhere (ONNX Runtime's part of a model, an input that no map holds as a picture)
is made by `apply` itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import isfinite
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from reconv.errors import InputError
from reconv.graph import TensorInfo

__all__ = [
    "MOST_CHANNELS",
    "TABLE_BYTES",
    "Feed",
    "Picture",
    "PixelArithmetic",
    "as_picture",
    "in_floats",
    "takes_picture",
]

Array = np.ndarray[Any, Any]
PerChannel: TypeAlias = float | tuple[float, ...]

MOST_CHANNELS = 4
TABLE_BYTES = 256 * 4  # of the floats that a channel's bytes become


@dataclass(frozen=True)
class PixelArithmetic:
    """x = (pixel * scale - mean) / std; `mean` and `std` are one number, or one per channel in the network's order.

    Pictures of three channels, and of four but for the last one, are blue, green, red, as OpenCV gives them;
    `channel_order` is the network's. (For pictures that are red, green, blue say "BGR" where the network wants RGB.)

    Raises:
        InputError: a number is not finite, a `std` is 0, or an order or a layout is none of the two.
    """

    scale: float = 1.0
    mean: PerChannel = 0.0
    std: PerChannel = 1.0
    channel_order: Literal["RGB", "BGR"] = "RGB"
    layout: Literal["NCHW", "NHWC"] = "NCHW"

    def __post_init__(self) -> None:
        if self.channel_order not in ("RGB", "BGR") or self.layout not in ("NCHW", "NHWC"):
            wanted = "expected RGB or BGR, and NCHW or NHWC"
            raise InputError(f"pixels in channel order {self.channel_order!r} and layout {self.layout!r}: {wanted}")
        for name, value in (("scale", self.scale), ("mean", self.mean), ("std", self.std)):
            numbers = value if isinstance(value, tuple) else (value,)
            if not numbers or not all(isfinite(number) and (name != "std" or number) for number in numbers):
                raise InputError(
                    f"pixels with a {name} of {value}: expected finite numbers{', not 0' * (name == 'std')}"
                )

    def apply(self, picture: NDArray[Any]) -> NDArray[np.float32]:
        """A picture uint8 (H, W, C) as float32 (1, C, H, W), or (1, H, W, C) for NHWC.

        A pixel's value depends on that pixel alone, so equal pixels stay bit for bit equal from frame to frame.

        Raises:
            InputError: `mean` or `std` has another number of channels.
        """
        height, width, channels = picture.shape
        nchw = self.layout == "NCHW"
        out = np.empty((1, channels, height, width) if nchw else (1, height, width, channels), np.float32)
        planes = out[0] if nchw else out[0].transpose(2, 0, 1)
        means, stds = self._each("mean", channels), self._each("std", channels)
        for plane, place, mean, std in zip(planes, self.order(channels), means, stds, strict=True):
            factor = np.float32(self.scale / std)
            shift = np.float32(mean / std)
            np.multiply(picture[..., place], factor, out=plane, dtype=np.float32)
            if shift:
                plane -= shift
        return out

    @property
    def keeps_bytes(self) -> bool:
        """Whether x is the pixel."""
        means, stds = (v if isinstance(v, tuple) else (v,) for v in (self.mean, self.std))
        return self.scale == 1 and not any(means) and all(std == 1 for std in stds)

    def order(self, channels: int) -> tuple[int, ...]:
        """Which channel of a picture each channel of the network is."""
        swapped = self.channel_order == "RGB" and channels in (3, 4)
        return ((2, 1, 0, 3) if swapped else (0, 1, 2, 3))[:channels]

    def table(self, channels: int, dtype: np.dtype[Any]) -> NDArray[np.float32]:
        """(C, 256): what each byte becomes in each of the network's channels, rounded to the input's type first.

        Raises:
            InputError: a value is not finite, or as `apply`.
        """
        return _table(self, channels, dtype)

    def _each(self, name: str, channels: int) -> tuple[float, ...]:
        value: PerChannel = getattr(self, name)
        numbers = value if isinstance(value, tuple) else (value,) * channels
        if len(numbers) != channels:
            raise InputError(f"pixels have a {name} of {len(numbers)} channels, the picture has {channels}")
        return numbers


@lru_cache(maxsize=64)
def _table(pixels: PixelArithmetic, channels: int, dtype: np.dtype[Any]) -> NDArray[np.float32]:
    every = np.arange(256, dtype=np.uint8)[None, :, None].repeat(channels, 2)  # a picture (1, 256, C)
    with np.errstate(over="ignore"):  # told below
        values = pixels.apply(every).astype(dtype, copy=False).astype(np.float32, copy=False)
    if not np.isfinite(values).all():
        raise InputError(f"{pixels} gives numbers that {dtype} cannot hold")
    table = np.ascontiguousarray(
        values.reshape(channels, 256) if pixels.layout == "NCHW" else values.reshape(256, -1).T
    )
    table.flags.writeable = False
    return table


@dataclass(frozen=True, eq=False)
class Picture:
    """A frame uint8 (H, W, C) in the place of an input: seen from outside it has that input's shape and type."""

    bytes: NDArray[np.uint8]
    pixels: PixelArithmetic
    dtype: np.dtype[Any]

    @cached_property
    def shape(self) -> tuple[int, int, int, int]:
        """The input's, with a batch of 1."""
        height, width, channels = self.bytes.shape
        return (1, channels, height, width) if self.pixels.layout == "NCHW" else (1, height, width, channels)

    @property
    def nbytes(self) -> int:
        """The input's."""
        return self.bytes.size * self.dtype.itemsize

    @cached_property
    def floats(self) -> Array:
        """The input."""
        return self.pixels.apply(self.bytes).astype(self.dtype, copy=False)

    @cached_property
    def strides(self) -> tuple[int, int, int]:
        """Elements between two rows, pixels and channels of the input."""
        height, width, channels = self.bytes.shape
        return (width, 1, height * width) if self.pixels.layout == "NCHW" else (width * channels, channels, 1)


Feed: TypeAlias = Array | Picture  # what an input is given


def in_floats(feed: Feed) -> Array:
    """The input itself."""
    return feed.floats if isinstance(feed, Picture) else feed


def takes_picture(info: TensorInfo, array: Array) -> bool:
    """Whether an array is a frame of bytes for an input of floats, or for (n, h, w, c) or (n, c, h, w) of bytes, rather
    than the input itself."""
    if array.dtype != np.uint8:
        return False
    return info.dtype.kind == "f" or (info.dtype == np.uint8 and len(info.shape) == 4 and array.ndim in (2, 3))


def as_picture(info: TensorInfo, array: Array, pixels: PixelArithmetic) -> Picture:
    """A frame of bytes as this input; (H, W) alone stands for one channel.

    Raises:
        InputError: it is no picture, or not of the size or the channels that the model declares; or the input is of
            bytes, and the pixels are to become other ones.
    """
    if info.dtype == np.uint8 and not pixels.keeps_bytes:
        raise InputError(f"input {info} takes bytes as they are: a scale of 1, no mean and no std; got {pixels}")
    axes = (2, 3, 1) if pixels.layout == "NCHW" else (1, 2, 3)
    declared = [info.shape[axis] for axis in axes] if len(info.shape) == 4 else [None, None, None]
    frame = array[..., None] if array.ndim == 2 else array
    fits = frame.ndim == 3 and all(
        got == size or not isinstance(size, int) for got, size in zip(frame.shape, declared, strict=True)
    )
    if not fits or not 1 <= frame.shape[2] <= MOST_CHANNELS or not frame.size:
        sizes = ", ".join(word if size is None else str(size) for word, size in zip("HWC", declared, strict=True))
        got = f"input {info.name!r} got a frame of uint8 {tuple(array.shape)}"
        raise InputError(
            f"{got}, expected one frame of uint8 ({sizes}) with 1 to {MOST_CHANNELS} channels; scale it to fit"
        )
    picture = Picture(frame, pixels, info.dtype)
    if info.shape and (len(info.shape) != 4 or (info.shape[0] not in (1, None) and isinstance(info.shape[0], int))):
        raise InputError(f"a frame of bytes is {picture.shape} for the model, input {info} is not; pass floats")
    pixels.table(frame.shape[2], info.dtype)  # whether it fits the channels
    return picture
