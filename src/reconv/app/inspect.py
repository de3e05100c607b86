"""`reconv inspect`: which node of a model runs where and why, with its work, its memory and what it sees."""

from __future__ import annotations

from typing import Any

import typer
from rich.table import Table

from reconv.app.console import console, number, parse_shapes, parse_size, print_json
from reconv.app.opened import open_model
from reconv.engine.model import Model
from reconv.engine.placement import Placement
from reconv.errors import InputError

__all__ = ["inspect"]


def inspect(
    model: str = typer.Argument(..., help="The network, an ONNX file."),
    size: str | None = typer.Option(
        None, help="Height x width of the first input, as in 576x768, where the model leaves it open."
    ),
    shape: list[str] = typer.Option([], help="The whole shape of an input, as in images=1x3x576x768; may be repeated."),
    json: bool = typer.Option(False, "--json", help="As JSON."),
) -> None:
    """Show where each node of a model runs and why."""
    wanted = parse_size(size)
    network = open_model(model, None, wanted)
    placement = network.placement(_shapes(network, wanted, shape))
    if json:
        print_json(_as_json(placement))
    else:
        _print(placement)


def _shapes(model: Model, size: tuple[int, int] | None, texts: list[str]) -> dict[str, tuple[int, ...]] | None:
    """Shapes of all inputs: as asked for, the rest as declared with a batch of 1; None when all are declared."""
    shapes = dict(parse_shapes(texts))
    known = [info.name for info in model.inputs]
    if unknown := [name for name in shapes if name not in known]:
        raise InputError(f"the model has no input {unknown[0]!r}; its inputs are {', '.join(known)}")
    if size is None and not shapes:
        sizes = [(info, [extent for extent in info.shape[1:] if not isinstance(extent, int)]) for info in model.inputs]
        if open_ones := [info for info, free in sizes if free]:
            hint = "--size" if len(open_ones[0].shape) == 4 else f"--shape {open_ones[0].name}=..."
            raise InputError(f"input {open_ones[0]} has sizes that the model leaves open: give {hint}")
        return None
    for position, info in enumerate(model.inputs):
        if info.name in shapes:
            continue
        declared = [1 if axis == 0 and not isinstance(n, int) else n for axis, n in enumerate(info.shape)]
        if position == 0 and size is not None and len(declared) == 4:
            first = 1 if declared[3] == 3 and declared[1] != 3 else 2
            declared[first : first + 2] = size
        if not all(isinstance(n, int) for n in declared):
            raise InputError(f"input {info} has sizes that the model leaves open: give --shape {info.name}=...")
        shapes[info.name] = tuple(n for n in declared if isinstance(n, int))
    return shapes


def _totals(placement: Placement) -> dict[str, Any]:
    return {
        "nodes": len(placement),
        "tail_nodes": len(placement.tail),
        "multiply_adds": placement.multiply_adds,
        "engine_share": placement.engine_share,
        "bytes": sum(node.bytes for node in placement),
        "state_bytes": placement.state_bytes,
    }


def _as_json(placement: Placement) -> dict[str, Any]:
    nodes = [
        {
            "name": node.name,
            "op": node.op_type,
            "where": node.where,
            "reason": node.reason,
            "shape": None if node.shape is None else list(node.shape),
            "multiply_adds": node.multiply_adds,
            "bytes": node.bytes,
            "reach": None if node.reach is None else str(node.reach),
        }
        for node in placement
    ]
    return {"nodes": nodes, "totals": _totals(placement)}


def _print(placement: Placement) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("node", "operator", "where", "why"):
        table.add_column(name, overflow="fold")
    for name in ("output", "multiply-adds", "bytes", "sees"):
        table.add_column(name, justify="right", no_wrap=True)
    for node in placement:
        shape = "?" if node.shape is None else "x".join("?" if n is None else str(n) for n in node.shape)
        style = "yellow" if node.where == "tail" else "dim" if node.where == "folded" else None
        work = number(node.multiply_adds) if node.multiply_adds else ""
        sees = "" if node.reach is None else str(node.reach)
        why = node.reason or "native operator"
        cells = (node.name, node.op_type, node.where, why, shape, work, number(node.bytes), sees)
        table.add_row(*cells, style=style)
    talk = console()
    talk.print(table)
    totals = _totals(placement)
    talk.print(
        f"\n{totals['nodes']} nodes, {totals['tail_nodes']} in the tail; "
        f"{number(totals['multiply_adds'])} multiply-adds, {totals['engine_share']:.2%} of them in the engine; "
        f"maps of {totals['bytes'] / 1e6:.1f} MB; {totals['state_bytes'] / 1e6:.1f} MB of state per stream"
    )
