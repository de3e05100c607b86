"""Products, normalisations, activations, arithmetic and reductions in torch."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import torch
from torch.nn import functional as F

from reconv.compress.train.call import Call

__all__ = [
    "batch_norm", "binary", "clip", "dividing", "fold", "gelu", "gemm", "hard_sigmoid", "hard_swish", "instance_norm",
    "matmul", "prelu", "reducing", "selu", "softmax", "unary", "where", "with_alpha",
]  # fmt: skip

Tensor = torch.Tensor


def gemm(call: Call) -> Tensor:
    a, b, c = call.x, call.tensor(1), call.optional(2)
    a = a.T if call.get("transA", 0) else a
    b = b.T if call.get("transB", 0) else b
    alpha, beta = float(call.get("alpha", 1.0)), float(call.get("beta", 1.0))
    if c is not None and c.ndim == 1 and alpha == beta == 1.0:
        return F.linear(a, b.T, c)
    y = alpha * (a @ b)
    return y if c is None else y + beta * c


def matmul(call: Call) -> Tensor:
    return call.x @ call.tensor(1)


def batch_norm(call: Call) -> Tensor:
    """Learning: normalises by the batch, and moves the statistics (inputs 3 and 4) towards it, in place."""
    x, scale, shift, mean, variance = (call.tensor(place) for place in range(5))
    momentum = 1 - float(call.get("momentum", 0.9))
    epsilon = float(call.get("epsilon", 1e-5))
    return F.batch_norm(x, mean, variance, scale, shift, call.learning, momentum, epsilon)


def instance_norm(call: Call) -> Tensor:
    return F.instance_norm(call.x, weight=call.tensor(1), bias=call.tensor(2), eps=float(call.get("epsilon", 1e-5)))


# --- activations


def unary(function: Callable[[Tensor], Tensor]) -> Callable[[Call], Tensor]:
    return lambda call: function(call.x)


def with_alpha(function: Callable[[Tensor, float], Tensor], default: float) -> Callable[[Call], Tensor]:
    return lambda call: function(call.x, float(call.get("alpha", default)))


def clip(call: Call) -> Tensor:
    low, high = (call.array(place) for place in (1, 2))
    lowest = call.node.attributes.get("min") if low is None else float(low.item())
    highest = call.node.attributes.get("max") if high is None else float(high.item())
    if lowest is None and highest is None:
        return call.x
    if lowest is not None and highest is not None and lowest <= highest and call.x.is_floating_point():
        return F.hardtanh(call.x, float(lowest), float(highest))  # its gradient is several times as quick as clamp's
    return call.x.clamp(None if lowest is None else float(lowest), None if highest is None else float(highest))


def hard_sigmoid(call: Call) -> Tensor:
    return (call.x * float(call.get("alpha", 0.2)) + float(call.get("beta", 0.5))).clamp(0.0, 1.0)


def hard_swish(call: Call) -> Tensor:
    return call.x * (call.x * (1 / 6) + 0.5).clamp(0.0, 1.0)


def prelu(call: Call) -> Tensor:
    return torch.where(call.x >= 0, call.x, call.x * call.tensor(1))


def gelu(call: Call) -> Tensor:
    return F.gelu(call.x, approximate=call.get("approximate", "none"))


def selu(call: Call) -> Tensor:
    alpha = float(call.get("alpha", 1.67326319217681884765625))
    return F.elu(call.x, alpha) * float(call.get("gamma", 1.05070102214813232421875))


def softmax(call: Call) -> Tensor:
    x = call.x
    if call.opset >= 13:
        return x.softmax(int(call.get("axis", -1)))
    axis = int(call.get("axis", 1)) % x.ndim  # older ones flatten what follows
    return x.flatten(axis).softmax(-1).reshape(x.shape)


# --- arithmetic


def binary(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Call], Tensor]:
    return lambda call: function(call.x, call.tensor(1))


def fold(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Call], Tensor]:
    """Of any number of inputs."""
    return lambda call: reduce(function, call.all())


def dividing(call: Call) -> Tensor:
    x, y = call.x, call.tensor(1)
    return x / y if x.is_floating_point() else torch.div(x, y, rounding_mode="trunc")


def where(call: Call) -> Tensor:
    return torch.where(call.x, call.tensor(1), call.tensor(2))


def reducing(function: Callable[..., Tensor]) -> Callable[[Call], Tensor]:
    def reduction(call: Call) -> Tensor:
        axes = call.ints("axes", 1)
        if not axes and call.get("noop_with_empty_axes", 0):
            return call.x
        return function(call.x, dim=tuple(axes or range(call.x.ndim)), keepdim=bool(call.get("keepdims", 1)))

    return reduction
