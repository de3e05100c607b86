"""The files beside a model that hold its weights: what may not be overwritten while the model is needed."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

__all__ = ["external_files"]


def external_files(path: str | Path) -> tuple[str, ...]:
    """Paths of the files that an ONNX file names for its weights; none where it is not a readable model."""
    try:
        model = ir.load(path)
        graphs = list(model.graphs())
    except Exception:  # of many kinds; whoever loads the model says what is wrong with it
        return ()
    tensors = [value.const_value for graph in graphs for value in graph.initializers.values()]
    tensors += [
        attribute.as_tensor()
        for graph in graphs
        for node in graph
        for attribute in node.attributes.values()
        if attribute.type == ir.AttributeType.TENSOR and not attribute.is_ref()
    ]
    return tuple(dict.fromkeys(str(tensor.path) for tensor in tensors if isinstance(tensor, ir.ExternalTensor)))
