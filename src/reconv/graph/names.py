"""Names that nothing in a graph has yet, for the nodes and constants that a rewrite brings."""

from __future__ import annotations

from reconv.graph.graph import Graph

__all__ = ["Names"]


class Names:
    """Fresh names for one graph; each call gives another."""

    def __init__(self, graph: Graph) -> None:
        taken = {name for node in graph.nodes for name in (node.name, *node.inputs, *node.outputs)}
        for node in graph.source.graph:  # Constant nodes, and what earlier rewrites took out
            taken |= {node.name or "", *(value.name or "" for value in node.outputs)}
        self._taken = (
            taken | set(graph.constants) | set(graph.source.graph.initializers) | {info.name for info in graph.inputs}
        )

    def fresh(self, hint: str) -> str:
        """A name that nothing has, neither a value nor a node: the hint, or the hint with a number."""
        name, count = hint, 1
        while not name or name in self._taken:
            count += 1
            name = f"{hint}_{count}"
        self._taken.add(name)
        return name
