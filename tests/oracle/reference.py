"""The ops of the core written out in numpy, float64, slow and obvious. Maps are (H, W, C).

Each returns its result and the scale of its rounding errors: the sum of the magnitudes of the terms of each value.
"""

from __future__ import annotations

from collections.abc import Callable
from math import erf
from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Pair = tuple[int, int]


def windows(size: int, out: int, *window: int) -> NDArray[np.int64]:
    """(out, kernel): the position that each output position reads at each tap, -1 outside of the map.

    window: kernel, stride, pad, dilation
    """
    kernel, stride, pad, dilation = window
    at = np.arange(out)[:, None] * stride - pad + np.arange(kernel) * dilation
    return np.where((at >= 0) & (at < size), at, -1)


def conv(
    x: NDArray[np.float32],
    weight: NDArray[np.float32],
    bias: NDArray[np.float32] | None,
    size: Pair,
    *,
    strides: Pair = (1, 1),
    pads: Pair = (0, 0),
    dilations: Pair = (1, 1),
    groups: int = 1,
) -> tuple[Doubles, Doubles]:
    """weight (O, C / groups, kh, kw); size (H, W) of the output."""
    outer, inner, *kernel = weight.shape
    rows, columns = (windows(x.shape[i], size[i], kernel[i], strides[i], pads[i], dilations[i]) for i in range(2))
    ring = np.zeros((x.shape[0] + 1, x.shape[1] + 1, x.shape[2]))  # what is outside reads the last row or column
    ring[:-1, :-1] = x
    taps = ring[rows[:, None, :, None], columns[None, :, None, :]]  # H, W, kh, kw, C
    taps = taps.reshape(*taps.shape[:4], groups, inner)
    grouped = weight.astype(np.float64).reshape(groups, outer // groups, inner, *kernel)
    out = np.einsum("yxabgi,goiab->yxgo", taps, grouped).reshape(*size, outer)
    scale = np.einsum("yxabgi,goiab->yxgo", np.abs(taps), np.abs(grouped)).reshape(*size, outer)
    if bias is not None:
        out, scale = out + bias, scale + np.abs(bias)
    return out, scale


def pool(
    x: NDArray[np.float32],
    size: Pair,
    kernel: Pair,
    reduce: Callable[[Doubles, int, int], Doubles],
    *,
    strides: Pair = (1, 1),
    pads: Pair = (0, 0),
    dilations: Pair = (1, 1),
) -> Doubles:
    """reduce(values (n, C) of the taps inside the map, y, x) -> (C,)"""
    rows, columns = (windows(x.shape[i], size[i], kernel[i], strides[i], pads[i], dilations[i]) for i in range(2))
    out = np.empty((*size, x.shape[2]))
    for y in range(size[0]):
        for c in range(size[1]):
            inside = [x[a, b] for a in rows[y] if a >= 0 for b in columns[c] if b >= 0]
            out[y, c] = reduce(np.array(inside, np.float64), y, c)
    return out


def softmax(x: NDArray[np.float32]) -> Doubles:
    raised: Doubles = np.exp(x.astype(np.float64) - x.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))


def _sigmoid(x: Doubles) -> Doubles:
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))


def _softplus(x: Doubles) -> Doubles:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


_erf = np.vectorize(erf, otypes=[np.float64])


def activation(x: NDArray[Any], spec: tuple[Any, ...]) -> Doubles:
    """Of channels-last values; NaN stays NaN."""
    x = x.astype(np.float64)
    kind, *rest = spec
    a, b = (*(np.float64(np.float32(v)) if np.ndim(v) == 0 else v for v in rest), 0.0, 0.0)[:2]
    formulas: dict[str, Callable[[], Any]] = {
        "none": lambda: x,
        "relu": lambda: np.maximum(x, 0),
        "clip": lambda: np.minimum(np.maximum(x, a), b),
        "silu": lambda: x * _sigmoid(x),
        "leaky": lambda: np.where(x < 0, x * a, x),
        "prelu": lambda: np.where(x < 0, x * np.asarray(a, np.float64), x),
        "sigmoid": lambda: _sigmoid(x),
        "tanh": lambda: np.tanh(x),
        "hardsigmoid": lambda: np.clip(x * a + b, 0, 1),
        "hardswish": lambda: x * np.clip(x / 6 + 0.5, 0, 1),
        "gelu": lambda: 0.5 * x * (1 + _erf(x / np.sqrt(2))),
        "gelu_tanh": lambda: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
        "erf": lambda: _erf(x),
        "elu": lambda: np.where(x < 0, a * np.expm1(np.minimum(x, 0)), x),
        "softplus": lambda: _softplus(x),
        "mish": lambda: x * np.tanh(_softplus(x)),
        "exp": lambda: np.exp(x),
        "log": lambda: np.log(x),
        "sqrt": lambda: np.sqrt(x),
    }
    with np.errstate(all="ignore"):
        return np.asarray(formulas[kind]())
