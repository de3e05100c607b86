"""BatchNormalization at inference, and Softmax.

A batch normalisation is put together from its parts, y = (x - m) / √(v + ε) · s + b, so that rounded statistics pass
their errors on. For a softmax dy_i = y_i (dx_i - Σ_j y_j dx_j), and errors of one row may be shared.
"""

from __future__ import annotations

import numpy as np

from reconv.exchange.float64.call import Call
from reconv.exchange.float64.elementwise import divided, minus, plus, times
from reconv.exchange.float64.value import DOUBLE, Array, Value, noise_like, stepped

__all__ = ["batch_normalization", "softmax"]


def batch_normalization(call: Call) -> tuple[Value, ...]:
    x = call.value(0)
    if call.get("training_mode", 0) or len([name for name in call.node.outputs if name]) > 1:
        raise call.unknown("training_mode")
    scale, bias, mean, variance = (_per_channel(call.value(at), x.array.ndim) for at in range(1, 5))
    epsilon = float(call.get("epsilon", np.float32(1e-5)))
    deviation = stepped(lambda v: np.sqrt(v + epsilon), variance)
    return (plus(times(minus(x, mean), divided(scale, deviation)), bias),)


def _per_channel(value: Value, rank: int) -> Value:
    shape = (-1, *(1,) * (rank - 2)) if rank > 1 else (-1,)
    error2 = None if value.error2 is None else value.error2.reshape(shape)
    return Value(value.array.reshape(shape), error2, noise_like(value).reshape(shape))


def softmax(call: Call) -> tuple[Value, ...]:
    x = call.value(0)
    axis = int(call.get("axis", -1 if call.opset >= 13 else 1)) % x.array.ndim
    axes = (axis,) if call.opset >= 13 else tuple(range(axis, x.array.ndim))  # once over all that follows
    raised = np.exp(x.array - x.array.max(axis=axes, keepdims=True))
    y: Array = raised / raised.sum(axis=axes, keepdims=True)
    error2 = None
    if x.error2 is not None:
        deviation = np.sqrt(x.error2)
        error2 = np.square(y * (deviation + (y * deviation).sum(axis=axes, keepdims=True)))
    terms = float(np.prod([x.array.shape[a] for a in axes]))
    noise = 2 * noise_like(x).max(axis=axes, keepdims=True) + (8 + terms) * DOUBLE
    return (Value(y, error2, noise),)
