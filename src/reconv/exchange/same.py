"""Whether both sides of a rewrite are one and the same expression: then nothing has to be computed to prove it.

Operators, attributes, constants by their bits, and wiring are compared (`reconv.graph.structure`), with every Identity
seen through. That proves what takes copies away or tells equal constants apart no longer, whatever the operators around
it are, those included that the evaluator does not know.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from reconv.errors import ModelError
from reconv.exchange.view import View
from reconv.graph import Node, Rewrite, TensorInfo, draws_at_random, structure

__all__ = ["same_expression"]


def same_expression(view: View, rewrite: Rewrite) -> bool:
    """Whether every output of the rewrite is computed alike on both sides, from the same values."""
    both = (*rewrite.before, *rewrite.after)
    if not rewrite.outputs or any(node.captures or draws_at_random(node, view.graph) for node in both):
        return False
    try:
        old, new = (_digests(view, rewrite, nodes) for nodes in (rewrite.before, rewrite.after))
    except ModelError:  # a side reads what nothing produces
        return False
    return all(old[name] == new[name] for name in rewrite.outputs)


def _digests(view: View, rewrite: Rewrite, nodes: Iterable[Node]) -> dict[str, bytes]:
    """Digest of every output of the rewrite on one side."""
    seen_through: dict[str, str] = {}
    rest = []
    for node in nodes:
        inputs = tuple(seen_through.get(name, name) for name in node.inputs)
        if node.op_type == "Identity" and not node.domain:
            seen_through[node.outputs[0]] = inputs[0]
        else:
            rest.append(replace(node, inputs=inputs))
    constants = {**view.graph.constants, **rewrite.constants}
    reads = [name for name in rewrite.reads if name not in constants]
    infos = tuple(TensorInfo(name, view.types.get(name, np.dtype(np.float32)), ()) for name in reads)
    names = [seen_through.get(name, name) for name in rewrite.outputs]
    ends = tuple(TensorInfo(name, np.dtype(np.float32), ()) for name in names)
    found = structure(replace(view.graph, nodes=tuple(rest), constants=constants, inputs=infos, outputs=ends)).values
    return {name: found[seen] for name, seen in zip(rewrite.outputs, names, strict=True)}
