"""Arithmetic and activations, element by element. Integers stay integers.

Functions of one value go through `stepped`; sums add variances, products weigh them with the other factor's square.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from math import erf, pi, sqrt
from typing import Any

import numpy as np

from reconv.exchange.float64.call import Call, Op, text
from reconv.exchange.float64.value import DOUBLE, Array, Value, add_errors, exact, known, magnitude, stepped

__all__ = ["BINARY", "UNARY", "cast", "clip", "dropout", "identity", "minus", "plus", "times"]


def plus(a: Value, b: Value) -> Value:
    return _linear(a.array + b.array, a, b)


def minus(a: Value, b: Value) -> Value:
    return _linear(a.array - b.array, a, b)


def times(a: Value, b: Value) -> Value:
    y = a.array * b.array
    if y.dtype.kind != "f":
        return Value(y)
    of_a = None if a.error2 is None else a.error2 * np.square(b.array)
    of_b = None if b.error2 is None else b.error2 * np.square(a.array)
    noise = a.noise * magnitude(b.array) + b.noise * magnitude(a.array) + DOUBLE * magnitude(y)
    return Value(y, add_errors(of_a, of_b), noise)


def divided(a: Value, b: Value) -> Value:
    if a.array.dtype.kind != "f":
        quotient = np.abs(a.array) // np.abs(b.array)  # ONNX divides integers towards zero
        return Value((quotient * np.sign(a.array) * np.sign(b.array)).astype(a.array.dtype))
    y = a.array / b.array
    inverse = 1.0 / np.square(b.array)
    of_a = None if a.error2 is None else a.error2 * inverse
    of_b = None if b.error2 is None else b.error2 * np.square(y) * inverse
    noise = magnitude((a.noise + magnitude(y) * b.noise) * np.sqrt(inverse))
    return Value(y, add_errors(of_a, of_b), noise + DOUBLE * magnitude(y))


def power(a: Value, b: Value) -> Value:
    y = stepped(lambda x: np.power(x, b.array), a)
    if b.error2 is None:
        return y
    slope = np.square(y.array * np.log(np.maximum(np.abs(a.array), 1e-300)))
    return Value(y.array, add_errors(y.error2, slope * b.error2), y.noise)


def prelu(a: Value, b: Value) -> Value:
    scaled = times(a, b)
    below = a.array < 0
    error2 = None
    if a.error2 is not None or b.error2 is not None:
        error2 = np.where(below, known(scaled), known(a))
    return Value(np.where(below, scaled.array, a.array), error2, np.maximum(scaled.noise, a.noise))


def _extreme(function: Callable[[Array, Array], Array]) -> Callable[[Value, Value], Value]:
    def op(a: Value, b: Value) -> Value:
        y = function(a.array, b.array)
        noise = np.maximum(a.noise, b.noise)
        if a.error2 is None and b.error2 is None:
            return Value(y, None, noise)
        return Value(y, np.maximum(known(a), known(b)), noise)

    return op


def _linear(y: Array, a: Value, b: Value) -> Value:
    if y.dtype.kind != "f":
        return Value(y)
    error2 = add_errors(a.error2, b.error2)
    if error2 is not None and error2.shape != y.shape:
        error2 = np.broadcast_to(error2, y.shape)
    return Value(y, error2, a.noise + b.noise + DOUBLE * magnitude(y))


def _folded(function: Callable[[Value, Value], Value]) -> Op:
    return lambda call: (reduce(function, call.values()),)


BINARY: dict[str, Op] = {
    "Add": _folded(plus),
    "Div": _folded(divided),
    "Max": _folded(_extreme(np.maximum)),
    "Min": _folded(_extreme(np.minimum)),
    "Mul": _folded(times),
    "PRelu": _folded(prelu),
    "Pow": _folded(power),
    "Sub": _folded(minus),
    "Sum": _folded(plus),
}


def identity(call: Call) -> tuple[Value, ...]:
    return (call.value(0),)


def dropout(call: Call) -> tuple[Value, ...]:
    """At inference, where it hands its input on and its mask is all ones."""
    x, training = call.value(0), call.array(2)
    if training is not None and bool(training):
        raise call.unknown("training_mode")
    return x, Value(np.ones(x.array.shape, np.bool_))


def cast(call: Call) -> tuple[Value, ...]:
    x = call.value(0)
    to = _TYPES.get(int(call.get("to", 0)))
    if to is None:
        raise call.unknown(f"type {call.get('to')}")
    if to.kind != "f":
        return (Value(x.array.astype(to)),)
    return (x if x.is_float else exact(x.array.astype(to)),)


# TensorProto.DataType; float16 rounds, which no rule may move
_TYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype(np.float32),
    2: np.dtype(np.uint8),
    3: np.dtype(np.int8),
    4: np.dtype(np.uint16),
    5: np.dtype(np.int16),
    6: np.dtype(np.int32),
    7: np.dtype(np.int64),
    9: np.dtype(np.bool_),
    11: np.dtype(np.float64),
    12: np.dtype(np.uint32),
    13: np.dtype(np.uint64),
}


def clip(call: Call) -> tuple[Value, ...]:
    low = call.array(1) if call.opset >= 11 else call.get("min")
    high = call.array(2) if call.opset >= 11 else call.get("max")

    def limit(x: Array) -> Array:
        x = x if low is None else np.maximum(x, low)
        return x if high is None else np.minimum(x, high)

    return (stepped(limit, call.value(0)),)


_erf = np.frompyfunc(erf, 1, 1)


def _error_function(x: Array) -> Array:
    return np.asarray(_erf(x), np.float64)


def _sigmoid(x: Array) -> Array:
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, small) / (1.0 + small)


def _softplus(x: Array) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _elu(x: Array, alpha: float) -> Array:
    return np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x)


def _gelu(call: Call) -> Callable[[Array], Array]:
    if text(call.get("approximate", "none")) == "tanh":
        return lambda x: 0.5 * x * (1 + np.tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))
    return lambda x: 0.5 * x * (1 + _error_function(x / sqrt(2)))


def _plain(function: Callable[..., Any]) -> Op:
    return lambda call: (stepped(function, call.value(0)),)


def _with(function: Callable[..., Array], **defaults: float) -> Op:
    """A function whose further arguments are attributes, in this order."""

    def op(call: Call) -> tuple[Value, ...]:
        numbers = [float(call.get(key, default)) for key, default in defaults.items()]
        return (stepped(lambda x: function(x, *numbers), call.value(0)),)

    return op


UNARY: dict[str, Op] = {
    "Abs": _plain(np.abs),
    "Ceil": _plain(np.ceil),
    "Celu": _with(lambda x, a: np.maximum(x, 0) + a * np.expm1(np.minimum(x, 0) / a), alpha=1.0),
    "Cos": _plain(np.cos),
    "Elu": _with(_elu, alpha=1.0),
    "Erf": _plain(_error_function),
    "Exp": _plain(np.exp),
    "Floor": _plain(np.floor),
    "Gelu": lambda call: (stepped(_gelu(call), call.value(0)),),
    "HardSigmoid": _with(lambda x, a, b: np.clip(x * a + b, 0, 1), alpha=float(np.float32(0.2)), beta=0.5),
    "HardSwish": _plain(lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    "LeakyRelu": _with(lambda x, a: np.where(x < 0, a * x, x), alpha=float(np.float32(0.01))),
    "Log": _plain(np.log),
    "Mish": _plain(lambda x: x * np.tanh(_softplus(x))),
    "Neg": _plain(np.negative),
    "Reciprocal": _plain(np.reciprocal),
    "Relu": _plain(lambda x: np.maximum(x, 0)),
    "Round": _plain(np.rint),
    "Selu": _with(
        lambda x, a, g: g * _elu(x, a), alpha=float(np.float32(1.6732632)), gamma=float(np.float32(1.050701))
    ),
    "Sigmoid": _plain(_sigmoid),
    "Sign": _plain(np.sign),
    "Sin": _plain(np.sin),
    "Softplus": _plain(_softplus),
    "Softsign": _plain(lambda x: x / (1 + np.abs(x))),
    "Sqrt": _plain(np.sqrt),
    "Tanh": _plain(np.tanh),
    "ThresholdedRelu": _with(lambda x, a: np.where(x > a, x, 0.0), alpha=1.0),
}
