"""In which layout an input enters: the one that the first op that cares will ask for.

An NHWC model begins with a Transpose, an audio model with a Reshape. The input's layout in memory is followed through
such nodes to the first convolution or pool; read backwards, that gives strides with which the input is copied in, in
the order in which it is used.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from reconv.engine.lower.builder import Value, ints
from reconv.engine.lower.layout import Factor, Geometry, Layout, canonical, row_major
from reconv.graph import Graph, Node

__all__ = ["input_form"]

Array = np.ndarray[Any, Any]

# they ask for (N, C, H, W) or (N, C, L)
SPATIAL = frozenset(
    (
        "Conv",
        "ConvTranspose",
        "MaxPool",
        "AveragePool",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "BatchNormalization",
        "Resize",
        "Upsample",
        "DepthToSpace",
        "SpaceToDepth",
    )
)
# one map in, the same elements in the same order out
SAME = frozenset(
    (
        *("Identity", "Cast", "Dropout", "Relu", "LeakyRelu", "Sigmoid", "Tanh", "Clip", "Add", "Sub", "Mul", "Div"),
        *("Neg", "QuantizeLinear", "DequantizeLinear"),
    )
)


def input_form(graph: Graph, name: str, shape: tuple[int, ...]) -> tuple[Geometry, Layout]:
    """The map for an input of this shape, and the layout of the input in it."""
    users: dict[str, list[Node]] = defaultdict(list)
    for node in graph.nodes:
        for read in node.inputs:
            users[read].append(node)
    memory = row_major(shape)[1]
    seen: set[str] = set()
    queue: list[tuple[str, Layout]] = [(name, memory)]
    while queue:
        at, layout = queue.pop(0)
        if at in seen:
            continue
        seen.add(at)
        for node in users[at]:
            if node.op_type in SPATIAL and node.inputs[0] == at:
                found = _backwards(memory, layout)
                if found is not None:
                    return found
            try:
                through = _through(graph.constants, node, at, layout)
            except (ValueError, IndexError, ZeroDivisionError, StopIteration):  # sizes do not fit: told when lowered
                through = None
            if through is not None:
                queue.append((node.outputs[0], through))
    return canonical(shape)


def _through(constants: Mapping[str, Array], node: Node, at: str, layout: Layout) -> Layout | None:
    """The layout after a node that moves nothing; None for any other node."""
    if node.op_type in SAME:
        others = [constants[name].shape for name in node.inputs if name and name != at and name in constants]
        try:
            same = np.broadcast_shapes(layout.shape, *others) == layout.shape
        except ValueError:
            return None
        return layout if same else None
    if node.op_type == "Transpose":
        return layout.transpose(ints(node.attributes.get("perm", range(len(layout.dims))[::-1])))
    if node.op_type == "Reshape" and node.inputs[1] in constants:
        given = ints(constants[node.inputs[1]])
        if any(size == 0 and i >= len(layout.shape) for i, size in enumerate(given)):
            return None
        wanted = [layout.shape[i] if size == 0 else size for i, size in enumerate(given)]
        known = prod(size for size in wanted if size >= 0)
        wanted = [layout.size // known if size < 0 and known else size for size in wanted]
        return layout.reshape(wanted) if prod(wanted) == layout.size else None
    if node.op_type in ("Squeeze", "Unsqueeze"):
        axes = node.attributes.get("axes")
        if axes is None and len(node.inputs) > 1:
            axes = constants.get(node.inputs[1])
        if axes is None:
            return None
        where = ints(np.atleast_1d(axes))
        if node.op_type == "Squeeze":
            gone = {axis % len(layout.dims) for axis in where}
            return Layout(tuple(dim for i, dim in enumerate(layout.dims) if i not in gone))
        rank = len(layout.dims) + len(where)
        new, old = {axis % rank for axis in where}, iter(layout.dims)
        return Layout(tuple(() if i in new else next(old) for i in range(rank)))
    return None


def _backwards(memory: Layout, used: Layout) -> tuple[Geometry, Layout] | None:
    """The map in which ``used``, a layout over the input's memory, is NCHW; and the input's layout in that map."""
    if len(used.dims) not in (3, 4) or used.shape[0] != 1 or any(len(dim) > 1 for dim in used.dims):
        return None
    geometry, target = canonical(used.shape)
    # every used factor: where it lies in memory, and where in the map
    moved = sorted(
        ((old[0].stride, old[0].size, new[0].stride) for old, new in zip(used.dims, target.dims, strict=True) if old),
        reverse=True,
    )
    dims: list[list[Factor]] = []
    for dim in memory.dims:
        factors: list[Factor] = []
        size = prod(factor.size for factor in dim)
        while size > 1:
            if not moved:
                return None
            stride, length, place = moved.pop(0)
            if size % length == 0:
                factors.append(Factor(length, place))
                size //= length
            elif length % size == 0:  # this dimension is the outer part of the factor
                inner = length // size
                factors.append(Factor(size, place * inner))
                moved.insert(0, (stride, inner, place))
                size = 1
            else:
                return None
        dims.append(factors)
    layout = Layout.of(dims)
    return (geometry, layout) if layout.border_strides(geometry) is not None else None


def output_form(value: Value, geometry: Geometry) -> tuple[int, int, int] | None:
    """Strides with which a value leaves its map, or None when it has to be rearranged first."""
    return value.layout.border_strides(geometry)
