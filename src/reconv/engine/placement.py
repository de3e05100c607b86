"""Where each node of a model runs and why, what it costs and how far it sees: the answer of `Model.placement`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from math import prod

from reconv.engine.compiled import Compiled
from reconv.errors import ModelError
from reconv.graph import extract_any
from reconv.graph.cost import multiply_adds
from reconv.graph.reach import Reach, reaches
from reconv.graph.shapes import infer, refuse_absurd

__all__ = ["Placed", "Placement", "place"]


@dataclass(frozen=True)
class Placed:
    """One node.

    ``where`` is "engine" (native), "folded" (known before the first frame, or nothing to do) or "tail" (ONNX Runtime),
    and ``reason`` says why, or what became of it. ``shape`` is of its first output, None if unknown; ``bytes`` of all
    its outputs as maps, four for a float and one for a code, 0 where streams keep none because the node that reads it
    does its work as well;
    ``multiply_adds`` of a dense run; ``reach`` the receptive field, None where the node sees no input.
    """

    name: str
    op_type: str
    where: str
    reason: str
    shape: tuple[int | None, ...] | None
    multiply_adds: int
    bytes: int
    reach: Reach | None


@dataclass(frozen=True)
class Placement:
    """All nodes in the order in which they run. Iterable and indexable; ``str()`` gives a table."""

    nodes: tuple[Placed, ...]
    state_bytes: int

    def __iter__(self) -> Iterator[Placed]:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    def __getitem__(self, index: int) -> Placed:
        return self.nodes[index]

    @property
    def multiply_adds(self) -> int:
        """Of a dense run of the whole model."""
        return sum(node.multiply_adds for node in self.nodes)

    @property
    def engine_share(self) -> float:
        """Share of the multiply-adds that the engine runs, 0..1; without any, the share of the nodes."""
        if self.multiply_adds:
            return sum(node.multiply_adds for node in self.nodes if node.where != "tail") / self.multiply_adds
        return sum(node.where != "tail" for node in self.nodes) / max(len(self.nodes), 1)

    @property
    def tail(self) -> tuple[Placed, ...]:
        """The nodes that ONNX Runtime runs."""
        return tuple(node for node in self.nodes if node.where == "tail")

    def __str__(self) -> str:
        lines = [
            f"{n.where:7} {n.op_type:20} {n.multiply_adds / 1e6:10.2f}M {n.bytes / 1e3:10.1f} kB  "
            f"{'-' if n.reach is None else str(n.reach):16} {n.name}: {n.reason}"
            for n in self.nodes
        ]
        lines.append(
            f"{len(self)} nodes, {len(self.tail)} in the tail; {self.multiply_adds / 1e6:.1f}M multiply-adds, "
            f"{self.engine_share:.2%} in the engine; {self.state_bytes / 1e6:.1f} MB of state per stream"
        )
        return "\n".join(lines)


def place(compiled: Compiled) -> Placement:
    """The placement of a model at these sizes."""
    shapes = _shapes(compiled)
    reach = reaches(compiled.graph, shapes)
    nodes = []
    for placed in compiled.lowered.nodes:
        node = placed.node
        macs = multiply_adds(node, shapes) if placed.where == "tail" else placed.macs
        sizes = [shape for name in node.outputs if name and None not in (shape := shapes.get(name, (None,)))]
        each = 1 if placed.out_map in compiled.lowered.scales else 4
        nodes.append(
            Placed(
                name=node.name,
                op_type=node.op_type,
                where=placed.where,
                reason=placed.reason,
                shape=shapes.get(node.outputs[0]),
                multiply_adds=macs or 0,
                bytes=sum(each * prod(size or 0 for size in shape) for shape in sizes) if placed.stored else 0,
                reach=next((reach[name] for name in node.outputs if name in reach), None),
            )
        )
    return Placement(tuple(nodes), compiled.state_bytes)


def _shapes(compiled: Compiled) -> dict[str, tuple[int | None, ...]]:
    """Shapes of all values: inferred over the whole model, and better where the engine or the tail know more."""
    graph = compiled.graph
    names = [info.name for info in graph.inputs]
    shapes: dict[str, tuple[int | None, ...]] = {}
    outputs = [o.name for o in graph.outputs if o.name not in {*names, *graph.constants}]
    with suppress(ModelError):  # absurd sizes, or larger than a protobuf message: what the engine knows is left
        part = extract_any(graph, names, outputs, compiled.shapes).data if outputs else b""
        refuse_absurd(part)
        shapes = infer(part)
    if compiled.tail is not None:
        shapes |= {name: shape for name, shape in compiled.tail.shapes.items() if None not in shape}
    for placed in compiled.lowered.nodes:
        if placed.out_shape is not None:
            shapes[placed.node.outputs[0]] = tuple(placed.out_shape)
    return shapes
