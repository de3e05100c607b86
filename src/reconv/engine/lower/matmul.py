"""MatMul and Gemm with a constant matrix: a 1x1 convolution over the rows, or one window over a whole map.

https://onnx.ai/onnx/operators/onnx__Gemm.html. A flattened (C, H, W) map times a matrix is a convolution whose
kernel is as large as the map, with the matrix's rows in the map's order: nothing is moved.
"""

from __future__ import annotations

from math import prod

import numpy as np

from reconv.engine.lower import draft as d
from reconv.engine.lower.builder import Array, Builder, Result, UnsupportedError, Value
from reconv.engine.lower.layout import Layout
from reconv.engine.lower.pointwise import with_constant
from reconv.engine.lower.quantized import grid_of
from reconv.graph import Node

__all__ = ["gemm", "matmul"]


def matmul(b: Builder, node: Node) -> list[Result]:
    left, right = b.operand(node, 0), b.operand(node, 1)
    if isinstance(left, Value) and isinstance(right, Value):
        raise UnsupportedError("a product of two feature maps")
    if isinstance(left, Value):
        assert not isinstance(right, Value)
        matrix = _matrix(right)
        if right.ndim == 1:
            product = times(b, left, matrix.reshape(-1, 1), None)
            return [Value(product.map, Layout(product.layout.dims[:-1]))]
        grid = grid_of(b, node, right.ndim - 1, matrix.shape[1])
        return [_lead(times(b, left, matrix, None, grid), right.ndim)]
    assert isinstance(right, Value)
    if len(right.shape) == 1:
        product = times(b, right, _matrix(left).reshape(-1, right.shape[0]).T, None)
        return [product if left.ndim > 1 else Value(product.map, Layout(()))]
    # A @ x = (x^T @ A^T)^T, and transposing is free
    flipped = Value(right.map, right.layout.transpose(_swapped(len(right.shape))))
    matrix = _matrix(left)
    grid = grid_of(b, node, left.ndim - 2, matrix.shape[0]) if left.ndim > 1 else None
    product = times(b, flipped, (matrix if left.ndim > 1 else matrix.reshape(1, -1)).T, None, grid)
    layout = product.layout.transpose(_swapped(len(product.shape)))
    if left.ndim == 1:
        layout = Layout((*layout.dims[:-2], layout.dims[-1]))
    return [_lead(Value(product.map, layout), left.ndim)]


def gemm(b: Builder, node: Node) -> list[Result]:
    """alpha * A' @ B' + beta * C."""
    value, matrix = b.value(node, 0), b.constant(node, 1)
    attributes = node.attributes
    if len(value.shape) != 2 or matrix.ndim != 2:
        raise UnsupportedError(f"a product of {value.shape} and {matrix.shape}, expected matrices")
    if matrix.dtype != np.float32:
        raise UnsupportedError(f"a matrix of type {matrix.dtype}, expected float32")
    if attributes.get("transA", 0):
        value = Value(value.map, value.layout.transpose((1, 0)))
    if attributes.get("transB", 0):
        matrix = matrix.T
    alpha = float(attributes.get("alpha", 1.0))
    if alpha != 1:
        matrix = matrix * np.float32(alpha)
    grid = grid_of(b, node, 0 if attributes.get("transB", 0) else 1, matrix.shape[1], factor=alpha)
    if grid is not None and attributes.get("beta", 1.0) != 1:
        grid = d.Grid(grid.scale)
    extra = node.inputs[2] if len(node.inputs) > 2 else ""
    if not extra:
        return [times(b, value, matrix, None, grid)]
    addend = b.constant(node, 2) * np.float32(attributes.get("beta", 1.0))
    if prod(addend.shape[:-1]) == 1:
        bias = np.ascontiguousarray(np.broadcast_to(addend.reshape(-1), (matrix.shape[1],)), np.float32)
        return [times(b, value, matrix, bias, grid)]
    product = times(b, value, matrix, None, None if grid is None else d.Grid(grid.scale))
    if np.broadcast_shapes(product.shape, addend.shape) != product.shape:
        raise UnsupportedError(f"a term {addend.shape} that is larger than the product {product.shape}")
    return [with_constant(b, product, "add", addend)]


def times(b: Builder, value: Value, matrix: Array, bias: Array | None, grid: d.Grid | None = None) -> Value:
    """value (..., K) @ matrix (K, N) + bias (N,); ``grid`` of the matrix, a step per column."""
    summed, columns = matrix.shape
    if value.shape[-1] != summed:
        raise UnsupportedError(f"a product of {value.shape} and {matrix.shape}")
    whole = prod(value.shape[:-1]) == 1
    if whole:
        geometry = b.geometry(value.map)
        kernel = (geometry.height, geometry.width)
        last = Layout((*value.layout.dims, ()))  # (1.., K) with the columns beside it
        order = np.argsort(last.from_map(np.arange(geometry.size).reshape(geometry)).ravel())
        weight = matrix[order].T.reshape(columns, *kernel, geometry.channels).transpose(0, 3, 1, 2)
    else:
        value = b.rows(value)
        geometry, kernel = b.geometry(value.map), (1, 1)
        weight = matrix.T.reshape(columns, summed, 1, 1)
    height, width = geometry.height - kernel[0] + 1, geometry.width - kernel[1] + 1
    op = d.Conv(
        x=value.map,
        out=b.new((height, width, columns)),
        weight=np.ascontiguousarray(weight, np.float32),
        bias=bias,
        strides=(1, 1),
        pads=(0, 0),
        dilations=(1, 1),
        groups=1,
        grid=grid,
    )
    column = Layout.of([[(columns, 1)]]).dims[0]
    if whole:
        return Value(b.add(op), Layout((*(() for _ in value.shape[:-1]), column)))
    rest = Layout(value.layout.dims[:-1]).rescale(summed, columns)
    assert rest is not None  # `rows` made the channels the last dimension
    return Value(b.add(op), Layout((*rest.dims, column)))


def _matrix(array: Array) -> Array:
    if array.dtype != np.float32:
        raise UnsupportedError(f"a matrix of type {array.dtype}, expected float32")
    if array.ndim > 2:
        if prod(array.shape[:-2]) != 1:
            raise UnsupportedError(f"a batch of matrices {array.shape}")
        return array.reshape(array.shape[-2:])
    return array


def _lead(value: Value, rank: int) -> Value:
    """Numpy's broadcasting: the result has at least the rank of the other operand."""
    missing = rank - len(value.shape)
    return Value(value.map, Layout(((),) * missing + value.layout.dims)) if missing > 0 else value


def _swapped(rank: int) -> list[int]:
    return [*range(rank - 2), rank - 1, rank - 2]
