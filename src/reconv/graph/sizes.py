"""Shapes of all values of a whole model, as far as the file alone tells."""

from __future__ import annotations

from reconv.graph.extract import extract
from reconv.graph.graph import Graph
from reconv.graph.shapes import infer

__all__ = ["shapes_of"]

HEAVY = 1024  # values of a constant of which only the shape is told: no shape depends on so many numbers


def shapes_of(graph: Graph) -> dict[str, tuple[int | None, ...]]:
    """Shape of every value that the outputs need and whose rank is known; None for a size that is free.

    Raises:
        ModelError: ONNX's shape inference refuses the model.
    """
    produced = {name for node in graph.nodes for name in node.outputs}
    outputs = [info.name for info in graph.outputs if info.name in produced]
    if not outputs:
        return {}
    shapes: dict[str, tuple[int | str | None, ...]] = {i.name: i.shape for i in graph.inputs if i.has_rank}
    heavy = {name: array for name, array in graph.constants.items() if array.size > HEAVY and name not in outputs}
    shapes |= {name: array.shape for name, array in heavy.items()}
    types = {name: array.dtype for name, array in heavy.items()}
    return infer(extract(graph, [*(i.name for i in graph.inputs), *heavy], outputs, shapes, types=types))
