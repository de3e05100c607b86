"""Ops that only move data: reshapes, transposes, slices, splits, pads, concats and their kin.

What the layout can say costs nothing. For the rest the op's movement is applied to the numbers of the map's elements
(with numpy, or with ONNX's reference), which is exact for every op that only moves, and `Builder.moved` finds the
cheapest op for the result: a view of channels, a strided window, a frame, or a gather.
"""

from __future__ import annotations

from math import prod

import numpy as np

from reconv.engine.lower import draft as d
from reconv.engine.lower.builder import Array, Builder, Result, UnsupportedError, Value, axis_of, ints, lookup
from reconv.engine.lower.layout import Geometry, Layout, canonical
from reconv.errors import ModelError
from reconv.graph import Node, evaluate

__all__ = [
    "cast",
    "concat",
    "dropout",
    "expand",
    "flatten",
    "identity",
    "moving",
    "pad",
    "reshape",
    "split",
    "squeeze",
    "transpose",
    "unsqueeze",
]


FLOAT, HALF = 1, (10, 16)  # of TensorProto's types: float32; float16 and bfloat16


def identity(b: Builder, node: Node) -> list[Result]:
    return [b.value(node, 0)]


def dropout(b: Builder, node: Node) -> list[Result]:
    training = b.optional(node, 2)
    if training is not None and bool(training):
        raise UnsupportedError("dropout in training mode")
    value = b.value(node, 0)
    results: list[Result] = [value, np.ones(value.shape, np.bool_)]
    return results[: len(node.outputs)]


def cast(b: Builder, node: Node) -> list[Result]:
    kind, made = int(node.attributes["to"]), node.outputs[0]
    leaves = made in b.results and not b.readers.get(made)
    if kind != FLOAT and not (kind in HALF and leaves):  # what leaves the model is rounded there
        raise UnsupportedError("a cast to another type than float32")
    return [b.value(node, 0)]


def reshaped(b: Builder, value: Value, shape: tuple[int, ...]) -> Value:
    layout = value.layout.reshape(shape)
    if layout is not None:
        return Value(value.map, layout)
    return b.move(value, value.layout.index().reshape(shape))


def reshape(b: Builder, node: Node) -> list[Result]:
    value = b.value(node, 0)
    wanted = list(ints(b.constant(node, 1)))
    if not node.attributes.get("allowzero", 0):
        wanted = [value.shape[i] if size == 0 else size for i, size in enumerate(wanted)]
    if -1 in wanted:
        rest = -prod(wanted)
        wanted[wanted.index(-1)] = prod(value.shape) // rest if rest else 0
    if prod(wanted) != prod(value.shape):
        raise UnsupportedError(f"a reshape of {value.shape} to {tuple(wanted)}")
    return [reshaped(b, value, tuple(wanted))]


def flatten(b: Builder, node: Node) -> list[Result]:
    value = b.value(node, 0)
    axis, rank = int(node.attributes.get("axis", 1)), len(value.shape)
    axis = rank if axis == rank else axis_of(axis, rank)
    return [reshaped(b, value, (prod(value.shape[:axis]), prod(value.shape[axis:])))]


def transpose(b: Builder, node: Node) -> list[Result]:
    value = b.value(node, 0)
    order = ints(node.attributes.get("perm", range(len(value.shape))[::-1]))
    if sorted(order) != list(range(len(value.shape))):
        raise UnsupportedError(f"a transpose of {value.shape} by {order}")
    return [Value(value.map, value.layout.transpose(order))]


def axes_of(b: Builder, node: Node) -> tuple[int, ...] | None:
    """The ``axes`` of Squeeze and Unsqueeze: an attribute before opset 13, an input since."""
    given = node.attributes.get("axes")
    if given is None:
        given = b.optional(node, 1)
    return None if given is None else ints(np.atleast_1d(given))


def squeeze(b: Builder, node: Node) -> list[Result]:
    value = b.value(node, 0)
    rank = len(value.shape)
    axes = axes_of(b, node)
    gone = {i for i, n in enumerate(value.shape) if n == 1} if axes is None else {axis_of(i, rank) for i in axes}
    if any(value.shape[i] != 1 for i in gone):
        raise UnsupportedError(f"a squeeze of the axes {sorted(gone)} of {value.shape}")
    return [Value(value.map, Layout(tuple(dim for i, dim in enumerate(value.layout.dims) if i not in gone)))]


def unsqueeze(b: Builder, node: Node) -> list[Result]:
    value, axes = b.value(node, 0), axes_of(b, node)
    if axes is None:
        raise UnsupportedError("axes are missing")
    rank = len(value.shape) + len(axes)
    new = {axis_of(axis, rank) for axis in axes}
    if len(new) != len(axes):
        raise UnsupportedError(f"axes {axes} that repeat")
    old = iter(value.layout.dims)
    return [Value(value.map, Layout(tuple(() if i in new else next(old) for i in range(rank))))]


def expand(b: Builder, node: Node) -> list[Result]:
    value = b.value(node, 0)
    shape = np.broadcast_shapes(value.shape, ints(b.constant(node, 1)))
    b.movable(shape)
    return [b.spread(value, shape)]


def moving(b: Builder, node: Node) -> list[Result]:
    """Slice, Tile, Gather, DepthToSpace...: whatever the reference makes of the numbers of the elements."""
    value = b.value(node, 0)
    rest = [b.optional(node, i) for i in range(1, len(node.inputs))]
    b.movable(value.shape)
    # numbers above 2^24 are not exact in float32, and not every op of the reference takes int64 alike
    try:
        results = evaluate(node, [value.layout.index(), *rest], b.opset)
    except ModelError as error:
        raise UnsupportedError(str(error)) from error
    return [b.move(value, np.asarray(result, np.int64)) for result in results]


def split(b: Builder, node: Node) -> list[Result]:
    value = b.value(node, 0)
    axis = axis_of(int(node.attributes.get("axis", 0)), len(value.shape))
    given = node.attributes.get("split")
    if given is None:
        given = b.optional(node, 1)
    size, count = value.shape[axis], len(node.outputs)
    if given is None:
        each = -(-size // count)
        sizes = [min(each, size - i * each) for i in range(count)]
    else:
        sizes = list(ints(given))
    if sum(sizes) != size or min(sizes) < 0 or len(sizes) != count:
        raise UnsupportedError(f"{count} parts of sizes {tuple(sizes)} of an axis of {size}")
    edges = np.cumsum(sizes)[:-1]
    return [b.move(value, part) for part in np.split(value.layout.index(), edges, axis)]


def pad(b: Builder, node: Node) -> list[Result]:
    value = b.value(node, 0)
    rank = len(value.shape)
    mode = lookup(node.attributes, "mode", "constant")
    if "pads" in node.attributes:
        pads, fill = ints(node.attributes["pads"]), float(node.attributes.get("value", 0.0))
    else:
        pads = ints(b.constant(node, 1))
        given = b.optional(node, 2)
        fill = 0.0 if given is None or not given.size else float(np.asarray(given).reshape(-1)[0])
    axes = b.optional(node, 3)
    where = range(rank) if axes is None else [axis_of(axis, rank) for axis in ints(axes)]
    before, after = [0] * rank, [0] * rank
    for axis, first, last in zip(where, pads[: len(pads) // 2], pads[len(pads) // 2 :], strict=True):
        before[axis], after[axis] = first, last
    sizes = [n + f + a for n, f, a in zip(value.shape, before, after, strict=True)]
    if min(sizes, default=1) < 1:
        raise UnsupportedError(f"a pad to {tuple(sizes)}")
    b.movable(sizes)
    index = value.layout.index()
    kept = tuple(slice(max(0, -f), n - max(0, -a)) for f, a, n in zip(before, after, value.shape, strict=True))
    index = index[kept]
    widths = [(max(0, f), max(0, a)) for f, a in zip(before, after, strict=True)]
    if mode == "constant":
        return [b.move(value, np.pad(index, widths, constant_values=-1), fill)]
    modes = {"reflect": "reflect", "edge": "edge", "wrap": "wrap"}
    if mode not in modes or index.size == 0:
        raise UnsupportedError(f"mode {mode}")
    return [b.move(value, np.pad(index, widths, mode=modes[mode]))]  # type: ignore[call-overload]  # a literal there


def concat(b: Builder, node: Node) -> list[Result]:
    operands = [b.operand(node, i) for i in range(len(node.inputs))]
    near = next(operand for operand in operands if isinstance(operand, Value))
    if any(operand.dtype != np.float32 for operand in operands if not isinstance(operand, Value)):
        raise UnsupportedError("a concat with constants of another type")
    values = [o if isinstance(o, Value) else b.filled(o, near) for o in operands if prod(o.shape)]
    axis = axis_of(int(node.attributes["axis"]), len(near.shape))
    if len({(*value.shape[:axis], *value.shape[axis + 1 :]) for value in values}) > 1:
        raise UnsupportedError(f"a concat of {', '.join(str(value.shape) for value in values)}")
    if len(values) == 1:
        return [values[0]]
    return [
        on_channels(b, values, axis)
        or on_pixels(b, values, axis)
        or on_canonical(b, values, axis)
        or on_channels(b, [_turned(b, value, axis) for value in values], axis)
        or _refuse()
    ]


def _refuse() -> Value:
    raise UnsupportedError("a concat whose parts lie differently")


def on_channels(b: Builder, values: list[Value], axis: int) -> Value | None:
    """Concat where in every part the axis is the channels, and the pixels lie alike."""
    total = sum(value.shape[axis] for value in values)
    forms = set()
    for value in values:
        geometry, size = b.geometry(value.map), value.shape[axis]
        if geometry.channels != size or value.layout.dims[axis] != Layout.of([[(size, 1)]]).dims[0]:
            return None
        rest = Layout(tuple(dim for i, dim in enumerate(value.layout.dims) if i != axis)).rescale(size, total)
        forms.add((geometry[:2], rest))
    if len(forms) > 1:
        return None
    (pixels, rest) = forms.pop()
    assert rest is not None  # the channels are the axis, so every other factor is outside them
    parts: list[tuple[int, d.Channels | d.Pixels]] = []
    first = 0
    for value in values:
        parts.append((value.map, d.Channels(first, value.shape[axis])))
        first += value.shape[axis]
    out = b.add(d.Assemble(parts=parts, out=b.new((*pixels, total))))
    dims = list(rest.dims)
    dims.insert(axis, Layout.of([[(total, 1)]]).dims[0])
    return Value(out, Layout(tuple(dims)))


def on_pixels(b: Builder, values: list[Value], axis: int) -> Value | None:
    """Concat where in every part the axis is the slowest of the pixels, and everything within lies alike."""
    forms = set()
    for value in values:
        geometry, size = b.geometry(value.map), value.shape[axis]
        inner = geometry.size // size
        rest = tuple(dim for i, dim in enumerate(value.layout.dims) if i != axis)
        axis_dim = value.layout.dims[axis]
        if inner % geometry.channels or axis_dim != Layout.of([[(size, inner)]]).dims[0]:
            return None
        forms.add((inner, geometry.channels, rest))
    if len(forms) > 1:
        return None
    inner, channels, rest = forms.pop()
    parts: list[tuple[int, d.Channels | d.Pixels]] = []
    first = 0
    for value in values:
        geometry = b.geometry(value.map)
        parts.append((value.map, d.Pixels(first, geometry.height, geometry.width)))
        first += geometry.pixels
    total = sum(value.shape[axis] for value in values)
    out = b.add(d.Assemble(parts=parts, out=b.new((1, first, channels))))
    dims = list(rest)
    dims.insert(axis, Layout.of([[(total, inner)]]).dims[0])
    return Value(out, Layout(tuple(dims)))


def on_canonical(b: Builder, values: list[Value], axis: int) -> Value | None:
    """The same after every part was brought into the usual form for its rank."""
    laid = []
    for value in values:
        geometry, layout = canonical(value.shape)
        laid.append(Value(b.arrange(value, geometry, layout), layout))
    return on_channels(b, laid, axis) or on_pixels(b, laid, axis)


def _turned(b: Builder, value: Value, axis: int) -> Value:
    """The value with the axis as its map's channels and the other dimensions as its pixels, in order."""
    others = [size for i, size in enumerate(value.shape) if i != axis]
    size = value.shape[axis]
    dims: list[list[tuple[int, int]]] = [[(n, size * prod(others[i + 1 :]))] for i, n in enumerate(others)]
    dims.insert(axis, [(size, 1)])
    layout = Layout.of(dims)
    return Value(b.arrange(value, Geometry(1, prod(others), size), layout), layout)


def shape_of(node: Node, shape: tuple[int, ...]) -> Array:
    """Shape and Size of a map: sizes are fixed, so they are constants."""
    if node.op_type == "Size":
        return np.asarray(prod(shape), np.int64)
    rank = len(shape)
    start, end = int(node.attributes.get("start", 0)), int(node.attributes.get("end", rank))
    return np.asarray(shape[slice(start, end)], np.int64)
