"""Ops that treat every element, or every channel, alike: activations, arithmetic, BatchNormalization, Softmax.

They keep the layout of their input, whatever it is. Arithmetic between two maps brings the smaller one into the axes
of the larger; a constant is laid out as the map is. Fusion into a producer happens later, in `fuse`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from reconv.engine.lower import draft as d
from reconv.engine.lower.builder import Array, Builder, Result, UnsupportedError, Value, axis_of, lookup
from reconv.engine.lower.layout import Geometry, canonical
from reconv.graph import Node

__all__ = [
    "absolute",
    "activation",
    "alpha_activation",
    "arithmetic",
    "batch_normalization",
    "clip",
    "gelu",
    "hard_sigmoid",
    "negate",
    "prelu",
    "reciprocal",
    "selu",
    "softmax",
]

Lowering = Callable[[Builder, Node], list[Result]]


def unary(b: Builder, value: Value, kind: d.Activation) -> Value:
    return Value(b.add(d.Unary(x=value.map, out=b.new(b.geometry(value.map)), activation=kind)), value.layout)


def with_constant(b: Builder, value: Value, kind: str, constant: Array, first: bool = False) -> Value:
    """value (kind) constant, or constant (kind) value; the result has the broadcast shape."""
    value = b.spread(value, np.broadcast_shapes(value.shape, constant.shape))
    out = b.new(b.geometry(value.map))
    laid = b.laid(constant, value)
    return Value(
        b.add(d.BinaryConstant(x=value.map, out=out, kind=kind, constant=laid, constant_first=first)), value.layout
    )


def activation(kind: str) -> Lowering:
    """An activation without parameters."""
    return lambda b, node: [unary(b, b.value(node, 0), (kind,))]


def alpha_activation(kind: str, default: float) -> Lowering:
    """An activation with one parameter, the attribute ``alpha``."""
    return lambda b, node: [unary(b, b.value(node, 0), (kind, float(node.attributes.get("alpha", default))))]


def hard_sigmoid(b: Builder, node: Node) -> list[Result]:
    alpha, beta = float(node.attributes.get("alpha", 0.2)), float(node.attributes.get("beta", 0.5))
    return [unary(b, b.value(node, 0), ("hardsigmoid", alpha, beta))]


def gelu(b: Builder, node: Node) -> list[Result]:
    tanh = lookup(node.attributes, "approximate", "none") == "tanh"
    return [unary(b, b.value(node, 0), ("gelu_tanh" if tanh else "gelu",))]


def selu(b: Builder, node: Node) -> list[Result]:
    alpha = float(node.attributes.get("alpha", 1.67326319217681884765625))
    gamma = float(node.attributes.get("gamma", 1.05070102214813232421875))
    bent = unary(b, b.value(node, 0), ("elu", alpha))
    return [with_constant(b, bent, "mul", np.asarray(gamma, np.float32))]


def clip(b: Builder, node: Node) -> list[Result]:
    if "min" in node.attributes or "max" in node.attributes or b.opset < 11:
        low, high = node.attributes.get("min"), node.attributes.get("max")
    else:
        low, high = b.optional(node, 1), b.optional(node, 2)
    least = float("-inf") if low is None else float(np.asarray(low).reshape(()))
    most = float("inf") if high is None else float(np.asarray(high).reshape(()))
    value = b.value(node, 0)
    if least > most:  # everything is the upper limit
        value, least = unary(b, value, ("clip", most, most)), most
    if most == float("inf"):
        if least == float("-inf"):
            return [value]
        if least == 0:
            return [unary(b, value, ("relu",))]
    return [unary(b, value, ("clip", least, most))]


def prelu(b: Builder, node: Node) -> list[Result]:
    value, slope = b.value(node, 0), b.constant(node, 1)
    if np.broadcast_shapes(value.shape, slope.shape) != value.shape:
        raise UnsupportedError(f"slopes {slope.shape} that are larger than the tensor {value.shape}")
    laid = b.laid(slope, value)
    channels = b.geometry(value.map).channels
    if laid.shape[:2] == (1, 1):
        slopes = np.ascontiguousarray(np.broadcast_to(laid.ravel(), (channels,)))
        return [unary(b, value, ("prelu", slopes))]
    below = with_constant(b, unary(b, value, ("clip", float("-inf"), 0.0)), "mul", slope)
    return [arithmetic_of(b, unary(b, value, ("relu",)), below, "add")]


def negate(b: Builder, node: Node) -> list[Result]:
    return [with_constant(b, b.value(node, 0), "mul", np.asarray(-1, np.float32))]


def absolute(b: Builder, node: Node) -> list[Result]:
    value = b.value(node, 0)
    return [arithmetic_of(b, value, with_constant(b, value, "mul", np.asarray(-1, np.float32)), "max")]


def reciprocal(b: Builder, node: Node) -> list[Result]:
    return [with_constant(b, b.value(node, 0), "div", np.asarray(1, np.float32), first=True)]


def arithmetic(kind: str) -> Lowering:
    """Add, Sub, Mul, Div, Min, Max, Pow: of two, or for Min and Max of any number of operands."""

    def lower(b: Builder, node: Node) -> list[Result]:
        operands = [b.operand(node, i) for i in range(len(node.inputs))]
        result = operands[0]
        for operand in operands[1:]:
            result = either(b, result, operand, kind)
        return [result]

    return lower


def either(b: Builder, left: Result, right: Result, kind: str) -> Result:
    if isinstance(left, Value):
        if isinstance(right, Value):
            return arithmetic_of(b, left, right, kind)
        if kind == "pow" and right.size == 1 and float(right.reshape(())) == 2:
            return b.spread(arithmetic_of(b, left, left, "mul"), np.broadcast_shapes(left.shape, right.shape))
        return with_constant(b, left, kind, right)
    if isinstance(right, Value):
        return with_constant(b, right, kind, left, first=True)
    fold = {"min": np.minimum, "max": np.maximum}.get(kind)
    if fold is None:
        raise UnsupportedError("two constants")
    return np.asarray(fold(left, right))


def arithmetic_of(b: Builder, left: Value, right: Value, kind: str) -> Value:
    """Two maps, broadcast against one another as numpy does."""
    shape = np.broadcast_shapes(left.shape, right.shape)
    whole = next((value for value in (left, right) if value.shape == shape), None)
    if whole is None:
        geometry, layout = canonical(shape)
    else:
        geometry, layout = b.geometry(whole.map), whole.layout
    frame = Value(-1, layout)
    a, c = (operand(b, value, frame, geometry) for value in (left, right))
    return Value(b.add(d.Binary(a=a, b=c, out=b.new(geometry), kind=kind)), layout)


def operand(b: Builder, value: Value, frame: Value, geometry: Geometry) -> int:
    """A map that broadcasts on its own axes to (H, W, C) as the value does to the frame's shape."""
    own = b.geometry(value.map)
    if (value.layout, own) == (frame.layout, geometry):
        return value.map
    index = frame.layout.to_map(np.broadcast_to(value.layout.index(), frame.shape), geometry)
    if all(n in (1, size) for n, size in zip(own, geometry, strict=True)):
        numbers = np.arange(prod(own)).reshape(own)
        if np.array_equal(np.broadcast_to(numbers, geometry), index):
            return value.map
    for axis in range(3):
        first = index.take([0], axis)
        if index.shape[axis] > 1 and np.array_equal(np.broadcast_to(first, index.shape), index):
            index = first
    return b.moved(value.map, index, Geometry(*index.shape))


def batch_normalization(b: Builder, node: Node) -> list[Result]:
    """(x - mean) / sqrt(var + epsilon) * scale + bias as one multiply-add per element."""
    if node.attributes.get("training_mode", 0) or len([name for name in node.outputs if name]) > 1:
        raise UnsupportedError("batch normalization in training mode")
    value = b.value(node, 0)
    scale, bias, mean, variance = (b.constant(node, i).astype(np.float64) for i in range(1, 5))
    if any(constant.shape != value.shape[1:2] for constant in (scale, bias, mean, variance)):
        raise UnsupportedError(f"statistics of {scale.size} channels for a tensor {value.shape}")
    factor = scale / np.sqrt(variance + float(node.attributes.get("epsilon", 1e-5)))
    shift = bias - mean * factor
    shape = (-1,) + (1,) * (len(value.shape) - 2)
    return [affine(b, value, factor.reshape(shape), shift.reshape(shape))]


def affine(b: Builder, value: Value, scale: Array, shift: Array) -> Value:
    """value * scale + shift, constants that broadcast to the value's shape."""
    laid = b.laid(scale, value), b.laid(shift, value)
    if any(constant.shape[:2] != (1, 1) for constant in laid):
        return with_constant(b, with_constant(b, value, "mul", scale), "add", shift)
    geometry = b.geometry(value.map)
    per_channel = [np.ascontiguousarray(np.broadcast_to(c.ravel(), (geometry.channels,))) for c in laid]
    op = d.Affine(x=value.map, out=b.new(geometry), scale=per_channel[0], shift=per_channel[1])
    return Value(b.add(op), value.layout)


def softmax(b: Builder, node: Node) -> list[Result]:
    """Over one axis; before opset 13 over all axes from ``axis`` on."""
    value = b.value(node, 0)
    rank = len(value.shape)
    axis = axis_of(int(node.attributes.get("axis", -1 if b.opset >= 13 else 1)), rank)
    if b.opset < 13:
        flat = value.layout.reshape((prod(value.shape[:axis]), prod(value.shape[axis:])))
        if flat is None:
            raise UnsupportedError("a softmax over several axes that do not lie together")
        rows = b.rows(Value(value.map, flat))
        layout = rows.layout.reshape(value.shape)
        assert layout is not None  # the rows' factors are whole dimensions of the value, or gathered in its order
        result = Value(b.add(d.Softmax(x=rows.map, out=b.new(b.geometry(rows.map)))), layout)
        return [result]
    dims = value.layout.dims[axis]
    channels = b.geometry(value.map).channels
    if value.shape[axis] == channels and (not dims or dims == ((channels, 1),)):
        return [Value(b.add(d.Softmax(x=value.map, out=b.new(b.geometry(value.map)))), value.layout)]
    if axis == 1 and rank in (3, 4) and value.shape[0] == 1:
        x = b.spatial(value)
        return [b.unspatial(b.add(d.Softmax(x=x.map, out=b.new(x.geometry))), rank)]
    order = [i for i in range(rank) if i != axis] + [axis]
    rows = b.rows(Value(value.map, value.layout.transpose(order)))
    out = b.add(d.Softmax(x=rows.map, out=b.new(b.geometry(rows.map))))
    return [Value(out, rows.layout.transpose([int(i) for i in np.argsort(order)]))]
