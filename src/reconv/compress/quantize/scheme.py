"""The settings of a quantization, and what a scale and a zero point mean.

    real = (code - zero) * scale,    code = clamp(round(real / scale) + zero, 0, 255)

with rounding to the nearest even (ONNX operators QuantizeLinear and DequantizeLinear). Zero is always a code, so that
padding is exact.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from reconv.errors import InputError

__all__ = ["CALIBRATIONS", "TARGETS", "Codes", "Scheme"]

CALIBRATIONS = ("mse", "minmax", "percentile", "entropy", "layers")
TARGETS = ("onnxruntime", "openvino", "reconv")
_SMALLEST = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Scheme:
    """How to quantize; the arguments of `reconv.compress.quantize.quantize` say what each means.

    Raises:
        InputError: a value that makes no sense.
    """

    calibration: str = "mse"
    percentile: float = 99.99
    target: str = "onnxruntime"
    exclude: frozenset[str] = frozenset()
    only: frozenset[str] | None = None
    per_channel: bool = True
    equalize: bool = False
    correct_bias: bool = True
    clip_weights: bool = True
    symmetric_activations: bool = False

    def __post_init__(self) -> None:
        if self.calibration not in CALIBRATIONS:
            raise InputError(f"no calibration is called {self.calibration!r}; there are {', '.join(CALIBRATIONS)}")
        if self.target not in TARGETS:
            raise InputError(f"no target is called {self.target!r}; there are {', '.join(TARGETS)}")
        if not 50 < self.percentile <= 100:
            raise InputError(f"the percentile is {self.percentile}, expected more than 50 and at most 100, as 99.99")

    def takes(self, layer: str) -> bool:
        """Whether a layer of this name is to be quantized."""
        return layer not in self.exclude and (self.only is None or layer in self.only)

    def to_json(self) -> dict[str, Any]:
        """The settings as plain values."""
        found = asdict(self)
        found["exclude"] = sorted(self.exclude)
        found["only"] = None if self.only is None else sorted(self.only)
        return found

    def check_names(self, layers: Collection[str]) -> None:
        """Raises InputError where ``exclude`` or ``only`` name what is not a layer."""
        for word, names in (("exclude", self.exclude), ("only", self.only or frozenset())):
            if unknown := sorted(set(names) - set(layers)):
                raise InputError(f"{word} names {unknown[0]!r}, which is not a layer that can be quantized")


@dataclass(frozen=True)
class Codes:
    """Scale and zero point of a map of unsigned 8-bit codes; tuples where each channel has its own."""

    scale: float | tuple[float, ...]
    zero: int | tuple[int, ...]

    @staticmethod
    def per_channel(lows: np.ndarray[Any, Any], highs: np.ndarray[Any, Any], *, symmetric: bool = False) -> Codes:
        """Codes that cover a range for each channel, all of one zero point.

        With one, what a layer reads is its codes less a number, times a scale per channel: whole numbers until the
        scale, and padding is one code. It is the one with the least squared steps, each over those of its channel's own
        zero point: half of the codes or less of a channel that lies on one side only are lost.
        """
        lows, highs = np.minimum(lows, 0.0).astype(np.float64), np.maximum(highs, 0.0).astype(np.float64)
        own = np.maximum(highs - lows, _SMALLEST)
        zero = 0
        if symmetric and lows.min() < 0:
            zero = 128
        elif lows.min() < 0:
            zeros = np.arange(1, 255)[:, None]
            steps = np.maximum(-lows / zeros, highs / (255 - zeros))
            zero = int(np.square(255 * steps / own).sum(1).argmin()) + 1
        steps = highs / 255 if zero == 0 else np.maximum(-lows / zero, highs / (255 - zero))
        scales = steps.astype(np.float32)
        beyond = (lows == 0) & (scales * np.float32(255 - zero) > highs.astype(np.float32))
        scales = np.where(beyond, np.nextafter(scales, np.float32(0)), scales)
        scales = np.where(scales > _SMALLEST, scales, np.float32(1))
        return Codes(tuple(scales.tolist()), (zero,) * len(scales))

    @property
    def scales(self) -> np.ndarray[Any, Any]:
        """float32, () or (channels,)."""
        return np.asarray(self.scale, np.float32)

    @property
    def zeros(self) -> np.ndarray[Any, Any]:
        """uint8, () or (channels,)."""
        return np.asarray(self.zero, np.uint8)

    @staticmethod
    def covering(low: float, high: float, *, symmetric: bool = False) -> Codes:
        """Codes for the reals between low and high, and zero. symmetric: the zero is 128, or 0 where low is not < 0.

        Never beyond ``high``: a Clip before the codes that ends there stays without effect on them.
        """
        low, high = min(float(low), 0.0), max(float(high), 0.0)
        if symmetric and low < 0:
            scale, zero = np.float32(max(-low / 128, high / 127)), 128
        else:
            scale = np.float32((high - low) / 255)
            zero = round(-low / float(scale)) if scale > _SMALLEST else 0
            if low == 0 and scale * np.float32(255) > np.float32(high):
                scale = np.nextafter(scale, np.float32(0))
        return Codes(float(scale), int(min(max(zero, 0), 255))) if scale > _SMALLEST else Codes(1.0, 0)

    @property
    def low(self) -> float:
        """The least real that has a code, of any channel."""
        return float(np.min(-self.zeros.astype(np.float64) * self.scales))

    @property
    def high(self) -> float:
        """The greatest real that has a code, of any channel."""
        return float(np.max((255 - self.zeros.astype(np.float64)) * self.scales))

    def rounded(self, reals: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """What is left of these reals, in their own type; channels on axis 1 where they have codes of their own."""
        shape = (-1, *(1,) * (reals.ndim - 2)) if self.scales.ndim else ()
        scale, zero = (a.astype(np.float64).reshape(shape) for a in (self.scales, self.zeros))
        codes = np.clip(np.rint(reals / scale) + zero, 0, 255)
        return np.asarray((codes - zero) * scale, reals.dtype)
