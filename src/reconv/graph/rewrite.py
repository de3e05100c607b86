"""Put other nodes in the place of some.

A `Rewrite` is data: the nodes taken out, those that come in, and the constants that they bring. What leaves it keeps
its name: every value of ``before`` that something else reads, or that is an output of the model, has to be made by
``after`` under the same name. `rewritten` checks that and gives a new `Graph`; the one it was given does not change, so
that a search can go back. Only its nodes and constants differ: the onnx-ir model behind it stays that of the file, and
`reconv.graph.write` carries out on a copy of it, at the end, what has become of its nodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from reconv.errors import ModelError
from reconv.graph.graph import Graph, Node

__all__ = ["Rewrite", "rewritten"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Rewrite:
    """``after`` (in topological order) in the place of ``before``; ``constants`` are new ones that ``after`` reads."""

    before: tuple[Node, ...]
    after: tuple[Node, ...]
    constants: Mapping[str, Array] = field(default_factory=dict)

    @property
    def reads(self) -> tuple[str, ...]:
        """What either side reads from outside, its own new constants left out."""
        inside = {name for node in (*self.before, *self.after) for name in node.outputs}
        read = dict.fromkeys(name for node in (*self.before, *self.after) for name in node.reads)
        return tuple(name for name in read if name not in inside and name not in self.constants)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Values that both sides make: what the rest of the model may go on reading."""
        made = {name for node in self.after for name in node.outputs}
        return tuple(name for node in self.before for name in node.outputs if name and name in made)


def rewritten(graph: Graph, rewrite: Rewrite) -> Graph:
    """The graph with the rewrite done.

    Raises:
        ModelError: ``before`` is not of this graph, a value that is still needed would be lost, a name is taken, or a
            node would depend on itself. These are mistakes of whoever made the rewrite.
    """
    _check(graph, rewrite)
    gone = {node.name for node in rewrite.before}
    place = next((i for i, node in enumerate(graph.nodes) if node.name in gone), len(graph.nodes))
    rest = [node for node in graph.nodes[place:] if node.name not in gone]
    nodes = _ordered([*graph.nodes[:place], *rewrite.after, *rest])
    constants = {**graph.constants, **{name: np.asarray(a) for name, a in rewrite.constants.items()}}
    read = {name for node in nodes for name in node.reads} | {info.name for info in graph.outputs}
    return replace(graph, nodes=nodes, constants={k: v for k, v in constants.items() if k in read})


def _ordered(nodes: list[Node]) -> tuple[Node, ...]:
    """In topological order, each node where it stands or as soon after as what it reads allows.

    Raises:
        ModelError: a node depends on itself.
    """
    producer = {name: node for node in nodes for name in node.outputs if name}
    done: dict[str, Node] = {}
    open_names: set[str] = set()
    for start in nodes:
        pending = [start]
        while pending:
            node = pending[-1]
            if node.name in done:
                pending.pop()
                continue
            above = [producer[name] for name in node.reads if name in producer]
            waiting = [other for other in above if other.name not in done]
            if not waiting:
                done[node.name] = node
                open_names.discard(node.name)
                pending.pop()
            elif node.name in open_names:
                raise ModelError(f"the rewrite makes {node.name!r} ({node.op_type}) depend on itself")
            else:
                open_names.add(node.name)
                pending.extend(waiting)
    return tuple(done.values())


def _check(graph: Graph, rewrite: Rewrite) -> None:
    here = {node.name: node for node in graph.nodes}
    for node in rewrite.before:
        if here.get(node.name) is not node:
            raise ModelError(f"the rewrite takes out {node.name!r} ({node.op_type}), which is not a node of the model")
    gone = {node.name for node in rewrite.before}
    rest = [node for node in graph.nodes if node.name not in gone]
    made = {name for node in rewrite.after for name in node.outputs if name}
    lost = {name for node in rewrite.before for name in node.outputs if name} - made
    needed = {name for node in rest for name in node.reads} | {info.name for info in graph.outputs}
    if missing := sorted(lost & needed):
        raise ModelError(f"the rewrite loses {missing[0]!r}, which is still read")
    taken = {name for node in rest for name in node.outputs} | {info.name for info in graph.inputs}
    names = [name for node in rewrite.after for name in node.outputs if name]
    fresh = [name for name in (*names, *rewrite.constants) if name in taken or names.count(name) > 1]
    fresh += [name for name in rewrite.constants if name in graph.constants or name in made]
    called = {node.name for node in rest} | {node.name or "" for node in graph.source.graph}  # also of nodes long gone
    fresh += [node.name for node in rewrite.after if node.name in called and here.get(node.name) is not node]
    if fresh:
        raise ModelError(f"the rewrite brings a name that is taken: {fresh[0]!r}")
    known = {name for node in rest for name in node.outputs} | set(graph.constants) | set(rewrite.constants) | made
    known |= {info.name for info in graph.inputs}
    for node in rewrite.after:
        for name in node.reads:
            if name not in known:
                raise ModelError(f"the rewrite's {node.op_type} reads {name!r}, which nothing produces")
