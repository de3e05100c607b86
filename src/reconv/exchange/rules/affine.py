"""Per-channel affine maps, y = scale * x + shift with channels on axis 1, read from a node and written as one.

A BatchNormalization of known statistics is one, with scale = s / sqrt(variance + epsilon) and
shift = b - mean * scale (Ioffe and Szegedy 2015; ONNX operator BatchNormalization, not in training mode). So is a Mul,
Add, Sub or Div by a constant with one value, or one per channel. All numbers here are float64; `rounded` makes
float32 of them once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reconv.exchange.rule import Refusal
from reconv.exchange.view import View
from reconv.graph import Node

__all__ = ["Affine", "Made", "Weights", "along_channels", "example_norm", "moved", "read_affine", "rounded", "written"]

Array = np.ndarray[Any, Any]
Made = tuple[Node, Mapping[str, Array]]
"""A node and the new constants that it reads."""
Weights = Mapping[str, Array | tuple[int, ...]]
"""What an example takes."""

_SMALLEST = float(np.finfo(np.float32).tiny) * 2**24  # beside larger ones, what is lost of a value is below rounding


@dataclass(frozen=True, eq=False)
class Affine:
    """scale, shift: float64, of the same length, which is 1 or the number of channels. ``x``: the name of the input."""

    node: Node
    x: str
    scale: Array
    shift: Array

    @property
    def y(self) -> str:
        return self.node.outputs[0]

    @property
    def scales(self) -> bool:
        return bool((self.scale != 1).any())

    @property
    def shifts(self) -> bool:
        return bool(self.shift.any())

    def of(self, channels: int) -> tuple[Array, Array]:
        """Scale and shift of each of so many channels."""
        return np.broadcast_to(self.scale, (channels,)), np.broadcast_to(self.shift, (channels,))

    def then(self, last: Affine) -> Affine:
        """The map that does this one and then ``last``, under the node and name of ``last``."""
        scale, shift = np.broadcast_arrays(self.scale * last.scale, self.shift * last.scale + last.shift)
        return replace(last, x=self.x, scale=scale, shift=shift)


def read_affine(view: View, node: Node | None) -> Affine | Refusal | None:
    """What a node is as an affine map; None for another node, a refusal when its numbers cannot be known or used."""
    if node is None or node.domain:
        return None
    if node.op_type == "BatchNormalization":
        return _batch_norm(view, node)
    if node.op_type in ("Mul", "Add", "Sub", "Div"):
        return _arithmetic(view, node)
    return None


def rounded(values: Array) -> Array | Refusal:
    """float32 of float64 values; refused where one leaves float32's range, or the largest nearly vanishes in it."""
    with np.errstate(over="ignore", under="ignore"):
        single = values.astype(np.float32)
    largest = float(np.abs(values).max(initial=0))
    if not np.isfinite(single).all() or 0 < largest < _SMALLEST:
        return Refusal("a folded constant leaves the range of float32")
    return single


def moved(view: View, affine: Affine, x: str, y: str, rank: int) -> Made:
    """The same map from x to y, where x has the same channels and may have fewer axes than before: ``rank``."""
    at = affine.node.inputs.index(affine.x)
    inputs = [x if place == at else name for place, name in enumerate(affine.node.inputs)]
    constants: dict[str, Array] = {}
    other = view.constant(affine.node.inputs[1 - at]) if affine.node.op_type != "BatchNormalization" else None
    fewer = rank < len(view.shape(affine.x) or ())
    if other is not None and (other.ndim > rank or (fewer and other.size > 1)):  # (C, 1, 1) beside (N, C)
        name = view.fresh(f"{y}/{affine.node.op_type}/constant")
        constants[name] = along_channels(other.reshape(-1), rank)
        inputs[1 - at] = name
    return view.node(affine.node.op_type, tuple(inputs), y, **affine.node.attributes), constants


def written(view: View, affine: Affine, y: str) -> Made | Refusal:
    """The map as one node from its x to y: a Mul, an Add, a BatchNormalization where it does both, or an Identity.

    Refused where the range of float32 is left, where the number of axes is unknown, or where a BatchNormalization
    would be needed and the number of channels is free.
    """
    shape = view.shape(affine.x) or ()
    if len(shape) < 2:
        return Refusal("the number of axes is unknown")
    if not affine.scales and not affine.shifts:
        return view.node("Identity", (affine.x,), y), {}
    if affine.scales and affine.shifts:
        channels = shape[1]
        if channels is None:
            return Refusal("the number of channels is free")
        parts: tuple[Array, ...] = (*affine.of(channels), np.zeros(channels), np.ones(channels))
        op, attributes = "BatchNormalization", {"epsilon": 0.0}
    else:
        parts = (along_channels(affine.scale if affine.scales else affine.shift, len(shape)),)
        op, attributes = ("Mul" if affine.scales else "Add"), {}
    constants: dict[str, Array] = {}
    hints = ("scale", "shift", "mean", "variance") if affine.scales else ("shift",)
    for part, hint in zip(parts, hints, strict=False):
        single = rounded(np.ascontiguousarray(part))
        if isinstance(single, Refusal):
            return single
        constants[view.fresh(f"{y}/{hint}")] = single
    return view.node(op, (affine.x, *constants), y, **attributes), constants


def example_norm(channels: int, *, positive: bool = True, shift: bool = True) -> dict[str, Array]:
    """Weights s, t, m and v of a batch norm in an example; without a shift, t and m are zero."""
    random = np.random.default_rng(channels)
    low, high = (0.5, 2.0) if positive else (-2.0, 2.0)
    s, v, t, m = (random.uniform(a, b, channels) for a, b in ((low, high), (0.5, 2.0), (-1.0, 1.0), (-1.0, 1.0)))
    return {name: w.astype(np.float32) for name, w in {"s": s, "t": t * shift, "m": m * shift, "v": v}.items()}


def _batch_norm(view: View, node: Node) -> Affine | Refusal:
    if node.attributes.get("training_mode", 0):
        return Refusal("the batch norm is in training mode: its statistics are those of the batch")
    if any(node.outputs[1:]):
        return Refusal("the batch norm has outputs of running statistics")
    parts = [view.constant(name) for name in node.inputs[1:5]]
    known = [part for part in parts if part is not None]
    if len(known) < 4:
        return Refusal("the batch norm's statistics are computed while the model runs")
    if not view.is_float(node.inputs[0]) or any(part.dtype != np.float32 for part in known):
        return Refusal("the batch norm is not of float32, the type that rules are proved for")
    s, b, mean, variance = (part.astype(np.float64) for part in known)
    spread = variance + float(node.attributes.get("epsilon", 1e-5))
    if not (spread > 0).all():
        return Refusal("the batch norm divides by the root of a number that is not positive")
    scale = s / np.sqrt(spread)
    return _finite(Affine(node, node.inputs[0], scale, b - mean * scale))


def _arithmetic(view: View, node: Node) -> Affine | Refusal | None:
    values = [view.constant(name) for name in node.inputs]
    constant_first = values[0] is not None
    constant, x = (values[0], node.inputs[1]) if constant_first else (values[1], node.inputs[0])
    if constant is None or (constant_first and (values[1] is not None or node.op_type == "Div")):
        return None
    shape = view.shape(x)
    if shape is None or len(shape) < 2 or not _per_channel(constant.shape, shape):
        return None
    if constant.dtype != np.float32 or not view.is_float(x):
        return Refusal(f"a {node.op_type} of {constant.dtype}; rules are proved for float32")
    k = constant.reshape(-1).astype(np.float64)
    one, zero = np.ones_like(k), np.zeros_like(k)
    if node.op_type == "Mul":
        scale, shift = k, zero
    elif node.op_type == "Add":
        scale, shift = one, k
    elif node.op_type == "Sub":
        scale, shift = (-one, k) if constant_first else (one, -k)
    elif not k.all():
        return Refusal("a division by zero")
    else:
        scale, shift = 1 / k, zero
    return _finite(Affine(node, x, scale, shift))


def _per_channel(constant: tuple[int, ...], x: tuple[int | None, ...]) -> bool:
    """Whether the constant has one value, or one for each of the channels, and does not make x larger."""
    if len(constant) > len(x):
        return False
    padded = (1,) * (len(x) - len(constant)) + constant
    return all(size == 1 or (axis == 1 and size == x[1]) for axis, size in enumerate(padded))


def along_channels(values: Array, rank: int) -> Array:
    """One value, or one per channel, shaped to go beside a map (N, C, space...) with so many axes."""
    return values.reshape(()) if values.size == 1 else values.reshape(-1, *(1,) * (rank - 2))


def _finite(affine: Affine) -> Affine | Refusal:
    fine = np.isfinite(affine.scale).all() and np.isfinite(affine.shift).all()
    return affine if fine else Refusal("a scale or shift that is not a finite number")
