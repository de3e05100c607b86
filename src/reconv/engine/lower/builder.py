"""What a lowering function works with: the values of its node, and the draft that it appends ops to.

A value of the graph is a constant (numpy) or a `Value`: a map and the layout of the tensor in it. A lowering function
asks for its inputs in the form that it needs (`Builder.spatial` for NCHW, `Builder.rows` for a matrix), which moves
data only where the layout is another. What it cannot do it answers with `UnsupportedError`, and the node is tail.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reconv.engine.lower import draft as d
from reconv.engine.lower.layout import Geometry, Layout, canonical, like
from reconv.graph import Node, TensorInfo

__all__ = ["Builder", "Spatial", "UnsupportedError", "Value", "axis_of"]

Array = NDArray[Any]
Floats = NDArray[np.float32]


MOST_MOVED = 1 << 28
MOST_AXES = 32  # of arrays in every version of numpy


class UnsupportedError(Exception):
    """The node cannot be lowered; the message is the reason that the placement shows."""


@dataclass(frozen=True)
class Value:
    """A float32 tensor in a map."""

    map: int
    layout: Layout

    @property
    def shape(self) -> tuple[int, ...]:
        return self.layout.shape


@dataclass(frozen=True)
class Spatial:
    """A tensor (1, C, L) or (1, C, H, W) in the map (H, W, C); ``rank`` is 3 or 4."""

    map: int
    geometry: Geometry
    rank: int


Result = Value | Array


@dataclass(eq=False)
class Builder:
    """The state of one lowering: values by name, and the draft."""

    opset: int
    draft: d.Draft = field(default_factory=d.Draft)
    values: dict[str, Value] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)
    node: int = -1  # position of the node being lowered
    readers: Mapping[str, Sequence[Node]] = field(default_factory=dict)
    makers: Mapping[str, Node] = field(default_factory=dict)
    results: frozenset[str] = frozenset()  # the model's outputs
    whole: dict[str, TensorInfo] = field(default_factory=dict)  # whole numbers in a map of floats -> input they are of
    steps: dict[str, Any] = field(default_factory=dict)  # what `quantized.folded` keeps of dequantized constants
    _arranged: dict[tuple[int, Layout, Geometry, Layout], int] = field(default_factory=dict)

    # --- the node's inputs ---

    def value(self, node: Node, position: int) -> Value:
        """Input ``position``, which has to be a map."""
        name = node.inputs[position] if position < len(node.inputs) else ""
        if name not in self.values:
            raise UnsupportedError(f"input {position} ({name or 'absent'}) is a constant, expected a feature map")
        value = self.values[name]
        if value.map in self.draft.codes:
            raise UnsupportedError(f"input {position} ({name}) is quantized, expected floats")
        return value

    def codes(self, node: Node, position: int) -> Value:
        """Input ``position``, which has to be a map of codes."""
        value = self.values.get(node.inputs[position])
        if value is None or value.map not in self.draft.codes:
            raise UnsupportedError(f"input {position} ({node.inputs[position]}) is not quantized by the model itself")
        return value

    def constant(self, node: Node, position: int) -> Array:
        """Input ``position``, which has to be known before any frame."""
        found = self.optional(node, position)
        if found is None:
            raise UnsupportedError(f"input {position} is missing")
        return found

    def optional(self, node: Node, position: int) -> Array | None:
        """Input ``position`` as a constant, or None when it is left out."""
        name = node.inputs[position] if position < len(node.inputs) else ""
        if not name:
            return None
        if name not in self.constants:
            raise UnsupportedError(f"input {position} ({name}) is computed from the frame, expected a constant")
        return self.constants[name]

    def operand(self, node: Node, position: int) -> Result:
        """Input ``position``, constant or map."""
        return self.value(node, position) if node.inputs[position] in self.values else self.constant(node, position)

    # --- maps and ops ---

    def geometry(self, x: int) -> Geometry:
        return self.draft.maps[x]

    def new(self, geometry: Sequence[int]) -> int:
        sizes = Geometry(*(int(size) for size in geometry))
        if min(sizes) < 1:
            raise UnsupportedError(f"an empty map {tuple(sizes)}")
        self.fits(sizes)
        return self.draft.map(sizes)

    @staticmethod
    def fits(sizes: Sequence[int]) -> None:
        """Refuse a map of more values than the core numbers, with what is around it."""
        if prod(int(size) for size in sizes) >= 1 << 31:
            raise UnsupportedError(f"a map {tuple(sizes)} of 2^31 values or more")

    @staticmethod
    def movable(shape: Sequence[int]) -> None:
        """Refuse a tensor so large that numbering its elements, 8 bytes each, is more than the work is worth."""
        if prod(int(size) for size in shape) > MOST_MOVED:
            raise UnsupportedError(f"moving {tuple(shape)}, more than {MOST_MOVED} values")

    def add(self, op: d.Op) -> int:
        """Append the op in the name of the current node; the map that it writes."""
        op.nodes = frozenset({self.node}) if self.node >= 0 else frozenset()
        return self.draft.add(op)

    def undo(self, ops: int, maps: int) -> None:
        """Take back what was appended since the draft had so many ops and maps."""
        del self.draft.ops[ops:]
        self.draft.forget(maps)
        self._arranged = {key: x for key, x in self._arranged.items() if x < maps}

    def check(self, node: Node, results: Sequence[Result]) -> None:
        """Refuse results that cannot be: fewer than the node's outputs, or values of another size than their map."""
        wanted = sum(1 for name in node.outputs if name)
        if len(results) < wanted:
            raise UnsupportedError(f"{wanted} outputs, expected {len(results)}")
        for result in results:
            if isinstance(result, Value) and len(result.layout.dims) > MOST_AXES:
                raise UnsupportedError(f"a tensor of {len(result.layout.dims)} axes, more than {MOST_AXES}")
            if isinstance(result, Value) and result.layout.size != self.geometry(result.map).size:
                raise UnsupportedError(f"a tensor {result.shape} in a map {tuple(self.geometry(result.map))}")

    # --- forms ---

    def spatial(self, value: Value) -> Spatial:
        """The value as NCHW (or NCL) with N = 1, channels innermost."""
        shape = value.shape
        if len(shape) not in (3, 4):
            raise UnsupportedError(f"a tensor of rank {len(shape)} where (N, C, H, W) or (N, C, L) is expected")
        if shape[0] != 1:
            raise UnsupportedError(f"a batch of {shape[0]}, expected 1")
        geometry, layout = canonical(shape)
        return Spatial(self.arrange(value, geometry, layout), geometry, len(shape))

    def unspatial(self, x: int, rank: int) -> Value:
        """The (1, C, H, W) or, for rank 3, (1, C, W) tensor that a map is."""
        height, width, channels = self.geometry(x)
        shape = (1, channels, height, width) if rank == 4 else (1, channels, width)
        return Value(x, canonical(shape)[1])

    def rows(self, value: Value) -> Value:
        """The value with its last dimension, and nothing else, as the channels of a map."""
        layout, geometry = value.layout, self.geometry(value.map)
        size = value.shape[-1]
        if geometry.channels == size and layout.dims[-1] == Layout.of([[(size, 1)]]).dims[0]:
            return value
        others = value.shape[:-1]
        strides = [size * prod(others[i + 1 :]) for i in range(len(others))]
        wanted = Layout.of([*([pair] for pair in zip(others, strides, strict=True)), [(size, 1)]])
        long = others[-1] if others else 1
        target = Geometry(prod(others[:-1]), long, size)
        return Value(self.arrange(value, target, wanted), wanted)

    def arrange(self, value: Value, geometry: Geometry, layout: Layout) -> int:
        """A map of this geometry in which the value has this layout: the same map where that is so already."""
        if (value.layout, self.geometry(value.map)) == (layout, geometry):
            return value.map
        key = (value.map, value.layout, geometry, layout)
        if key not in self._arranged:
            index = layout.to_map(value.layout.index(), geometry)
            self._arranged[key] = self.moved(value.map, index, geometry)
        return self._arranged[key]

    def move(self, value: Value, index: Array, fill: float = 0.0) -> Value:
        """The tensor whose elements are the value's map's elements of these numbers; -1 is ``fill``."""
        if index.size == 0:
            raise UnsupportedError(f"an empty tensor {index.shape}")
        self.movable(index.shape)
        kept = like(index.shape, value.layout, self.geometry(value.map))
        geometry, layout = kept or canonical(index.shape)
        return Value(self.moved(value.map, layout.to_map(index, geometry), geometry, fill), layout)

    def moved(self, x: int, index: Array, geometry: Geometry, fill: float = 0.0) -> int:
        """The map whose element i is element ``index[i]`` of x, by the cheapest op that does it.

        Args:
            index: (H, W, C) numbers of elements of x, or -1.
        """
        source = self.geometry(x)
        channels = geometry.channels
        flat = np.arange(index.size, dtype=np.int64).reshape(geometry)
        if source.size == index.size and np.array_equal(index, flat):
            if source == geometry:
                return x
            if source.channels == channels:
                return self.add(d.Copy(x=x, out=self.new(geometry)))
        if source[:2] == geometry[:2] and channels < source.channels:
            first = int(index.flat[0])
            whole = np.arange(source.size, dtype=np.int64).reshape(source)
            if 0 <= first <= source.channels - channels and np.array_equal(
                index, whole[:, :, first : first + channels]
            ):
                return self.view(x, first, channels)
        found = _pixel_move(index, source) if source.channels == channels else None
        if isinstance(found, tuple):
            return self.add(d.Pick(x=x, out=self.new(geometry), start=found[0], steps=found[1]))
        if found is not None:
            return self.add(d.Pad(x=x, out=self.new(geometry), before=(int(found[0]), int(found[1])), fill=fill))
        return self.add(d.Gather(x=x, out=self.new(geometry), index=index.astype(np.int32), fill=fill))

    def view(self, x: int, first: int, count: int) -> int:
        """Channels of a map, not copied."""
        below = next((op for op in reversed(self.draft.ops) if op.out == x), None)
        if isinstance(below, d.View):
            x, first = below.x, below.first + first
        height, width, _ = self.geometry(x)
        return self.add(d.View(x=x, out=self.new((height, width, count)), first=first))

    # --- constants against maps ---

    def laid(self, array: Array, value: Value) -> Floats:
        """A constant that broadcasts to the value's shape, in its map's order, (H|1, W|1, C|1): as small as it goes."""
        geometry = self.geometry(value.map)
        array = np.asarray(array, np.float32)
        if array.size == 1:
            return array.reshape(1, 1, 1)
        full = np.broadcast_to(array, value.shape)
        return shrink(value.layout.to_map(full, geometry))

    def filled(self, array: Array, near: Value) -> Value:
        """A map that holds a constant; ``near`` is any map that exists before it."""
        geometry, layout = canonical(array.shape)
        empty = np.full(geometry, -1, np.int32)
        out = self.add(d.Gather(x=near.map, out=self.new(geometry), index=empty, fill=0.0))
        blank = Value(out, layout)
        constant = self.laid(array, blank)
        if not constant.any():
            return blank
        filled = self.new(geometry)
        return Value(
            self.add(d.BinaryConstant(x=out, out=filled, kind="add", constant=constant, constant_first=False)), layout
        )

    def spread(self, value: Value, shape: Sequence[int]) -> Value:
        """The value, broadcast to ``shape`` by moving data."""
        if value.shape == tuple(shape):
            return value
        index = value.layout.index()
        return self.move(value, np.broadcast_to(index, tuple(shape)))


def shrink(array: Array) -> Floats:
    """The array with every axis along which it does not change cut to length 1."""
    for axis in range(array.ndim):
        first = array.take([0], axis)
        if array.shape[axis] > 1 and np.array_equal(np.broadcast_to(first, array.shape), array, equal_nan=True):
            array = first
    return np.ascontiguousarray(array, np.float32)


def _pixel_move(index: Array, source: Geometry) -> tuple[d.Pair, d.Pair] | NDArray[np.int64] | None:
    """Whether whole pixels move: (start, steps) of a strided window, or the (top, left) of a frame, or None."""
    channels = source.channels
    pixels = index[:, :, 0] // channels
    inside = index[:, :, 0] >= 0
    expected = np.where(inside[:, :, None], pixels[:, :, None] * channels + np.arange(channels), -1)
    if not np.array_equal(index, expected):
        return None
    ys, xs = np.divmod(pixels, source.width)
    if inside.all():
        start = (int(ys[0, 0]), int(xs[0, 0]))
        steps = (_step(ys[:, 0]), _step(xs[0]))
        height, width = pixels.shape
        rows = start[0] + steps[0] * np.arange(height)
        columns = start[1] + steps[1] * np.arange(width)
        # numbers alone would also fit a window that runs over the end of a row into the next
        fits = min(steps) > 0 and rows[-1] < source.height and columns[-1] < source.width
        if fits and np.array_equal(pixels, rows[:, None] * source.width + columns):
            return start, steps
        return None
    held = np.argwhere(inside)
    if not len(held):
        return None
    top, left = held[0]
    frame = np.full(pixels.shape, -1, np.int64)
    part = frame[top : top + source.height, left : left + source.width]
    if part.shape != source[:2]:
        return None
    part[:] = np.arange(source.pixels).reshape(source[:2])
    return held[0] if np.array_equal(np.where(inside, pixels, -1), frame) else None


def _step(line: Array) -> int:
    return int(line[1] - line[0]) if len(line) > 1 else 1


def lookup(mapping: Mapping[str, Any], key: str, default: Any) -> Any:
    """An attribute, text decoded."""
    found = mapping.get(key, default)
    return found.decode() if isinstance(found, bytes) else found


def ints(values: Iterable[Any]) -> tuple[int, ...]:
    return tuple(int(value) for value in values)


def axis_of(axis: int, rank: int) -> int:
    """An axis as a number from 0 on; negative ones count from the end."""
    if not -rank <= axis < rank:
        raise UnsupportedError(f"axis {axis} of a tensor of rank {rank}")
    return int(axis) % rank
