"""What a rule is: a swap that keeps the result, which fires, refuses with a reason, or has nothing to say.

A rule looks at one node, the last of its pattern, and up from there. It *may* fire where the algebra holds; whether it
*does* is decided by cost (`reconv.exchange.search`) after a proof (`reconv.exchange.proof`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

from reconv.exchange.view import View
from reconv.graph import Graph, Node, Rewrite, parse

__all__ = ["Answer", "Example", "Family", "Refusal", "Rule"]

Family = Literal["batch norm", "pooling", "layer", "kernel"]


@dataclass(frozen=True)
class Refusal:
    """The pattern is there, but the swap would not keep the result, or could not be cheaper: why."""

    reason: str


Answer: TypeAlias = Rewrite | Refusal | None


@dataclass(frozen=True)
class Example:
    """A small graph in ONNX's text format.

    ``weights`` are arrays, or shapes, for which seeded normal values are drawn.
    """

    text: str
    weights: Mapping[str, np.ndarray[Any, Any] | tuple[int, ...]] = field(default_factory=dict)
    opset: int = 17

    def graph(self) -> Graph:
        random = np.random.default_rng(7)
        arrays = {
            name: w if isinstance(w, np.ndarray) else random.standard_normal(w).astype(np.float32)
            for name, w in self.weights.items()
        }
        return parse(self.text, arrays, self.opset)


@dataclass(frozen=True)
class Rule:
    """One line of the table `reconv.exchange.rules.RULES`.

    name: as reports show it. swap: ``before ⇒ after``. match: the answer for one node. example: a graph in which it
    fires once or more. refused: graphs in which it refuses, by a part of the reason. simplifies: the result is never
    more work than before, so that the search does it at once wherever another swap has made it possible.
    """

    name: str
    family: Family
    swap: str
    match: Callable[[View, Node], Answer]
    example: Example
    refused: Mapping[str, Example]
    simplifies: bool = False
