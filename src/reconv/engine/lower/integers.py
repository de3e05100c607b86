"""Inputs of whole numbers that a map of floats holds exactly: detectors that begin with Cast(x uint8 -> float32), or
with DequantizeLinear.

Every value of such a type is a float32. What only moves values moves them as floats, a Cast to floats has nothing left
to do, and all else reads the input in its own type: it is tail, with the nodes between it and the input.
"""

from __future__ import annotations

import numpy as np

from reconv.engine.lower.move import FLOAT
from reconv.graph import Graph, Node, TensorInfo

__all__ = ["EXACT", "becomes_float", "moves", "takes"]

EXACT = frozenset(np.dtype(kind) for kind in (np.uint8, np.int8, np.uint16, np.int16))
MOVES = frozenset(
    (
        *("Identity", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split", "Gather", "Pad"),
        *("Tile", "Expand", "DepthToSpace", "SpaceToDepth"),
    )
)
SIZES = frozenset(("Shape", "Size"))


def becomes_float(graph: Graph, info: TensorInfo) -> bool:
    """Whether a graph input is of such a type, and something makes it, moved or not, float32."""
    if info.dtype not in EXACT:
        return False
    held = {info.name}
    for node in graph.nodes:  # in order
        if node.inputs and node.inputs[0] in held:
            if _is(node, "DequantizeLinear") or (_is(node, "Cast") and node.attributes.get("to") == FLOAT):
                return True
            if moves(node):
                held.update(node.outputs)
    return False


def moves(node: Node) -> bool:
    """Whether a node's results are values of its input, of the same type."""
    return _is(node, *MOVES)


def takes(node: Node) -> bool:
    """Whether a node may read whole numbers that are held as floats."""
    return moves(node) or _is(node, "Cast", "DequantizeLinear", *SIZES)


def _is(node: Node, *kinds: str) -> bool:
    return node.domain in ("", "ai.onnx") and node.op_type in kinds
