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
from reconv.engine.quickest import Choose
from reconv.engine.tail import Tail
from reconv.errors import InputError, ModelError, ReconvError, one_line
from reconv.graph import Graph

__all__ = ["KEPT_SIZES", "Compiled", "Shapes", "Sizes"]

Array = np.ndarray[Any, Any]
Shapes = Mapping[str, tuple[int, ...]]

T = TypeVar("T")

KEPT_SIZES = 4


class Compiled:
    """One model for one set of input shapes."""

    def __init__(
        self,
        graph: Graph,
        shapes: Shapes,
        threads: _core.Threads,
        weights: _core.WeightStore | None = None,
        choose: Choose | None = None,
        *,
        memory_limit_bytes: int | None = None,
    ) -> None:
        """Lower the graph and cut out the tail.

        Args:
            graph: the model.
            shapes: shape of each of its inputs.
            threads: the team that steps run on.
            weights: where equal weights are found, so that plans for other shapes keep them once.
            choose: sets the loop orders and forks of the plan (see `reconv.engine.orders`); None leaves the default.
            memory_limit_bytes: of a dense run (see `reconv.engine.memory`); None is as little as costs no time.

        Raises:
            ModelError: the model cannot be prepared for these shapes.
            ProfileError: the orders to be set are not those of this model.
        """
        self.graph = graph
        self.shapes = dict(shapes)
        self.threads = threads
        self.lowered: Lowered = _lowered(graph, shapes, weights)
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
        if choose is not None and self.runs_plan:
            choose(self.lowered, threads)
        self.memory_limit_bytes = memory_limit_bytes
        if memory_limit_bytes is not None and self.runs_plan:
            self.lowered.plan.limit_memory(memory_limit_bytes, threads.count)

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
    def dense_peak_bytes(self) -> int:
        """Bytes of a dense run of one item beside the model: maps, scratch and outputs; not the tail's."""
        return self.lowered.plan.dense_peak_bytes(self.threads.count) if self.runs_plan else 0

    def check_memory(self) -> None:
        """Whether a dense run keeps the limit.

        Raises:
            InputError: it cannot; says what the least is.
        """
        limit, least = self.memory_limit_bytes, self.dense_peak_bytes
        if limit is not None and least > limit:
            sizes = ", ".join(f"{name} {tuple(shape)}" for name, shape in self.shapes.items())
            raise InputError(
                f"memory_limit_bytes is {limit}: with {sizes} on {self.threads.count} thread(s) the least is {least}"
            )

    @property
    def state_bytes(self) -> int:
        """Bytes of the engine's state of one stream, known before it is made."""
        return self.lowered.plan.state_bytes if self.runs_plan else 0


def _lowered(graph: Graph, shapes: Shapes, weights: _core.WeightStore | None) -> Lowered:
    """The plan. What the lowering of a node did not foresee, the core says, or numpy.

    Weights that are no numbers or too large, a variance below 0, give what they give in silence, as in ONNX Runtime.
    """
    try:
        with np.errstate(all="ignore"):
            return lower(graph, shapes, lambda: _core.Plan(weights=weights), lambda plan: plan.seal(stores=True))
    except (ValueError, TypeError, ArithmeticError, LookupError, MemoryError) as error:
        if isinstance(error, ReconvError):
            raise
        sizes = ", ".join(f"{name} {tuple(shape)}" for name, shape in shapes.items())
        raise ModelError(f"the model cannot be prepared for {sizes}: {one_line(error)}") from error


class Sizes(Generic[T]):
    """What was made for the sizes used last, at most `KEPT_SIZES`; what falls out is freed when its last user goes."""

    def __init__(self, make: Callable[[Shapes], T]) -> None:
        self._make = make
        self._kept: OrderedDict[tuple[tuple[str, tuple[int, ...]], ...], T] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def kept(self) -> list[T]:
        """What is kept now."""
        with self._lock:
            return list(self._kept.values())

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
