"""The page of `reconv inspect --html`: multiply-adds and live bytes over the layers, totals, and every node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from reconv.app.console import in_bytes, number
from reconv.app.drawing import Bar, Panel, figure
from reconv.app.grid import Grid
from reconv.app.html import details, element, page, section, table, text, tiles
from reconv.app.layers import Layer, live_bars, peak_of, shape_text
from reconv.engine.placement import Placement

__all__ = ["inspect_page"]


def inspect_page(name: str, placement: Placement, layers: tuple[Layer, ...], totals: Mapping[str, Any]) -> str:
    """The page for a model called ``name``; layers: the nodes of the placement; totals: as `reconv inspect --json`."""
    drawn = figure(
        [
            Panel("multiply-adds", _busiest(layers), "multiply-adds", _work(layers)),
            Panel("bytes alive", _peak(layers), "bytes alive", live_bars(layers)),
        ],
        [("", "a node"), ("peak", "the peak of memory")],
    )
    about = (
        "Bytes alive are those of all maps that are needed while a node runs: what a runtime takes that frees what is "
        "no longer read, and does nothing in place."
    )
    return page(
        f"{name}: work and memory",
        element("h1", None, text(name)),
        element("p", {"class": "note"}, text(_sizes(placement))),
        tiles(_facts(totals)),
        section("Over the layers", drawn, element("p", {"class": "note"}, text(about))),
        section("Nodes", details(f"all {len(layers)}, in their order", table(_nodes(placement, layers), "nodes"))),
    )


def _facts(totals: Mapping[str, Any]) -> Iterable[tuple[str, str, str]]:
    yield "nodes", str(totals["nodes"]), f"{totals['tail_nodes']} in the tail"
    yield "multiply-adds", number(totals["multiply_adds"]), f"{totals['engine_share']:.1%} in the engine"
    yield "weights", in_bytes(totals["weight_bytes"]), "each counted once"
    yield (
        "peak of maps",
        in_bytes(totals["peak_live_bytes"]),
        f"at {totals['peak_node']}" if totals["peak_node"] else "",
    )
    yield "dense run", in_bytes(totals["dense_bytes"]), "planned by the engine: maps, scratch and outputs"
    yield "state", in_bytes(totals["state_bytes"]), "per stream"


def _sizes(placement: Placement) -> str:
    where = {node.where for node in placement}
    return f"{len(placement)} nodes; they run in: {', '.join(sorted(where))}" if where else "a model without nodes"


def _work(layers: tuple[Layer, ...]) -> list[Bar]:
    return [Bar(layer.multiply_adds or 0, layer.title) for layer in layers]


def _busiest(layers: tuple[Layer, ...]) -> str:
    unknown = sum(layer.multiply_adds is None for layer in layers)
    most = max(layers, key=lambda layer: layer.multiply_adds or 0, default=None)
    found = "" if most is None else f"{number(most.multiply_adds or 0)} at the most, at {most.name} ({most.op_type})"
    return found + (f"; unknown for {unknown} nodes" if unknown else "")


def _peak(layers: tuple[Layer, ...]) -> str:
    peak = peak_of(layers)
    return "" if peak is None else f"{in_bytes(peak.live_bytes)} at the most, at {peak.name} ({peak.op_type})"


def _nodes(placement: Placement, layers: tuple[Layer, ...]) -> Grid:
    head = (
        "node",
        "operator",
        "where",
        "why",
        "output",
        "multiply-adds",
        "bytes out",
        "bytes alive",
        "weights",
        "sees",
    )
    rows = [
        (
            node.name,
            node.op_type,
            node.where,
            node.reason or "native operator",
            shape_text(node.shape),
            number(node.multiply_adds) if node.multiply_adds else "",
            "?" if layer.output_bytes is None else in_bytes(layer.output_bytes),
            in_bytes(layer.live_bytes),
            in_bytes(layer.weight_bytes) if layer.weight_bytes else "",
            "" if node.reach is None else str(node.reach),
        )
        for node, layer in zip(placement, layers, strict=True)
    ]
    return Grid("nodes", head, rows, frozenset(range(4, 10)))
