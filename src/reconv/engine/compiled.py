"""A model for fixed input sizes: the native plan, the tail, and what is constant; and the few that a model keeps.

No data of frames is here, so all streams and threads share it. Each stream holds an `Item` (see `reconv.engine.item`)
per batch item beside it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np

from reconv import _core
from reconv.engine.lower import Lowered, lower
from reconv.engine.tail import Tail
from reconv.graph import Graph

__all__ = ["KEPT_SIZES", "Compiled", "Shapes", "Sizes"]

Array = np.ndarray[Any, Any]
Shapes = Mapping[str, tuple[int, ...]]

T = TypeVar("T")

KEPT_SIZES = 4


class Compiled:
    """One model for one set of input shapes."""

    def __init__(self, graph: Graph, shapes: Shapes, threads: _core.Threads) -> None:
        """Lower the graph and cut out the tail.

        Args:
            graph: the model.
            shapes: shape of each of its inputs.
            threads: the team that steps run on.
        """
        self.graph = graph
        self.shapes = dict(shapes)
        self.threads = threads
        self.lowered: Lowered = lower(graph, shapes)
        self.native = {border.name: border for border in self.lowered.outputs}
        self.passed = tuple(o.name for o in graph.outputs if o.name in shapes and o.name not in self.native)
        self.constants: dict[str, Array] = {
            info.name: np.asarray({**graph.constants, **self.lowered.constants}[info.name])
            for info in graph.outputs
            if (info.name in graph.constants or info.name in self.lowered.constants) and info.name not in self.native
        }
        at_hand = {**self.native, **self.constants, **self.shapes}
        rest = [info.name for info in graph.outputs if info.name not in at_hand]
        stops = {**{name: tuple(border.shape) for name, border in self.native.items()}, **self.shapes}
        values = {
            name: np.asarray(v)
            for name, v in self.lowered.constants.items()
            if name not in {**stops, **graph.constants}
        }
        self.tail = Tail(graph, rest, stops, values, threads.count) if rest else None
        self.runs_plan = bool(self.native)

    @cached_property
    def cut_maps(self) -> dict[str, int]:
        """Map ids of the maps under cutoff, by the name of the value in the model that they hold."""
        cut = set(self.lowered.plan.cut_maps) if self.runs_plan else set()
        placed = {p.out_map: p.node.outputs[0] for p in self.lowered.nodes if p.out_map is not None}
        held = {**{name: x for x, name in placed.items()}, **{b.name: b.map for b in self.lowered.inputs}}
        return {name: x for name, x in held.items() if x in cut}

    @property
    def cut_sizes(self) -> dict[str, tuple[int, int, int]]:
        """(H, W, C) of the maps under cutoff, in execution order."""
        order = {x: i for i, x in enumerate(self.lowered.plan.cut_maps)} if self.runs_plan else {}
        named = sorted(self.cut_maps.items(), key=lambda item: order[item[1]])
        return {name: self.lowered.plan.size(x) for name, x in named}

    @property
    def macs(self) -> int:
        """Multiply-adds of one dense run of one item, tail included."""
        return (self.lowered.plan.macs if self.runs_plan else 0) + (self.tail.macs if self.tail else 0)

    @property
    def state_bytes(self) -> int:
        """Bytes of the engine's state of one stream, known before it is made."""
        return self.lowered.plan.state_bytes if self.runs_plan else 0


class Sizes(Generic[T]):
    """What was made for the sizes used last, at most `KEPT_SIZES`; what falls out is freed when its last user goes."""

    def __init__(self, make: Callable[[Shapes], T]) -> None:
        self._make = make
        self._kept: OrderedDict[tuple[tuple[str, tuple[int, ...]], ...], T] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, shapes: Shapes) -> T:
        """What belongs to these input shapes, made now if need be. Threads that want the same wait for one."""
        key = tuple(sorted(shapes.items()))
        with self._lock:
            if key not in self._kept:
                self._kept[key] = self._make(shapes)
                if len(self._kept) > KEPT_SIZES:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]
