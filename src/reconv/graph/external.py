"""Weights in files beside a model: found, read or mapped into memory, and never written over while they are mapped.

Up to `READ_BYTES` of them are read at once, so that the files may go afterwards. More are mapped, as far as they are
the model's own and not a body's: the system brings in the pages that are looked at and takes them back when memory is
short, and the files have to stay as they are while the model is in use.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx_ir as ir

from reconv.graph.bodies import every_graph

__all__ = ["READ_BYTES", "external_files", "mapped_files", "read_external", "unmapped"]

READ_BYTES = 1 << 30


def external_files(path: str | Path) -> tuple[str, ...]:
    """Paths of the files that an ONNX file names for its weights; none where it is not a readable model."""
    try:
        return mapped_files(ir.load(path))
    except Exception:  # of many kinds; whoever loads the model says what is wrong with it
        return ()


def mapped_files(model: ir.Model) -> tuple[str, ...]:
    """Paths of the files in which weights of a model still are."""
    return tuple(dict.fromkeys(str(tensor.path) for tensor in _external(model)))


def read_external(model: ir.Model) -> None:
    """Read the weights that are in other files, or map them where they are many.

    Raises:
        OSError, ValueError: a file is missing or too short, or lies outside the model's folder.
    """
    mapped = {}
    if sum(tensor.nbytes for tensor in _external(model)) > READ_BYTES:
        for value in model.graph.initializers.values():
            if isinstance(value.const_value, ir.ExternalTensor):
                value.const_value.numpy()  # of the file's length, so that a short one is found here
                mapped[value] = value.const_value
                value.const_value = None
    ir.external_data.load_to_model(model)
    for value, tensor in mapped.items():
        value.const_value = tensor


def unmapped(model: ir.Model) -> ir.Model:
    """A copy of a model, in place: its mapped weights as plain tensors, which are written into the model's own file."""
    for value in model.graph.initializers.values():
        tensor = value.const_value
        if isinstance(tensor, ir.ExternalTensor):
            value.const_value = ir.Tensor(tensor.numpy(), tensor.dtype, shape=tensor.shape, name=tensor.name)
    return model


def _external(model: ir.Model) -> Iterator[ir.ExternalTensor]:
    for graph in every_graph(model):
        tensors = [v.const_value for v in graph.initializers.values()] if isinstance(graph, ir.Graph) else []
        tensors += [
            attribute.as_tensor()
            for node in graph
            for attribute in node.attributes.values()
            if attribute.type == ir.AttributeType.TENSOR and not attribute.is_ref()
        ]
        yield from (tensor for tensor in tensors if isinstance(tensor, ir.ExternalTensor))
