"""Networks that give a larger picture: (1, 3, H, W) in, (1, 3, k H, k W) out, both in the same range of values; or
both of one channel, grey.

Input: RGB / 255. The frame stands in a border of its own outermost pixels, `margin` wide where the model's size is open
or leaves room. Networks without padding (waifu2x' upconv_7 gives 2 (H - 14)) eat it; what others make of it is cut off.
So the picture that comes out is `k` times the frame. Where there is no room for the border, what is eaten is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from reconv.graph import TensorInfo
from reconv.recipes.agree import close_pixels, psnr_db
from reconv.recipes.letterbox import Bordered
from reconv.recipes.pixels import PixelArithmetic, input_channels
from reconv.recipes.recipe import Frame, Outputs, Recipe, Size

__all__ = ["SuperResolution", "Upscaled"]

LARGEST = 16  # times the input
APART = 5  # rows and columns between the pixels that are compared: prime, so that all phases of an upscaling are met


@dataclass(frozen=True, eq=False)
class Upscaled:
    """`picture` uint8 (height, width, 3) in BGR, `factor` times as large as the frame's pixels in the network."""

    picture: NDArray[np.uint8]
    factor: int


class SuperResolution(Recipe):
    """A result is `Upscaled`; drawn, it is the large picture itself."""

    name: ClassVar[str] = "super_resolution"
    margin: ClassVar[int] = 8
    pixels = PixelArithmetic(scale=1 / 255)

    def __init__(self, input: TensorInfo, frame_shape: Size | None, size: Size | None) -> None:
        around = None if frame_shape is None else (frame_shape[0] + 2 * self.margin, frame_shape[1] + 2 * self.margin)
        super().__init__(input, around, size)  # the size of a model that leaves it open
        self.frame_shape = frame_shape or self.size
        self.letterbox = Bordered(self.frame_shape, self.size, self.margin)

    @np.errstate(over="ignore", invalid="ignore")  # black or white below
    def decode(self, outputs: Outputs) -> Upscaled:
        array = next(iter(outputs.values()))
        planes = array[0] if array.ndim == 4 and len(array) == 1 else array[:0]
        if self.pixels.layout == "NHWC" and planes.ndim == 3:
            planes = planes.transpose(2, 0, 1)
        channels = input_channels(self.input, self.pixels.layout)
        shape = planes.shape[1:] if planes.ndim == 3 and len(planes) == channels else ()
        factor, eaten = _scale(self.size, shape)
        wanted = f"one output (1, {channels}, k * {self.size[0]}, k * {self.size[1]}), or that less a border"
        self.expect(outputs, wanted, len(outputs) == 1 and factor > 0)
        corner, inner = self.letterbox.corner, self.letterbox.inner
        rows, columns = (
            slice(max(0, at - eaten) * factor, max(0, at + extent - eaten) * factor)
            for at, extent in zip(corner, inner, strict=True)
        )
        return Upscaled(self._bytes(planes[:, rows, columns]), factor)

    def _bytes(self, planes: NDArray[Any]) -> NDArray[np.uint8]:
        """Planes (3, H, W), or a grey one, in the network's values as a picture (H, W, 3): the way back of the pixel
        arithmetic."""
        means, stds = (np.broadcast_to(np.array(v, np.float32), 3) for v in (self.pixels.mean, self.pixels.std))
        picture = np.empty((*planes.shape[1:], 3), np.uint8)
        for channel, plane in enumerate(np.broadcast_to(planes, (3, *planes.shape[1:]))):
            values = (plane * stds[channel] + means[channel]) * np.float32(1 / self.pixels.scale)
            np.nan_to_num(values, copy=False, nan=0.0)
            place = channel if self.pixels.channel_order == "BGR" else 2 - channel
            picture[..., place] = np.clip(np.rint(values, out=values), 0, 255, out=values)
        return picture

    def brief(self, result: Upscaled) -> Upscaled:
        """A twenty-fifth of the pixels: a clip's pictures would fill the memory."""
        return replace(result, picture=result.picture[::APART, ::APART].copy())

    def agreement(self, results: Sequence[Upscaled], dense_results: Sequence[Upscaled]) -> dict[str, float]:
        """Share of pixels that differ by at most 1 of 255, share of equal pixels, and PSNR against a peak of 255."""
        ours, dense = ([r.picture for r in side] for side in (results, dense_results))
        close, equal = (close_pixels(ours, dense, within) for within in (1, 0))
        return {"close_pixels": close, "equal_pixels": equal, "psnr_db": psnr_db(ours, dense, 255.0)}

    def draw(self, frame: Frame, result: Upscaled) -> Frame:  # noqa: ARG002
        return result.picture.copy()

    def to_json(self, result: Upscaled) -> Any:
        height, width = result.picture.shape[:2]
        return {"height": height, "width": width, "factor": result.factor}


def _scale(size: Size, shape: Sequence[int]) -> tuple[int, int]:
    """(k, e) for outputs k * (size - 2 e): the smallest k of which there is such an e, the border that is eaten; (0, 0)
    where there is none."""
    if len(shape) != 2:
        return 0, 0
    for factor in range(1, LARGEST + 1):
        eaten = {extent - out / factor for extent, out in zip(size, shape, strict=True)}
        if len(eaten) == 1 and (both := eaten.pop()) >= 0 and both % 2 == 0:
            return factor, int(both) // 2
    return 0, 0
