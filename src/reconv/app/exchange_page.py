"""The page of `reconv exchange --html`: what the terminal shows, and a drawing over the layers, before and after."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from reconv.app import exchange_words as words
from reconv.app.console import in_bytes, number
from reconv.app.drawing import Bar, Kind, Panel, figure
from reconv.app.grid import Grid
from reconv.app.html import Html, details, element, page, section, table, text, tiles
from reconv.app.layers import Layer, layers_of, live_bars, operation_bars, peak_of
from reconv.exchange.view import look
from reconv.graph import Graph
from reconv.optimize.activations import Activations
from reconv.optimize.exchange import Exchanged
from reconv.optimize.measured import drawn

__all__ = ["exchange_page"]

Layers = tuple[Layer, ...]


def exchange_page(name: str, graph: Graph, result: Exchanged) -> str:
    """The page for a model called ``name``: ``graph`` is the untouched one."""
    report = result.report
    before = _layers(graph, report.setting.shapes)
    after = _layers(result.graph, report.setting.shapes) if report.applied else before
    head = [
        element("h1", None, text(f"{name}, exchanged")),
        element("p", {"class": "note"}, text(words.setting(report))),
        element("p", {"class": "verdict"}, text(words.verdict(report))),
        element("p", {"class": "bad"} if report.proof and not report.proof.holds else None, text(words.proof(report))),
    ]
    failed = words.bugs(report)
    parts = [
        *([element("p", {"class": "bad"}, text(failed.title)), table(failed, "bad")] if failed.rows else []),
        tiles(_facts(result)),
        _drawing(before, after),
        *_sections(
            words.done(report),
            words.declined(report),
            words.unproved(report),
            words.refused(report),
            words.sides(report),
        ),
    ]
    rules = words.explained(report)
    return page(f"{name}: exchange", *head, *parts, *([details(rules.title, table(rules))] if rules.rows else []))


def _layers(graph: Graph, shapes: Mapping[str, tuple[int, ...]]) -> Layers:
    frame = drawn(shapes, {info.name: info.dtype for info in graph.inputs})
    return layers_of(Activations(look(graph, shapes), frame, shapes).completed())


def _facts(result: Exchanged) -> Iterable[tuple[str, str, str]]:
    report = result.report
    old, new = report.before, report.after
    swaps = sum(report.counts.values())
    yield "swaps done", str(swaps if report.applied else 0), f"{len(report.refused)} refused"
    if report.whole is not None:
        whole = report.whole
        yield f"time on {report.setting.target}", f"x{whole.ratio:.3f}", f"{whole.low:.3f} to {whole.high:.3f}"
    for what, first, second, write in (
        ("operations", old.operations, new.operations, number),
        ("peak of maps", old.peak_bytes, new.peak_bytes, in_bytes),
        ("weights", old.weight_bytes, new.weight_bytes, in_bytes),
    ):
        yield what, write(second), "as before" if first == second else f"before {write(first)}"


def _sections(*grids: Grid) -> Iterable[Html]:
    return [section(grid.title.capitalize(), table(grid)) for grid in grids if grid.rows]


def _drawing(before: Layers, after: Layers) -> Html:
    if before is after:
        panels = [*_panels("", before, {})]
        legend: list[tuple[Kind, str]] = [("", "a node"), ("peak", "the peak of memory")]
    else:
        kept = {layer.name for layer in before} & {layer.name for layer in after}
        both: tuple[tuple[str, Layers, Kind], ...] = (("before", before, "gone"), ("after", after, "new"))
        sides = [
            _panels(side, layers, {layer.name: kind for layer in layers if layer.name not in kept})
            for side, layers, kind in both
        ]
        panels = [panel for pair in zip(*sides, strict=True) for panel in pair]
        legend = [("", "kept"), ("gone", "taken out"), ("new", "put in"), ("peak", "the peak of memory")]
    return section("Over the layers", figure(panels, legend))


def _panels(side: str, layers: Layers, kinds: dict[str, Kind]) -> list[Panel]:
    total = sum(layer.operations or 0 for layer in layers)
    unknown = sum(layer.operations is None for layer in layers)
    peak = peak_of(layers)
    where = "" if peak is None else f"{in_bytes(peak.live_bytes)} at the most, at {peak.name} ({peak.op_type})"
    parts: tuple[tuple[str, str, list[Bar]], ...] = (
        (
            "operations",
            f"{number(total)} in {len(layers)} nodes" + (f", {unknown} of unknown size" if unknown else ""),
            operation_bars(layers, kinds),
        ),
        ("bytes alive", where, live_bars(layers)),
    )
    return [Panel(f"{name}, {side}" if side else name, about, name, bars) for name, about, bars in parts]
