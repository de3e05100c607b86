"""What a swap is worth: the counted costs. A measured one is handed to the search (`reconv.optimize.measured`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

from reconv.exchange.view import View
from reconv.graph import Node, operations, peak_bytes

__all__ = ["METERS", "Change", "Memory", "Meter", "Operations"]


@dataclass(frozen=True)
class Change:
    """Cost of the part in which two views differ, in the old and in the new. sure: it is no accident of measuring."""

    before: float
    after: float
    sure: bool = True

    @property
    def gain(self) -> float:
        return self.before - self.after


class Meter(Protocol):
    """A cost of models.

    unit: what the numbers count. least: the share of the cost of what changes below which a gain is not believed.
    """

    unit: str
    least: float

    def change(self, old: View, new: View) -> Change | None:
        """What a swap changes; None when it cannot be told."""
        ...

    def agrees(self, old: View, new: View, gain: float) -> bool:
        """Whether the whole new model is better than the whole old one: the last word before a swap is kept.

        ``gain``: what the parts that differ gained together.
        """
        ...

    def prefers(self, first: View, second: View) -> bool:
        """Whether, of two views of one model, the second is better as a whole."""
        ...


class _Counted(ABC):
    """A cost that is counted and not measured: a part's gain is the whole model's."""

    least = 0.0

    @abstractmethod
    def change(self, old: View, new: View) -> Change | None: ...

    def agrees(self, old: View, new: View, gain: float) -> bool:
        del gain  # counts are exact
        return self.prefers(old, new)

    def prefers(self, first: View, second: View) -> bool:
        change = self.change(first, second)
        return change is not None and change.gain > 0


class Operations(_Counted):
    """Multiply-adds, and one operation per element for what has none (`reconv.graph.operations`)."""

    unit = "operations"

    def change(self, old: View, new: View) -> Change | None:
        kept = {id(node) for node in old.graph.nodes} & {id(node) for node in new.graph.nodes}
        costs = []
        for view in (old, new):
            found = [_operations(node, view) for node in view.graph.nodes if id(node) not in kept]
            if any(count is None for count in found):
                return None
            costs.append(float(sum(count for count in found if count is not None)))
        return Change(costs[0], costs[1])


class Memory(_Counted):
    """Peak bytes of maps (`reconv.graph.peak_bytes`), of the whole model each time: a peak is in one place only."""

    unit = "bytes"

    def change(self, old: View, new: View) -> Change | None:
        peaks = [float(peak_bytes(view.graph, view.sizes, view.types)) for view in (old, new)]
        return Change(peaks[0], peaks[1])


METERS: dict[str, type[Operations] | type[Memory]] = {"macs": Operations, "memory": Memory}


def _operations(node: Node, view: View) -> int | None:
    constants = {name: view.graph.constants[name].shape for name in node.inputs if name in view.graph.constants}
    return operations(node, {**view.sizes, **constants})
