"""Pools over windows and over whole maps: MaxPool, AveragePool, GlobalAveragePool, GlobalMaxPool, ReduceMean/Sum/Max.

A reduction over all pixels is a global pool; the mean or sum over the channels is a 1x1 convolution; any other
reduction first moves what is kept to the channels.
"""

from __future__ import annotations

from math import prod

import numpy as np

from reconv.engine.lower import draft as d
from reconv.engine.lower.builder import Builder, Result, Spatial, UnsupportedError, Value, axis_of, ints
from reconv.engine.lower.layout import Geometry, Layout
from reconv.engine.lower.windows import Window, pair, window
from reconv.graph import Node

__all__ = [
    "average_pool",
    "global_average_pool",
    "global_max_pool",
    "max_pool",
    "reduce_max",
    "reduce_mean",
    "reduce_sum",
]


def _pool_window(node: Node, x: Spatial) -> Window:
    """The window of a pool. ONNX Runtime takes no padding of a whole window either."""
    w = window(node, x.geometry[:2], pair(ints(node.attributes["kernel_shape"]), x.rank, 1), x.rank)
    reach = [dilation * (size - 1) for size, dilation in zip(w.kernel, w.dilations, strict=True)]
    if any(pad > most for pads in (w.pads, w.pads_end) for pad, most in zip(pads, reach, strict=True)):
        raise UnsupportedError(f"pads {w.pads} and {w.pads_end} around a window {w.kernel}")
    return w


def max_pool(b: Builder, node: Node) -> list[Result]:
    if len([name for name in node.outputs if name]) > 1:
        raise UnsupportedError("the second output of MaxPool (indices)")
    x = b.spatial(b.value(node, 0))
    w = _pool_window(node, x)
    kernel = w.kernel
    out = b.new((*w.out, x.geometry.channels))
    op = d.MaxPool(x=x.map, out=out, kernel=kernel, strides=w.strides, pads=w.pads, dilations=w.dilations)
    return [b.unspatial(b.add(op), x.rank)]


def average_pool(b: Builder, node: Node) -> list[Result]:
    x = b.spatial(b.value(node, 0))
    w = _pool_window(node, x)
    kernel = w.kernel
    out = b.new((*w.out, x.geometry.channels))
    if w.out == (1, 1) and kernel == x.geometry[:2] and w.pads == (0, 0) and w.dilations == (1, 1):
        return [b.unspatial(b.add(d.GlobalPool(x=x.map, out=out, kind="avg")), x.rank)]
    op = d.AveragePool(
        x=x.map,
        out=out,
        kernel=kernel,
        strides=w.strides,
        pads=w.pads,
        pads_end=w.pads_end,
        dilations=w.dilations,
        count_include_pad=bool(node.attributes.get("count_include_pad", 0)),
    )
    return [b.unspatial(b.add(op), x.rank)]


def global_average_pool(b: Builder, node: Node) -> list[Result]:
    value = b.value(node, 0)
    return [reduce(b, value, tuple(range(2, len(value.shape))), True, "avg")]


def global_max_pool(b: Builder, node: Node) -> list[Result]:
    value = b.value(node, 0)
    return [reduce(b, value, tuple(range(2, len(value.shape))), True, "max")]


def reduce_mean(b: Builder, node: Node) -> list[Result]:
    return _reduction(b, node, "avg")


def reduce_sum(b: Builder, node: Node) -> list[Result]:
    return _reduction(b, node, "sum")


def reduce_max(b: Builder, node: Node) -> list[Result]:
    return _reduction(b, node, "max")


def _reduction(b: Builder, node: Node, kind: str) -> list[Result]:
    value = b.value(node, 0)
    rank = len(value.shape)
    given = node.attributes.get("axes")
    axes = ints(given) if given is not None else tuple(ints(a) if (a := b.optional(node, 1)) is not None else ())
    if not axes:
        if node.attributes.get("noop_with_empty_axes", 0):
            return [value]
        axes = tuple(range(rank))
    axes = tuple(sorted({axis_of(axis, rank) for axis in axes}))
    return [reduce(b, value, axes, bool(node.attributes.get("keepdims", 1)), kind)]


def reduce(b: Builder, value: Value, axes: tuple[int, ...], keep: bool, kind: str) -> Value:
    """Mean ("avg"), sum or maximum over some dimensions; ``keep`` them with size 1, or drop them."""
    geometry = b.geometry(value.map)
    kept = [i for i in range(len(value.shape)) if i not in axes]
    gone = [factor for axis in axes for factor in value.layout.dims[axis]]
    left = [factor for axis in kept for factor in value.layout.dims[axis]]
    dims = [() if i in axes else value.layout.dims[i] for i in range(len(value.shape))]
    count = prod(value.shape[axis] for axis in axes)
    channels_gone = bool(left) and min(f.stride for f in left) >= geometry.channels == count
    if not gone:
        result = value
    elif channels_gone and kind != "max":
        weight = np.full((1, count, 1, 1), 1.0 / count if kind == "avg" else 1.0, np.float32)
        out = b.new((geometry.height, geometry.width, 1))
        op = d.Conv(
            x=value.map, out=out, weight=weight, bias=None, strides=(1, 1), pads=(0, 0), dilations=(1, 1), groups=1
        )
        scaled = Layout(tuple(dims)).rescale(geometry.channels, 1)
        assert scaled is not None  # every factor left is a multiple of the channels
        result = Value(b.add(op), scaled)
    else:
        x = value.map
        if not (all(f.stride >= geometry.channels for f in gone) and count == geometry.pixels):
            inner = prod(value.shape[i] for i in kept)
            order = [*axes, *kept]
            wanted = Geometry(1, count, inner)
            row = Layout.of([[(count * inner, 1)]]).reshape([value.shape[i] for i in order])
            assert row is not None  # one factor splits into anything
            x = b.arrange(Value(value.map, value.layout.transpose(order)), wanted, row)
            split = iter(row.dims[len(axes) :])
            dims = [() if i in axes else next(split) for i in range(len(value.shape))]
        out = b.new((1, 1, b.geometry(x).channels))
        result = Value(b.add(d.GlobalPool(x=x, out=out, kind=kind)), Layout(tuple(dims)))
    if not keep:
        result = Value(result.map, Layout(tuple(dim for i, dim in enumerate(result.layout.dims) if i not in axes)))
    return result
