"""The ops of a draft that read or write maps of 8-bit codes (`Draft.codes`): what QDQ files say, as whole numbers.

``x_codes`` and its like say what an op takes the codes of an input for; what it writes stands for `Draft.codes` of
``out``. They mirror the methods of ``reconv._core.Plan`` that end in 8.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reconv.engine.lower.draft import NONE, Activation, Codes, Floats, Ints, Op, Pair

__all__ = [
    "AveragePool8",
    "Binary8",
    "Conv8",
    "Dequantize",
    "GlobalPool8",
    "Product8",
    "Quantize",
    "Requantize",
    "Table8",
    "Transposed8",
]

PLAIN = Codes(1.0, 0)
Bytes = NDArray[np.uint8]
SignedBytes = NDArray[np.int8]


@dataclass(eq=False, kw_only=True)
class Quantize(Op):
    """Codes of floats: clamp(round half even(x / scale) + zero, 0, 255)."""

    x: int


@dataclass(eq=False, kw_only=True)
class Dequantize(Op):
    """Floats of codes: (x - zero) * scale."""

    x: int
    x_codes: Codes


@dataclass(eq=False, kw_only=True)
class Requantize(Op):
    """Codes of another scale or zero."""

    x: int
    x_codes: Codes


@dataclass(eq=False, kw_only=True)
class Product8(Op):
    """A product of codes with weights of 8 bits, (Cout, Cin / groups, kh, kw), summed in 32 bits.

    real = sum((x - zero) * weight + bias) * (x scale * weight_scale) + shift, then `activation`. With a residual: the
    real is first rounded to the codes ``between``, where there are any, and taken back; then real + residual and
    `activation_after`. ``out`` is a map of codes, or of floats that get the reals. ``factor`` (Cout,) is what reals are
    multiplied by before they become codes, where each channel has a scale of its own. Where there is a ``table``, the
    codes ``rounded`` that come out are its places, and ``out`` gets what stands there.
    """

    x: int
    x_codes: Codes
    weight: SignedBytes
    bias: Ints | None
    weight_scale: Floats
    shift: Floats | None
    strides: Pair
    pads: Pair
    dilations: Pair
    groups: int
    activation: Activation = NONE
    residual: int = -1
    residual_codes: Codes = PLAIN
    between: Codes | None = None
    activation_after: Activation = NONE
    table: Bytes | None = None
    rounded: Codes | None = None
    factor: Floats | None = None

    @property
    def reads(self) -> tuple[int, ...]:
        return (self.x,) if self.residual < 0 else (self.x, self.residual)


@dataclass(eq=False, kw_only=True)
class Conv8(Product8):
    """Convolution of codes."""


@dataclass(eq=False, kw_only=True)
class Transposed8(Product8):
    """Transposed convolution of codes, without a residual."""


@dataclass(eq=False, kw_only=True)
class Table8(Op):
    """out = table[x], 256 codes."""

    x: int
    table: Bytes


@dataclass(eq=False, kw_only=True)
class Binary8(Op):
    """Codes of activation(a kind b), both operands maps of codes."""

    a: int
    b: int
    a_codes: Codes
    b_codes: Codes
    kind: str
    activation: Activation = NONE

    @property
    def reads(self) -> tuple[int, ...]:
        return (self.a, self.b)


@dataclass(eq=False, kw_only=True)
class AveragePool8(Op):
    """Codes of the mean over windows of codes."""

    x: int
    x_codes: Codes
    kernel: Pair
    strides: Pair
    pads: Pair
    pads_end: Pair
    dilations: Pair
    count_include_pad: bool


@dataclass(eq=False, kw_only=True)
class GlobalPool8(Op):
    """Codes of the mean over all pixels."""

    x: int
    x_codes: Codes
