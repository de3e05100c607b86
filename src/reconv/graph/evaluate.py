"""Compute one node on constants, with ONNX's own reference implementation (``onnx.reference``).

The lowering folds shape arithmetic and arithmetic on weights with it. It is slow and right: not for maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, prod
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from reconv.errors import ModelError, one_line
from reconv.graph.graph import Node

__all__ = ["evaluate"]

Array = np.ndarray[Any, Any]

MOST_VALUES = 1 << 28  # that a node may make here: a file of a few bytes can ask for any number


def evaluate(node: Node, inputs: Sequence[Array | None], opset: int) -> tuple[Array, ...]:
    """The node's outputs for these inputs (None where an optional input is left out), in the node's order.

    Raises:
        ModelError: the node has a subgraph or is of another domain than ONNX's, or the reference implementation
            does not know it or refuses the values, or there are more than 2^28 of them.
    """
    if node.domain or node.captures:
        raise ModelError(f"node {node.name!r} ({node.domain}.{node.op_type}) cannot be computed ahead")
    values_made = _at_least(node, [np.empty(0) if value is None else value for value in inputs])
    if values_made > MOST_VALUES:
        raise ModelError(f"node {node.name!r} ({node.op_type}) makes {values_made} values, too many to compute ahead")
    feeds = {f"in{i}": value for i, value in enumerate(inputs) if value is not None}
    names = ["" if value is None else f"in{i}" for i, value in enumerate(inputs)]
    results = [f"out{i}" if name else "" for i, name in enumerate(node.outputs)]
    try:
        attributes = {key: _plain(value) for key, value in node.attributes.items()}
        proto = helper.make_node(node.op_type, names, results, **attributes)
        graph = helper.make_graph(
            [proto],
            "one_node",
            [_typed(name, value) for name, value in feeds.items()],
            [onnx.ValueInfoProto(name=name) for name in results if name],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        values = ReferenceEvaluator(model).run(None, feeds)
    except Exception as error:  # the reference implementation raises whatever numpy raises
        raise ModelError(f"node {node.name!r} ({node.op_type}) cannot be computed ahead: {one_line(error)}") from error
    found = iter(values)
    return tuple(np.asarray(next(found)) if name else np.empty(0) for name in results)


def _at_least(node: Node, inputs: Sequence[Array]) -> int:
    """How many values come out of the operators that can make much out of little; 0 where that is not known."""
    kind = node.op_type
    try:
        if kind == "ConstantOfShape":
            return prod(int(size) for size in inputs[0])
        if kind == "Tile":
            return inputs[0].size * prod(int(count) for count in inputs[1])
        if kind == "Expand":
            return prod(int(size) for size in inputs[1])
        if kind == "Range":
            start, end, step = (float(value) for value in inputs[:3])
            return ceil((end - start) / step)
        if kind == "Pad":
            pads = node.attributes.get("pads", inputs[1])
            return inputs[0].size * prod(1 + max(0, int(pad)) for pad in pads)  # more than it is
        if kind in ("Resize", "Upsample"):
            return int(max(prod(float(size) for size in value) for value in inputs[1:] if value.ndim == 1))
        if kind == "OneHot":
            return inputs[0].size * int(inputs[1].reshape(-1)[0])
        if kind == "MatMul":
            return int(inputs[0].size // inputs[0].shape[-1] * inputs[1].shape[-1])
        return prod(np.broadcast_shapes(*(value.shape for value in inputs))) if len(inputs) == 2 else 0
    except (ValueError, IndexError, TypeError, ArithmeticError):  # the reference says what is wrong
        return 0


def _typed(name: str, value: Array) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)


def _plain(value: Any) -> Any:
    return numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
