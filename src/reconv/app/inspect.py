"""`reconv inspect`: which node of a model runs where and why, with its work, its memory and what it sees."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer
from rich.table import Table

from reconv.app.console import console, in_bytes, number, parse_size, print_json
from reconv.app.html import write_page
from reconv.app.inspect_page import inspect_page
from reconv.app.layers import Layer, layers_of, peak_of, shape_text
from reconv.app.opened import check_targets, known_shapes, open_model
from reconv.engine.model import Model
from reconv.engine.placement import Placement
from reconv.errors import ModelError
from reconv.exchange.view import View, look
from reconv.graph.external import external_files

__all__ = ["inspect"]


def inspect(
    model: str = typer.Argument(..., help="The network, an ONNX file."),
    size: str | None = typer.Option(
        None, help="Height x width of the first input, as in 576x768, where the model leaves it open."
    ),
    shape: list[str] = typer.Option([], help="The whole shape of an input, as in images=1x3x576x768; may be repeated."),
    html: str | None = typer.Option(None, help="A page of its own that draws work and memory over the layers."),
    json: bool = typer.Option(False, "--json", help="As JSON."),
) -> None:
    """Show where each node of a model runs and why."""
    check_targets({"--html": html}, (model, *external_files(model)))
    wanted = parse_size(size)
    network = open_model(model, None, wanted)
    shapes = known_shapes(network, wanted, shape)
    placement = network.placement(shapes)
    layers = layers_of(_view(network, shapes, placement))
    totals = {**_totals(network, placement, layers), "dense_bytes": network.memory_plan(shapes).peak_bytes}
    if html is not None:
        write_page(html, inspect_page(Path(model).name, placement, layers, totals))
    if json:
        print_json(_as_json(placement, layers, totals))
    else:
        _print(placement, totals)


def _view(network: Model, shapes: Mapping[str, tuple[int, ...]] | None, placement: Placement) -> View:
    """The graph with the sizes that ONNX's inference finds, and with those that the engine knows better."""
    try:
        view = look(network.graph, shapes)
    except ModelError:  # larger than a protobuf message: what the engine knows is left
        view = View(network.graph, {}, {})
    better = {
        node.outputs[0]: placed.shape
        for node, placed in zip(network.graph.nodes, placement, strict=True)
        if placed.shape is not None and None not in placed.shape
    }
    return View(view.graph, view.shapes, {**view.sizes, **better}, view.types)


def _totals(network: Model, placement: Placement, layers: tuple[Layer, ...]) -> dict[str, Any]:
    peak = peak_of(layers)
    return {
        "nodes": len(placement),
        "tail_nodes": len(placement.tail),
        "multiply_adds": placement.multiply_adds,
        "engine_share": placement.engine_share,
        "bytes": sum(node.bytes for node in placement),
        "state_bytes": placement.state_bytes,
        "weight_bytes": sum(array.nbytes for array in network.graph.constants.values()),
        "peak_live_bytes": 0 if peak is None else peak.live_bytes,
        "peak_node": None if peak is None else peak.name,
    }


def _as_json(placement: Placement, layers: tuple[Layer, ...], totals: dict[str, Any]) -> dict[str, Any]:
    nodes = [
        {
            "name": node.name,
            "op": node.op_type,
            "where": node.where,
            "reason": node.reason,
            "shape": None if node.shape is None else list(node.shape),
            "multiply_adds": node.multiply_adds,
            "bytes": node.bytes,
            "output_bytes": layer.output_bytes,
            "weight_bytes": layer.weight_bytes,
            "live_bytes": layer.live_bytes,
            "reach": None if node.reach is None else str(node.reach),
        }
        for node, layer in zip(placement, layers, strict=True)
    ]
    return {"nodes": nodes, "totals": totals}


def _print(placement: Placement, totals: dict[str, Any]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("node", "operator", "where", "why"):
        table.add_column(name, overflow="fold")
    for name in ("output", "multiply-adds", "bytes", "sees"):
        table.add_column(name, justify="right", no_wrap=True)
    for node in placement:
        style = "yellow" if node.where == "tail" else "dim" if node.where == "folded" else None
        work = number(node.multiply_adds) if node.multiply_adds else ""
        sees = "" if node.reach is None else str(node.reach)
        why = node.reason or "native operator"
        cells = (node.name, node.op_type, node.where, why, shape_text(node.shape), work, number(node.bytes), sees)
        table.add_row(*cells, style=style)
    talk = console()
    talk.print(table)
    talk.print(
        f"\n{totals['nodes']} nodes, {totals['tail_nodes']} in the tail; "
        f"{number(totals['multiply_adds'])} multiply-adds, {totals['engine_share']:.2%} of them in the engine; "
        f"maps of {totals['bytes'] / 1e6:.1f} MB, {in_bytes(totals['peak_live_bytes'])} of maps alive at the most, "
        f"at {totals['peak_node']}; {totals['state_bytes'] / 1e6:.1f} MB of state per stream",
        markup=False,
    )
