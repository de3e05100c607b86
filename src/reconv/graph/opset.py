"""A model for a newer opset, by ONNX's own version converter, with the names of its nodes kept."""

from __future__ import annotations

from onnx import version_converter

from reconv.errors import ModelError, one_line
from reconv.graph.graph import Graph
from reconv.graph.load import load
from reconv.graph.write import to_onnx

__all__ = ["at_least_opset"]


def at_least_opset(graph: Graph, opset: int) -> Graph:
    """The graph itself where its opset is new enough, else the same model for this one.

    A node keeps its name where it makes the same values as before; others come from the converter and have new names.

    Raises:
        ModelError: the converter does not know an operator of the model, or changes what it cannot express.
    """
    if graph.opset >= opset:
        return graph
    names = {node.outputs: node.name for node in graph.nodes}
    try:
        model = version_converter.convert_version(to_onnx(graph), opset)
    except Exception as error:  # the C++ side raises plain RuntimeErrors
        raise ModelError(
            f"the model cannot be brought from opset {graph.opset} to {opset}: {one_line(error)}"
        ) from error
    for node in model.graph.node:
        node.name = names.get(tuple(node.output), node.name)
    return load(model)
