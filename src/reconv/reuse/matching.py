"""Which inputs of several models are the same one, and whether the models have anything in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from reconv.errors import CacheError, InputError
from reconv.graph import Graph, TensorInfo
from reconv.reuse.member import Member

__all__ = ["agreed_inputs", "check_shared"]


def agreed_inputs(graphs: Sequence[Graph]) -> tuple[tuple[TensorInfo, ...], list[tuple[str, ...]]]:
    """The inputs of all models together, and for each model its own names of them, "" where it has none.

    Models with one input each read the same one, whatever its name; otherwise names decide. A size is what one of the
    models fixes it to.

    Raises:
        InputError: two models declare the same input with other types or sizes.
    """
    places: list[tuple[str, ...]]
    if all(len(graph.inputs) == 1 for graph in graphs):
        places = [(graph.inputs[0].name,) for graph in graphs]
    else:
        names = dict.fromkeys(info.name for graph in graphs for info in graph.inputs)
        places = [tuple(n if any(i.name == n for i in graph.inputs) else "" for n in names) for graph in graphs]
    agreed: dict[int, TensorInfo] = {}
    for m, graph in enumerate(graphs):
        infos = {info.name: info for info in graph.inputs}
        for place, name in enumerate(places[m]):
            if name:
                agreed[place] = _agreed(agreed[place], infos[name], m) if place in agreed else infos[name]
    return tuple(agreed[place] for place in sorted(agreed)), places


def _agreed(known: TensorInfo, other: TensorInfo, m: int) -> TensorInfo:
    shape = known.shape or other.shape
    fits = known.dtype == other.dtype and len(shape) == len(other.shape or shape)
    if fits and other.shape:
        pairs = list(zip(shape, other.shape, strict=True))
        fits = not any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in pairs)
        shape = tuple(b if isinstance(b, int) else a for a, b in pairs)
    if not fits:
        raise InputError(
            f"models that share a prefix read the same input, but model {m} declares {other} and one before it "
            f"{known}; load the models with shapes= that agree"
        )
    return replace(known, shape=shape, has_rank=known.has_rank or other.has_rank)


def check_shared(members: Sequence[Member]) -> None:
    """
    Raises:
        CacheError: a model has nothing in common with any other.
    """
    count = Counter(digest for member in members for digest in member.nodes)
    for m, member in enumerate(members):
        if all(count[digest] == 1 for digest in member.nodes):
            raise CacheError(
                f"model {m} has no layer in common with any other: from the first node on, weights, attributes or "
                "inputs differ (several inputs are matched by name); run it by itself"
            )
