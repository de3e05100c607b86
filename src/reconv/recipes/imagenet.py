"""Classifiers of pictures with one output of a value per class: (1, classes), logits or probabilities.

Input: the middle of the frame, 7/8 of its shorter side, at 224x224 where the model leaves its size open (the shorter
side scaled to 256 and 224 of it cut out, as is usual with ImageNet). `crop` None scales the whole frame.

What the pixels become is data, and three ways are usual:

- `imagenet`: RGB / 255, less the mean of ImageNet, over its deviation: torchvision, timm and most others;
- `imagenet_tf`: RGB, (x - 127) / 128: TensorFlow's MobileNets and EfficientNet-Lite;
- `imagenet_caffe`: BGR, less a mean of 104, 117, 123: Caffe's, and the first ResNets of Keras.

For another one, derive a class of these, set `pixels`, and name it as `module:Class` (docs/recipes.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from reconv.graph import TensorInfo
from reconv.recipes.agree import equal_share
from reconv.recipes.letterbox import CentreCrop
from reconv.recipes.names import names_of
from reconv.recipes.pixels import PixelArithmetic, opencv
from reconv.recipes.recipe import Ends, Frame, Outputs, Recipe, Size

__all__ = ["BEST", "Imagenet", "ImagenetCaffe", "ImagenetTf", "Ranked"]

BEST = 5  # classes that a result names
SIDE = 224
FONT = (0, 0.45, 1)  # OpenCV's plainest, its size and thickness


@dataclass(frozen=True, eq=False)
class Ranked:
    """The best classes of one frame: `classes` (k,) and their `probabilities` (k,), best first."""

    classes: NDArray[np.int64]
    probabilities: NDArray[np.float64]


class Imagenet(Recipe):
    """A result is `Ranked`; `names` are those that the model's file holds."""

    name: ClassVar[str] = "imagenet"
    crop: ClassVar[float | None] = 224 / 256
    pixels = PixelArithmetic(1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    names: Sequence[str] = ()

    def __init__(self, input: TensorInfo, frame_shape: Size | None, size: Size | None) -> None:
        super().__init__(input, frame_shape, size or self._usual(input))
        self.letterbox = CentreCrop(self.frame_shape, self.size, self.crop)

    @classmethod
    def for_model(cls, model: Ends, frame_shape: Size | None, size: Size | None) -> Imagenet:
        recipe = cls(model.inputs[0], frame_shape, size)
        recipe.names = names_of(model)
        return recipe

    def _usual(self, input: TensorInfo) -> Size | None:
        """The size of a model that leaves it open; None where there is no such thing to say."""
        if len(input.shape) != 4:
            return None
        height, width = input.shape[1:3] if self.laid_out(input).layout == "NHWC" else input.shape[2:]
        return (height if isinstance(height, int) else SIDE, width if isinstance(width, int) else SIDE)

    def decode(self, outputs: Outputs) -> Ranked:
        array = next(iter(outputs.values()))
        values = array.reshape(-1).astype(np.float64)
        self.expect(
            outputs, "one output (1, classes)", len(outputs) == 1 and array.shape[:2] == (1, values.size) != (1, 1)
        )
        values = _probabilities(values)
        best = np.argsort(-values, kind="stable")[:BEST]
        return Ranked(best, values[best])

    def agreement(self, results: Sequence[Ranked], dense_results: Sequence[Ranked]) -> dict[str, float]:
        """Share of frames with the same best class; share of the five best classes that are among the other's five."""
        best = ([r.classes[:1] for r in side] for side in (results, dense_results))
        shared = [np.isin(b.classes, a.classes).mean() for a, b in zip(results, dense_results, strict=True)]
        return {"top1": equal_share(*best), "top5": float(np.mean(shared)) if shared else 1.0}

    def draw(self, frame: Frame, result: Ranked) -> Frame:
        cv2, picture = opencv(), frame.copy()
        (top, left), (height, width) = self.letterbox.start, self.letterbox.seen
        cv2.rectangle(picture, (left, top), (left + width - 1, top + height - 1), (150, 150, 150), 1)
        for line, one in enumerate(self.to_json(result), 1):
            text, low, x = f"{one['probability']:4.0%} {one['class']}", top + 18 * line, left + 4
            (wide, high), below = cv2.getTextSize(text, *FONT)
            cv2.rectangle(picture, (x - 2, low - high - 2), (x + wide + 2, low + below), (40, 40, 40), -1)
            cv2.putText(picture, text, (x, low), FONT[0], FONT[1], (255, 255, 255), FONT[2], cv2.LINE_AA)
        return picture

    def to_json(self, result: Ranked) -> Any:
        return [
            {"class": self.names[int(cls)] if cls < len(self.names) else int(cls), "probability": round(float(p), 5)}
            for cls, p in zip(result.classes, result.probabilities, strict=True)
        ]


class ImagenetTf(Imagenet):
    """x = (pixel - 127) / 128 in RGB."""

    name: ClassVar[str] = "imagenet_tf"
    pixels = PixelArithmetic(1 / 128, (127 / 128,) * 3)


class ImagenetCaffe(Imagenet):
    """x = pixel - (104, 117, 123) in BGR."""

    name: ClassVar[str] = "imagenet_caffe"
    pixels = PixelArithmetic(1.0, (104.0, 117.0, 123.0), channel_order="BGR")


def _probabilities(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values themselves where they are probabilities, else their softmax; not-a-numbers are the least likely."""
    values = np.where(np.isnan(values), -np.inf, values)
    if values.min() >= 0 and abs(values.sum() - 1) < 1e-3:
        return values
    top = values.max()
    if not np.isfinite(top):  # nothing to weigh: infinite ones share alike
        chosen = values == top
        return np.asarray(chosen / chosen.sum())
    powers = np.exp(values - top)
    return np.asarray(powers / powers.sum())
