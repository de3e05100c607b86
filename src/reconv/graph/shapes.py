"""Shapes and types of every value of a (part of a) model, by ONNX's own shape inference with data propagation."""

from __future__ import annotations

import onnx

from reconv.errors import ModelError, one_line

__all__ = ["infer"]


def infer(part: bytes) -> dict[str, tuple[int | None, ...]]:
    """Shape of every value of a serialized model whose rank is known; None for a size that is not.

    Args:
        part: as `reconv.graph.extract` returns it, with fixed input shapes.

    Raises:
        ModelError: the part is not a model. A value that cannot be inferred is left out, not an error.
    """
    try:
        proto = onnx.shape_inference.infer_shapes(
            onnx.ModelProto.FromString(part), check_type=False, strict_mode=False, data_prop=True
        )
    except Exception as error:  # the C++ side raises plain RuntimeErrors of many kinds
        raise ModelError(f"shapes cannot be inferred: {one_line(error)}") from error
    graph = proto.graph
    shapes: dict[str, tuple[int | None, ...]] = {t.name: tuple(t.dims) for t in graph.initializer}
    for info in (*graph.input, *graph.value_info, *graph.output):
        if info.type.HasField("tensor_type") and info.type.tensor_type.HasField("shape"):
            dims = info.type.tensor_type.shape.dim
            shapes[info.name] = tuple(
                d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else None for d in dims
            )
    return shapes
