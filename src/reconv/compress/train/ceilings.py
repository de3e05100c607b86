"""How large a scale may become that learns behind a Clip.

    scale * (last code - zero) <= max,    scale * (zero - first code) <= -min

A Clip before codes that end no later than it does has no effect on them, and runtimes leave it out: ONNX Runtime does
then compute the layer before it in 8 bits (ClipQuantFusion), and in floats where one scale is a thousandth larger.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from reconv.compress.train.fake import code_range
from reconv.graph import Graph, Node

__all__ = ["ceilings"]


def ceilings(graph: Graph, scales: Iterable[str]) -> dict[str, float]:
    """For each scale of a QuantizeLinear behind a Clip whose codes end with it: the largest that leaves this so."""
    producer = {name: node for node in graph.nodes for name in node.outputs if name}
    wanted = set(scales)
    found: dict[str, float] = {}
    for node in graph.nodes:
        above = producer.get(node.inputs[0]) if node.op_type == "QuantizeLinear" and not node.domain else None
        if above is None or above.op_type != "Clip" or above.domain or node.inputs[1] not in wanted:
            continue
        name, limit = node.inputs[1], _limit(node, above, graph)
        if limit is not None and np.all(graph.constants[name] <= limit):
            found[name] = min(limit, found.get(name, limit))
    return found


def _limit(node: Node, clip: Node, graph: Graph) -> float | None:
    """The largest scale, a float32, whose codes end before the Clip does."""
    zero = graph.constants.get(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else np.zeros((), np.uint8)
    limits = None if zero is None else code_range(zero.dtype)
    if zero is None or limits is None:
        return None
    ends = [_end(clip, graph, place, key) for place, key in ((1, "min"), (2, "max"))]
    steps = int(zero.max()) - limits[0], limits[1] - int(zero.min())
    found = [np.float32(abs(end) / step) for end, step in zip(ends, steps, strict=True) if end is not None and step]
    if not found or any(end is None and step for end, step in zip(ends, steps, strict=True)):
        return None
    limit = min(found)
    over = any(end is not None and limit * np.float32(step) > abs(end) for end, step in zip(ends, steps, strict=True))
    return float(np.nextafter(limit, np.float32(0)) if over else limit)


def _end(clip: Node, graph: Graph, place: int, key: str) -> float | None:
    """The Clip's min or max: an input since opset 11, an attribute before."""
    if len(clip.inputs) > place and clip.inputs[place]:
        array = graph.constants.get(clip.inputs[place])
        return None if array is None else float(array.item())
    value = clip.attributes.get(key)
    return None if value is None else float(value)
