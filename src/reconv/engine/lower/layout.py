"""How the elements of an ONNX tensor lie in a map: the algebra that makes reshapes and transposes free.

A map's elements are numbered in its logical order (y, x, channel). A layout writes every dimension of the tensor as
factors, outermost first; a factor is a size and the distance, in that numbering, between its neighbours. Element
``(i0, i1, ...)`` of the tensor is the map's element number ``sum(digit * stride)`` over the mixed-radix digits of the
``i``. For NCHW over an (H, W, C) map::

    N ()   C ((C, 1),)   H ((H, W*C),)   W ((W, C),)

Transpose permutes the dimensions, Reshape regroups the factors, and no data moves. A layout is always a bijection
between the tensor and the whole map. What it cannot express, `reconv.engine.lower.builder` gathers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Factor", "Geometry", "Layout", "canonical", "like", "row_major"]

Array = NDArray[Any]


class Geometry(NamedTuple):
    """The size of a map."""

    height: int
    width: int
    channels: int

    @property
    def size(self) -> int:
        return self.height * self.width * self.channels

    @property
    def pixels(self) -> int:
        return self.height * self.width


class Factor(NamedTuple):
    size: int
    stride: int


Dim = tuple[Factor, ...]


@dataclass(frozen=True)
class Layout:
    """Factors of every dimension of a tensor, outermost first, over the elements of a map (see the module)."""

    dims: tuple[Dim, ...]

    @staticmethod
    def of(dims: Iterable[Iterable[tuple[int, int]]]) -> Layout:
        """The layout with these factors, written in the one normal form: no factors of size 1, neighbours merged."""
        return Layout(tuple(_merged(Factor(*factor) for factor in dim) for dim in dims))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(prod(factor.size for factor in dim) for dim in self.dims)

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def factors(self) -> tuple[Factor, ...]:
        """All factors in the tensor's row-major order."""
        return tuple(factor for dim in self.dims for factor in dim)

    def transpose(self, permutation: Sequence[int]) -> Layout:
        """As ONNX Transpose: dimension ``i`` of the result is dimension ``permutation[i]``."""
        return Layout(tuple(self.dims[axis] for axis in permutation))

    def reshape(self, shape: Sequence[int]) -> Layout | None:
        """The same elements in the same row-major order under another shape; None when factors would have to break."""
        if prod(shape) != self.size:
            raise ValueError(f"cannot reshape {self.shape} to {tuple(shape)}")
        left = list(reversed(_merged(self.factors)))
        dims: list[list[Factor]] = []
        for size in shape:
            dim: list[Factor] = []
            while size > 1:
                factor = left.pop()
                if size % factor.size == 0:
                    dim.append(factor)
                    size //= factor.size
                elif factor.size % size == 0:
                    inner = factor.size // size
                    dim.append(Factor(size, factor.stride * inner))
                    left.append(Factor(inner, factor.stride))
                    size = 1
                else:
                    return None
            dims.append(dim)
        return Layout.of(dims)

    def rescale(self, old: int, new: int) -> Layout | None:
        """The layout of the same pixels when every pixel has ``new`` instead of ``old`` elements.

        None when a factor lies within a pixel.
        """
        if any(factor.stride % old for factor in self.factors):
            return None
        return Layout(tuple(tuple(Factor(size, stride // old * new) for size, stride in dim) for dim in self.dims))

    def index(self) -> NDArray[np.int64]:
        """For every element of the tensor, in the tensor's shape, the number of the map's element that it is."""
        result: NDArray[np.int64] = np.zeros((), np.int64)
        for size, stride in self.factors:
            result = result[..., None] + np.arange(size, dtype=np.int64) * stride
        return result.reshape(self.shape)

    def to_map(self, array: Array, geometry: Geometry) -> Array:
        """An array of the tensor's shape, rearranged to the map's (H, W, C)."""
        factors = self.factors
        order = sorted(range(len(factors)), key=lambda i: -factors[i].stride)
        return array.reshape([factor.size for factor in factors]).transpose(order).reshape(geometry)

    def from_map(self, array: Array) -> Array:
        """An array of the map's (H, W, C), rearranged to the tensor's shape: the inverse of `to_map`."""
        factors = self.factors
        order = sorted(range(len(factors)), key=lambda i: -factors[i].stride)
        inverse = [order.index(i) for i in range(len(order))]
        return array.reshape([factors[i].size for i in order]).transpose(inverse).reshape(self.shape)

    def border_strides(self, geometry: Geometry) -> tuple[int, int, int] | None:
        """Strides of (y, x, channel) in the C-contiguous tensor, in elements; None when they are not constant."""
        axes: tuple[list[Factor], ...] = ([], [], [])  # per axis: (size, stride in the tensor), by stride in the map
        step = self.size
        placed: list[tuple[int, int, int]] = []  # stride in the map, size, stride in the tensor
        for size, stride in self.factors:
            step //= size
            pieces = _split_at(Factor(size, stride), (geometry.channels, geometry.width * geometry.channels))
            if pieces is None:
                return None
            inner = step
            for piece in reversed(pieces):
                placed.append((piece.stride, piece.size, inner))
                inner *= piece.size
        for stride, size, tensor_stride in sorted(placed, reverse=True):
            axis = 2 if stride < geometry.channels else 1 if stride < geometry.width * geometry.channels else 0
            axes[axis].append(Factor(size, tensor_stride))
        found = []
        for axis_factors in axes:
            merged = _merged(axis_factors)
            if len(merged) > 1:
                return None
            found.append(merged[0].stride if merged else 0)
        return found[0], found[1], found[2]


def _merged(factors: Iterable[Factor]) -> Dim:
    result: list[Factor] = []
    for factor in factors:
        if factor.size == 1:
            continue
        if result and result[-1].stride == factor.size * factor.stride:
            result[-1] = Factor(result[-1].size * factor.size, factor.stride)
        else:
            result.append(factor)
    return tuple(result)


def _split_at(factor: Factor, boundaries: Sequence[int]) -> list[Factor] | None:
    """The factor in pieces, outermost first, none of which crosses a boundary between channels, columns and rows."""
    pieces = [factor]
    for boundary in sorted(boundaries, reverse=True):
        size, stride = pieces[-1]
        if not stride < boundary < size * stride:
            continue
        if boundary % stride or size % (boundary // stride):
            return None
        inner = boundary // stride
        pieces[-1:] = [Factor(size // inner, boundary), Factor(inner, stride)]
    return pieces


def canonical(shape: Sequence[int]) -> tuple[Geometry, Layout]:
    """The map that a tensor gets when nothing asks for another: NCHW, NCL (H = 1) or NC (H = W = 1) with N = 1.

    Tensors that are not one item of a batch are rows of their last dimension.
    """
    shape = tuple(shape)
    if len(shape) < 2 or shape[0] != 1:
        return row_major(shape)
    channels, spatial = shape[1], shape[2:]
    width = spatial[-1] if spatial else 1
    geometry = Geometry(prod(spatial[:-1]), width, channels)
    strides = [channels * prod(spatial[i + 1 :]) for i in range(len(spatial))]
    return geometry, Layout.of([[], [(channels, 1)], *([pair] for pair in zip(spatial, strides, strict=True))])


def row_major(shape: Sequence[int]) -> tuple[Geometry, Layout]:
    """The map in which a tensor lies as in memory: its last dimension is the channels."""
    shape = tuple(shape)
    strides = [prod(shape[i + 1 :]) for i in range(len(shape))]
    channels = shape[-1] if shape else 1
    width = shape[-2] if len(shape) > 1 else 1
    geometry = Geometry(prod(shape[:-2]), width, channels)
    return geometry, Layout.of([pair] for pair in zip(shape, strides, strict=True))


def like(shape: Sequence[int], model: Layout, geometry: Geometry) -> tuple[Geometry, Layout] | None:
    """A map for a tensor of another shape and the same rank, its dimensions on the same axes as the model's.

    None where a dimension of the model lies on two axes, or one that grows lies on none.
    """
    if len(shape) != len(model.dims):
        return None
    axis_of: list[int] = []
    for size, dim in zip(shape, model.dims, strict=True):
        if len(dim) > 1 or (not dim and size > 1):
            return None
        stride = dim[0].stride if dim else 0
        crosses = dim and _split_at(dim[0], (geometry.channels, geometry.width * geometry.channels)) != [dim[0]]
        if crosses:
            return None
        axis_of.append(2 if stride < geometry.channels else 1 if stride < geometry.width * geometry.channels else 0)
    order = sorted(range(len(shape)), key=lambda i: model.dims[i][0].stride if model.dims[i] else 0)
    dims: list[list[tuple[int, int]]] = [[] for _ in shape]
    sizes = [1, 1, 1]
    stride = 1
    for i in order:
        dims[i] = [(shape[i], stride)]
        stride *= shape[i]
        if model.dims[i]:
            sizes[axis_of[i]] *= shape[i]
    return Geometry(*sizes), Layout.of(dims)
