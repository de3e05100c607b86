"""Arrays in, arrays out: for any model, and for sources that are arrays already.

An array goes to the network as float32, or in the whole numbers that it takes, with a batch dimension of 1 put before
it where the model has one more; a grey picture (H, W) or (H, W, 1) also to an input (1, 1, H, W). A picture is scaled
to fit, in RGB divided by 255: a guess that many networks share; whoever needs another brings arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from reconv.errors import InputError
from reconv.graph import TensorInfo
from reconv.recipes.agree import equal_share, finite_range, psnr_db
from reconv.recipes.pixels import PixelArithmetic, channels_last
from reconv.recipes.recipe import Frame, Outputs, Recipe, Size

__all__ = ["Raw"]


class Raw(Recipe):
    """No preprocessing for arrays, no decoding; a result is the dict of outputs."""

    name: ClassVar[str] = "raw"
    pixels = PixelArithmetic(scale=1 / 255)

    def __init__(self, input: TensorInfo, frame_shape: Size | None, size: Size | None) -> None:
        if frame_shape is not None:
            super().__init__(input, frame_shape, size)
        else:
            self.input, self.size, self.frame_shape = input, size or (0, 0), (0, 0)

    @property
    def takes_bytes(self) -> bool:
        dtype = self.input.dtype
        return all(self.frame_shape) and (dtype.kind == "f" or dtype == np.uint8)  # arrays go as they are

    def preprocess(self, frame: Frame) -> NDArray[Any]:
        rank, kind = len(self.input.shape), self.input.dtype
        if all(self.frame_shape):
            return super().preprocess(frame)
        array = self._grey(frame)
        said = f"the model takes {self.input}, got an array of {frame.dtype} {tuple(frame.shape)}"
        if array.ndim not in (rank, rank - 1) or not np.issubdtype(array.dtype, np.number):
            raise InputError(said)
        typed = np.ascontiguousarray(array, dtype=kind if kind.kind in "iu" else np.float32)
        if kind.kind in "iu" and not np.array_equal(typed, array):
            raise InputError(f"{said} with fractions, or numbers beyond its range")
        return typed if typed.ndim == rank else typed[None]

    def _grey(self, frame: Frame) -> Frame:
        """A picture (H, W) or (H, W, 1) as (1, H, W) where the network takes (n, 1, h, w), (H, W) as (H, W, 1) where it
        takes (n, h, w, 1); any other array as it is."""
        if len(self.input.shape) != 4:
            return frame
        if channels_last(self.input.shape):
            return frame[..., None] if frame.ndim == 2 and self.input.shape[3] == 1 else frame
        if self.input.shape[1] != 1 or not (frame.ndim == 2 or (frame.ndim == 3 and frame.shape[2] == 1 < len(frame))):
            return frame
        return frame.reshape(1, *frame.shape[:2])

    def decode(self, outputs: Outputs) -> dict[str, NDArray[Any]]:
        return dict(outputs)

    def agreement(self, results: Sequence[Outputs], dense_results: Sequence[Outputs]) -> dict[str, float]:
        """Of a classifier (one output (N, classes)) the share of equal best classes; of anything else the share of
        equal elements once thresholded half-way between the least and the greatest finite dense value; not-a-numbers
        are equal to one another only. And PSNR."""
        names = list(dense_results[0]) if dense_results else []
        ours = [[result[name] for result in results] for name in names]
        dense = [[result[name] for result in dense_results] for name in names]
        noise = min((psnr_db(a, b) for a, b in zip(ours, dense, strict=True)), default=0.0)
        if len(names) == 1 and dense[0][0].ndim == 2 and dense[0][0].shape[1] > 1:
            best_of = [[array.argmax(1) for array in arrays] for arrays in (ours[0], dense[0])]
            return {"top1": equal_share(*best_of), "psnr_db": noise}
        shares = []
        for a, b in zip(ours, dense, strict=True):
            half = sum(finite_range(b)) / 2
            shares.append(equal_share([_above(x, half) for x in a], [_above(x, half) for x in b]))
        return {"equal": float(np.mean(shares)) if shares else 1.0, "psnr_db": noise}

    def draw(self, frame: Frame, result: Outputs) -> Frame:  # noqa: ARG002
        return frame.copy()

    def to_json(self, result: Outputs) -> Any:
        return {name: array.tolist() for name, array in result.items()}


def _above(array: NDArray[Any], half: float) -> NDArray[np.int8]:
    """1 above, 0 not above, -1 where there is no number."""
    return np.where(np.isnan(array), -1, array > half).astype(np.int8)
