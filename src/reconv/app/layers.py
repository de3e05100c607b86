"""A model node by node as tables and pages show it: its work, its bytes, and what is alive while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconv.app.console import in_bytes, number
from reconv.app.drawing import Bar, Kind
from reconv.exchange.view import View
from reconv.graph import live_bytes, multiply_adds, operations, value_bytes
from reconv.graph.reach import reaches

__all__ = ["Layer", "layers_of", "live_bars", "operation_bars", "peak_of", "shape_text"]


@dataclass(frozen=True)
class Layer:
    """One node. shape: of its first output; output_bytes: of all its outputs in their own types; weight_bytes: of the
    constants that it reads; live_bytes: of all maps that are needed while it runs. None is not known."""

    name: str
    op_type: str
    shape: tuple[int | None, ...] | None
    multiply_adds: int | None
    operations: int | None
    output_bytes: int | None
    weight_bytes: int
    live_bytes: int
    reach: str

    @property
    def title(self) -> str:
        """All of it in one line."""
        parts = [
            f"{self.name} ({self.op_type})",
            shape_text(self.shape),
            "work unknown" if self.multiply_adds is None else f"{number(self.multiply_adds)} multiply-adds",
            "" if self.output_bytes is None else f"{in_bytes(self.output_bytes)} out",
            f"{in_bytes(self.weight_bytes)} of weights" if self.weight_bytes else "",
            f"{in_bytes(self.live_bytes)} alive",
            f"sees {self.reach}" if self.reach else "",
        ]
        return " · ".join(part for part in parts if part)


def shape_text(shape: tuple[int | None, ...] | None) -> str:
    return "?" if shape is None else "x".join("?" if n is None else str(n) for n in shape) or "scalar"


def layers_of(view: View) -> tuple[Layer, ...]:
    """The nodes of a model at the sizes of the view, in the order in which they run."""
    graph = view.graph
    sizes = {**view.sizes, **{name: array.shape for name, array in graph.constants.items()}}
    alive = live_bytes(graph, view.sizes, view.types)
    sees = reaches(graph, sizes)
    found = []
    for node, live in zip(graph.nodes, alive, strict=True):
        made = [value_bytes(name, view.sizes, view.types) for name in node.outputs if name]
        known = [count for count in made if count is not None]
        weights = {name: graph.constants[name].nbytes for name in node.reads if name in graph.constants}
        found.append(
            Layer(
                name=node.name,
                op_type=node.op_type,
                shape=sizes.get(node.outputs[0]),
                multiply_adds=multiply_adds(node, sizes),
                operations=operations(node, sizes),
                output_bytes=sum(known) if len(known) == len(made) else None,
                weight_bytes=sum(weights.values()),
                live_bytes=live,
                reach=next((str(sees[name]) for name in node.outputs if name in sees), ""),
            )
        )
    return tuple(found)


def peak_of(layers: tuple[Layer, ...]) -> Layer | None:
    """The first node at which the most bytes are alive; None for a model without nodes."""
    return max(layers, key=lambda layer: layer.live_bytes, default=None)


def operation_bars(layers: tuple[Layer, ...], kinds: Mapping[str, Kind] | None = None) -> list[Bar]:
    """kinds: node name -> colour."""
    return [Bar(layer.operations or 0, layer.title, (kinds or {}).get(layer.name, "")) for layer in layers]


def live_bars(layers: tuple[Layer, ...]) -> list[Bar]:
    """The peak marked."""
    peak = peak_of(layers)
    return [Bar(layer.live_bytes, layer.title, "peak" if layer is peak else "") for layer in layers]
