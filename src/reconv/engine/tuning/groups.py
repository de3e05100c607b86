"""Maps that share a factor: neighbours of one size that the same ends of the network read.

Neighbours of one size are a stage of a network: what is right for one of them is about right for the others. In a head
the branches part (what is it, where is it, is it there at all), and what is right for one need not be for another, so
maps are also told apart by where they lead: to which of the last maps under cutoff.
"""

from __future__ import annotations

from collections.abc import Mapping

from reconv.graph import Graph

__all__ = ["group_maps", "leads_to"]

MAPS_PER_GROUP = 8


def group_maps(
    maps: Mapping[str, tuple[int, int]],
    most: int = MAPS_PER_GROUP,
    leads: Mapping[str, frozenset[str]] | None = None,
) -> list[tuple[str, ...]]:
    """Names of neighbouring maps of one size, in the given order, at most `most` in a group.

    Args:
        maps: name -> (height, width), in the order of execution.
        most: maps of a group.
        leads: what `leads_to` says of them; None: they all lead to the same.
    """
    groups: list[list[str]] = []
    growing: dict[frozenset[str], list[str]] = {}  # of the size that is gone through now, by where they lead
    before: tuple[int, int] | None = None
    for name, size in maps.items():
        if size != before:
            growing = {}
        end = frozenset() if leads is None else leads.get(name, frozenset())
        if end not in growing or len(growing[end]) >= most:
            growing[end] = []
            groups.append(growing[end])
        growing[end].append(name)
        before = size
    return [tuple(group) for group in groups]


def leads_to(graph: Graph, maps: Mapping[str, object]) -> dict[str, frozenset[str]]:
    """For each of these values of the model, those of them that it leads to and that lead to no others."""
    reached: dict[str, frozenset[str]] = {}
    for node in reversed(graph.nodes):
        after = frozenset().union(*(reached.get(name, frozenset()) for name in node.outputs))
        after |= {name for name in node.outputs if name in maps and not reached.get(name)}
        for name in node.reads:
            reached[name] = reached.get(name, frozenset()) | after
    return {name: reached.get(name) or frozenset({name}) for name in maps}
