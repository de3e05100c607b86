"""How every operator carries channels: the table. What is not in it pins the channels that it reads."""

from __future__ import annotations

from collections.abc import Mapping

from reconv.compress.prune.linear import SOURCES
from reconv.compress.prune.moving import MOVING
from reconv.compress.prune.pointwise import POINTWISE
from reconv.compress.prune.reshaping import RESHAPING
from reconv.compress.prune.walk import Rule, Walk
from reconv.graph import Graph

__all__ = ["OPERATORS", "trace"]

OPERATORS: Mapping[str, Rule] = {**MOVING, **RESHAPING, **POINTWISE, **SOURCES}


def trace(graph: Graph) -> Walk:
    """Which channels of a model can only go together.

    Raises:
        ModelError: ONNX's shape inference refuses the model.
    """
    walk = Walk(graph)
    walk.run(OPERATORS, SOURCES)
    return walk
