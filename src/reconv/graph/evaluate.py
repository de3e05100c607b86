"""Compute one node on constants, with ONNX's own reference implementation (``onnx.reference``).

The lowering folds shape arithmetic and arithmetic on weights with it. It is slow and right: not for maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from reconv.errors import ModelError, one_line
from reconv.graph.graph import Node

__all__ = ["evaluate"]

Array = np.ndarray[Any, Any]


def evaluate(node: Node, inputs: Sequence[Array | None], opset: int) -> tuple[Array, ...]:
    """The node's outputs for these inputs (None where an optional input is left out), in the node's order.

    Raises:
        ModelError: the node has a subgraph or is of another domain than ONNX's, or the reference implementation
            does not know it or refuses the values.
    """
    if node.domain or node.captures:
        raise ModelError(f"node {node.name!r} ({node.domain}.{node.op_type}) cannot be computed ahead")
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


def _typed(name: str, value: Array) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)


def _plain(value: Any) -> Any:
    return numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
