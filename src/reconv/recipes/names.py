"""Names of classes out of what a model's file says of itself: the entry `names`, which Ultralytics' tools write."""

from __future__ import annotations

import ast
from typing import Any

from reconv.graph import Graph, metadata
from reconv.recipes.recipe import Ends

__all__ = ["names_in", "names_of"]

LONGEST = 1 << 20  # characters of a list of names that is read


def names_of(model: Ends) -> tuple[str, ...]:
    """The names of a model's classes; none where its file has none."""
    graph = getattr(model, "graph", model)  # a `Model` has one, a `Graph` is one
    return names_in(metadata(graph).custom_metadata_map.get("names", "")) if isinstance(graph, Graph) else ()


def names_in(text: str) -> tuple[str, ...]:
    """A dict or a list as Python writes it: {0: 'cat', 1: 'dog'}.

    Anything else gives no names, since any program may have written it.
    """
    if len(text) > LONGEST:
        return ()
    try:
        found: Any = ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return ()
    if isinstance(found, (list, tuple)):
        found = dict(enumerate(found))
    if not isinstance(found, dict) or set(found) != set(range(len(found))):
        return ()
    return tuple(str(found[number]) for number in range(len(found)))
