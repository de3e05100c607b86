"""Shapes and types of every value of a (part of a) model, by ONNX's own shape inference with data propagation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from reconv.errors import ModelError, one_line

__all__ = ["Sizes", "element_types", "infer", "infer_named", "refuse_absurd"]

Sizes = tuple[int | str | None, ...]

MOST = 1 << 40  # of one axis
COUNTED = {
    "Tile": 1,
    "Expand": 1,
    "Pad": 1,
    "Resize": 3,
    "ConstantOfShape": 0,
}  # which input counts pixels


def infer(part: bytes) -> dict[str, tuple[int | None, ...]]:
    """Shape of every value of a serialized model whose rank is known; None for a size that is not.

    Args:
        part: as `reconv.graph.extract` returns it, with fixed input shapes.

    Raises:
        ModelError: the part is not a model. A value that cannot be inferred is left out, not an error.
    """
    found = infer_named(part)
    return {name: tuple(None if isinstance(s, str) else s for s in sizes) for name, sizes in found.items()}


def infer_named(part: bytes) -> dict[str, Sizes]:
    """As `infer`, with the names of free sizes: those that the inputs give, and some that ONNX makes up."""
    graph = _inferred(part)
    shapes: dict[str, Sizes] = {t.name: tuple(t.dims) for t in graph.initializer}
    for info in (*graph.input, *graph.value_info, *graph.output):
        if info.type.HasField("tensor_type") and info.type.tensor_type.HasField("shape"):
            dims = info.type.tensor_type.shape.dim
            shapes[info.name] = tuple(
                d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else d.dim_param or None for d in dims
            )
    return shapes


def element_types(part: bytes) -> dict[str, np.dtype[Any]]:
    """Type of the elements of every tensor of a serialized model, as far as it can be inferred.

    Raises:
        ModelError: as `infer`.
    """
    graph = _inferred(part)
    kinds = {t.name: t.data_type for t in graph.initializer}
    kinds |= {i.name: i.type.tensor_type.elem_type for i in (*graph.input, *graph.value_info, *graph.output)}
    return {name: helper.tensor_dtype_to_np_dtype(kind) for name, kind in kinds.items() if kind}


def refuse_absurd(part: bytes) -> None:
    """Refuse sizes that are negative or beyond all memory, which a damaged Pad, Resize or Tile asks for.

    The inference of ONNX, here and inside ONNX Runtime, ends the whole process where a Slice reads a value of negative
    size. So this looks at what comes out of everything else first; a part without a Slice is let through.

    Raises:
        ModelError: names the value and its sizes.
    """
    model = onnx.ModelProto.FromString(part)
    kept = [node for node in model.graph.node if node.op_type != "Slice"]
    if len(kept) == len(model.graph.node):
        return
    _refuse_counts(kept, {tensor.name: tensor for tensor in model.graph.initializer})
    cut = {name for node in model.graph.node if node.op_type == "Slice" for name in node.output}
    outputs = [info for info in model.graph.output if info.name not in cut]
    del model.graph.node[:], model.graph.output[:]
    model.graph.node.extend(kept)
    model.graph.output.extend(outputs)
    graph = _inferred(model.SerializeToString())
    for info in (*graph.value_info, *graph.output):
        sizes = [dim.dim_value for dim in info.type.tensor_type.shape.dim]
        if any(not 0 <= size <= MOST for size in sizes):
            raise ModelError(f"the value {info.name!r} has sizes {tuple(sizes)}, which cannot be")


def _refuse_counts(nodes: Sequence[onnx.NodeProto], weights: Mapping[str, onnx.TensorProto]) -> None:
    """Of counts so large that sizes overflow, inference says nothing at all."""
    for node in nodes:
        place = COUNTED.get(node.op_type)
        if place is None or place >= len(node.input) or node.input[place] not in weights:
            continue
        counts = numpy_helper.to_array(weights[node.input[place]]).reshape(-1)
        if any(not -MOST <= count <= MOST for count in counts.tolist()):
            raise ModelError(f"{node.op_type} {node.name!r} asks for sizes of {counts.tolist()}, which cannot be")


def _inferred(part: bytes) -> onnx.GraphProto:
    try:
        proto = onnx.shape_inference.infer_shapes(
            onnx.ModelProto.FromString(part), check_type=False, strict_mode=False, data_prop=True
        )
    except Exception as error:  # the C++ side raises plain RuntimeErrors of many kinds
        raise ModelError(f"shapes cannot be inferred: {one_line(error)}") from error
    return proto.graph
