"""What a dense run keeps in memory, step by step: the answer of `Model.memory_plan`.

The plan of a dense run (native/memory.hpp) decides before the first frame where every map lies and when. A step of it
is one op, or several that run in turns, a band of rows each, so that what they hand to one another is kept only for as
many rows as are still needed. Streams keep all maps: they are not described here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from reconv.engine.compiled import Compiled

__all__ = ["LiveMap", "MemoryPlan", "MemoryStep", "memory_of"]


@dataclass(frozen=True)
class LiveMap:
    """One piece of memory during a step.

    ``values`` are the names in the model of what it holds, none for what is no value of the model (an op's part);
    ``shape`` (height, width, channels) of the largest map in it; ``rows`` how many of its rows are there at a time,
    None for all. ``bytes`` counts borders of zeros.
    """

    values: tuple[str, ...]
    shape: tuple[int, int, int]
    bytes: int
    rows: int | None


@dataclass(frozen=True)
class MemoryStep:
    """Nodes, by name, that run at a time, in ``bands`` bands of rows, and the maps that live meanwhile."""

    nodes: tuple[str, ...]
    bands: int
    maps: tuple[LiveMap, ...]

    @property
    def live_bytes(self) -> int:
        """Of these maps."""
        return sum(live.bytes for live in self.maps)


@dataclass(frozen=True)
class MemoryPlan:
    """What a dense run of one item takes beside the model and its inputs, in bytes.

    ``peak_bytes`` is all of it: ``map_bytes``, the block in which all maps find their place, ``scratch_bytes`` of all
    threads and ``output_bytes`` of the outputs' arrays. What ONNX Runtime takes for its part is not known before.
    """

    map_bytes: int
    scratch_bytes: int
    output_bytes: int
    limit_bytes: int | None
    steps: tuple[MemoryStep, ...]

    @property
    def peak_bytes(self) -> int:
        """Maps, scratch and outputs."""
        return self.map_bytes + self.scratch_bytes + self.output_bytes

    @property
    def peak(self) -> MemoryStep | None:
        """The step during which most bytes live; None where the engine runs nothing."""
        return max(self.steps, key=lambda step: step.live_bytes, default=None)

    @property
    def banded(self) -> tuple[MemoryStep, ...]:
        """The steps that run in bands."""
        return tuple(step for step in self.steps if step.bands > 1)

    def live_bytes(self) -> Mapping[str, int]:
        """By node that the engine runs: the most that lives in maps while it runs."""
        found: dict[str, int] = {}
        for step in self.steps:
            for node in step.nodes:
                found[node] = max(found.get(node, 0), step.live_bytes)
        return found


def memory_of(compiled: Compiled) -> MemoryPlan:
    """The plan of a dense run of a model for these sizes.

    Raises:
        InputError: the memory limit cannot be kept.
    """
    compiled.check_memory()
    if not compiled.runs_plan:
        return MemoryPlan(0, 0, 0, compiled.memory_limit_bytes, ())
    lowered, plan = compiled.lowered, compiled.lowered.plan
    nodes: dict[int, list[str]] = {}
    values: dict[int, list[str]] = {border.map: [border.name] for border in lowered.inputs}
    for placed in lowered.nodes:
        for op in placed.ops:
            nodes.setdefault(op, []).append(placed.node.name)
        if placed.out_map is not None and placed.node.outputs:
            values.setdefault(placed.out_map, []).append(placed.node.outputs[0])
    steps = []
    for ops, bands, live in plan.memory():
        maps = []
        for held, size, rows in live:
            names = [name for x in dict.fromkeys(held) for name in values.get(x, ())]
            shape = max((plan.size(x) for x in held), key=lambda s: s[0] * s[1] * s[2], default=(0, 0, 0))
            maps.append(LiveMap(tuple(dict.fromkeys(names)), shape, size, rows or None))
        names = [name for op in ops for name in nodes.get(op, ())]
        steps.append(MemoryStep(tuple(dict.fromkeys(names)), bands, tuple(maps)))
    outputs = sum(4 * prod(border.shape) for border in lowered.outputs)
    threads = compiled.threads.count
    scratch = plan.dense_overhead_bytes(threads) - outputs
    return MemoryPlan(plan.dense_bytes, scratch, outputs, compiled.memory_limit_bytes, tuple(steps))
