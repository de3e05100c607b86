"""Shapes of all values of a whole model, as far as the file alone tells."""

from __future__ import annotations

from reconv.graph.extract import extract
from reconv.graph.graph import Graph
from reconv.graph.shapes import Sizes, infer_named

__all__ = ["named_shapes_of", "shapes_of"]

HEAVY = 1024  # values of a constant of which only the shape is told: no shape depends on so many numbers


def shapes_of(graph: Graph) -> dict[str, tuple[int | None, ...]]:
    """Shape of every value that the outputs need and whose rank is known; None for a size that is free.

    Raises:
        ModelError: ONNX's shape inference refuses the model.
    """
    found = named_shapes_of(graph)
    return {name: tuple(None if isinstance(s, str) else s for s in sizes) for name, sizes in found.items()}


def named_shapes_of(graph: Graph) -> dict[str, Sizes]:
    """As `shapes_of`, with its name for a free size that is one of an input's."""
    produced = {name for node in graph.nodes for name in node.outputs}
    outputs = [info.name for info in graph.outputs if info.name in produced]
    if not outputs:
        return {}
    shapes: dict[str, tuple[int | str | None, ...]] = {i.name: i.shape for i in graph.inputs if i.has_rank}
    heavy = {name: array for name, array in graph.constants.items() if array.size > HEAVY and name not in outputs}
    shapes |= {name: array.shape for name, array in heavy.items()}
    types = {name: array.dtype for name, array in heavy.items()}
    given = {size for info in graph.inputs for size in info.shape if isinstance(size, str)}
    found = infer_named(extract(graph, [*(i.name for i in graph.inputs), *heavy], outputs, shapes, types=types))
    return {
        name: tuple(None if isinstance(s, str) and s not in given else s for s in sizes)
        for name, sizes in found.items()
    }
