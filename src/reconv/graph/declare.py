"""The graph with other shapes of its inputs written into the file, where `with_shapes` only tells them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx

from reconv.errors import ModelError, one_line
from reconv.graph.graph import Graph
from reconv.graph.load import load, with_shapes
from reconv.graph.write import to_onnx

__all__ = ["declared"]


def declared(graph: Graph, shapes: Mapping[str, Sequence[int | str | None]]) -> Graph:
    """The graph whose file declares these shapes of inputs; shapes of outputs and inner values are inferred again.

    Raises:
        ModelError: as `with_shapes`, or the model cannot be of these shapes.
    """
    with_shapes(graph, shapes)  # says what does not fit
    model = to_onnx(graph)
    for info in model.graph.input:
        for dim, size in zip(info.type.tensor_type.shape.dim, shapes.get(info.name, ()), strict=False):
            dim.Clear()
            if isinstance(size, int):
                dim.dim_value = size
            elif size is not None:
                dim.dim_param = size
    for info in model.graph.output:
        for dim in info.type.tensor_type.shape.dim:
            dim.Clear()
    del model.graph.value_info[:]
    try:
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception as error:  # the C++ side raises plain RuntimeErrors of many kinds
        raise ModelError(f"the model cannot have inputs of the shapes {dict(shapes)}: {one_line(error)}") from error
    return load(model)
