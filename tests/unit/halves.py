"""Models in 16-bit floats, made of models in float32 as converters make them."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

__all__ = ["NUMPY", "halved", "rounded"]

NUMPY: dict[int, np.dtype[Any]] = {
    TensorProto.FLOAT16: np.dtype(np.float16),
    TensorProto.BFLOAT16: np.dtype(ml_dtypes.bfloat16),
}
LARGEST: dict[int, float] = {TensorProto.FLOAT16: 65504.0, TensorProto.BFLOAT16: float.fromhex("0x1.fep127")}
KEPT = {"Resize": (1, 2), "Upsample": (1,), "Range": (0, 1, 2)}  # inputs that stay float32


def halved(model: onnx.ModelProto, kind: int = TensorProto.FLOAT16) -> onnx.ModelProto:
    """The model with weights, constants, casts, inputs and outputs of a half type, cut to its range."""
    return _changed(model, kind, wide=False)


def rounded(model: onnx.ModelProto, kind: int = TensorProto.FLOAT16) -> onnx.ModelProto:
    """The model in float32 whose weights and constants are those of `halved`."""
    return _changed(model, kind, wide=True)


def _changed(model: onnx.ModelProto, kind: int, *, wide: bool) -> onnx.ModelProto:
    made: onnx.ModelProto = onnx.ModelProto.FromString(model.SerializeToString())
    graph = made.graph
    kept = {node.input[place] for node in graph.node for place in KEPT.get(node.op_type, ()) if place < len(node.input)}
    for tensor in graph.initializer:
        if tensor.name not in kept:
            _narrow(tensor, kind, wide)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t") and not kept.intersection(node.output):
                _narrow(attribute.t, kind, wide)
            if node.op_type == "Cast" and attribute.i == TensorProto.FLOAT and not wide and not kept & {*node.output}:
                attribute.i = kind
    del graph.value_info[:]
    for info in (*graph.input, *graph.output):
        if info.type.tensor_type.elem_type == TensorProto.FLOAT and not wide:
            info.type.tensor_type.elem_type = kind
    return made


def _narrow(tensor: onnx.TensorProto, kind: int, wide: bool) -> None:
    if tensor.data_type != TensorProto.FLOAT:
        return
    largest = LARGEST[kind]
    array = np.clip(numpy_helper.to_array(tensor), -largest, largest).astype(NUMPY[kind])
    tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float32) if wide else array, tensor.name))
