"""The page of `reconv optimize --html`: what the terminal shows, and the curve of what speed costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite

from reconv.app import optimize_words as words
from reconv.app.console import in_bytes
from reconv.app.drawing import Bar, Panel, figure
from reconv.app.html import Html, element, joined, page, section, table, text, tiles
from reconv.optimize.optimize import Optimized
from reconv.optimize.optimize_report import OptimizeReport, frontier
from reconv.optimize.trial import Trial

__all__ = ["optimize_page"]

WIDTH, HEIGHT, LEFT, BOTTOM = 720, 300, 56, 34  # of the drawing, and what its scales take


def optimize_page(name: str, result: Optimized) -> str:
    """The page for a model called ``name``."""
    report = result.report
    kind = {"class": "verdict"} if report.met else {"class": "verdict bad"}
    notes = [element("p", {"class": "note"}, text(note)) for note in report.notes]
    grids = [words.limits(report), words.tried(report), words.sensitive(report)]
    return page(
        f"{name}: optimize",
        element("h1", None, text(f"{name}, optimized")),
        element("p", {"class": "note"}, text(words.setting(report))),
        element("p", kind, text(words.verdict(report))),
        *notes,
        tiles(_facts(report)),
        _curve(report),
        _layers(report),
        *(section(grid.title.capitalize(), table(grid)) for grid in grids if grid.rows),
    )


def _facts(report: OptimizeReport) -> Iterable[tuple[str, str, str]]:
    chosen = report.chosen.trial
    if chosen.paired is not None:
        pair = chosen.paired
        yield f"time on {chosen.candidate.target}", f"x{pair.ratio:.3f}", f"{pair.low:.3f} to {pair.high:.3f}"
    yield "file", in_bytes(chosen.size_bytes), f"before {in_bytes(report.baseline.size_bytes)}"
    yield report.setting.metric, f"{chosen.value:.4f}", f"untouched {report.baseline.value:.4f}"
    kinds = list(report.precision.values())
    yield "layers in 8 bits", str(kinds.count("int8")), f"of {len(kinds)}"
    yield "trials", str(len(report.trials)), f"{report.seconds:.0f} s"


def _curve(report: OptimizeReport) -> Html:
    """Time against loss of everything that was measured; the edge joins what nothing else beats in both."""
    trials = [t for t in report.trials if t.paired is not None and isfinite(t.loss)]
    if not trials:
        return Html("")
    limit = report.setting.limits
    most_ms = max([t.figures.latency_ms for t in trials] + ([limit.max_latency_ms] if limit.max_latency_ms else []))
    allowed = limit.max_degradation
    # what lost everything is drawn at the top: it would press all others flat
    shown = sorted(max(t.loss, 0.0) for t in trials)
    top = max(shown[len(shown) * 3 // 4], 3 * (allowed or 0.0), 1e-3)

    def x(ms: float) -> float:
        return LEFT + (WIDTH - LEFT - 10) * ms / (1.05 * most_ms)

    def y(loss: float) -> float:
        return 8 + (HEIGHT - BOTTOM - 8) * (1 - min(max(loss, 0.0) / top, 1.0))

    best = report.chosen.trial.candidate.key
    dots = [_dot(t, x(t.figures.latency_ms), y(t.loss), _kind(t, best, allowed)) for t in trials]
    edge = [t for t in frontier(trials) if t.loss <= top]
    points = " ".join(f"{x(t.figures.latency_ms):.1f},{y(t.loss):.1f}" for t in edge)
    bounds = []
    if allowed is not None:
        bounds.append(_line("bound", (LEFT, y(allowed)), (WIDTH - 10, y(allowed))))
    if limit.max_latency_ms is not None:
        bounds.append(_line("bound", (x(limit.max_latency_ms), 8), (x(limit.max_latency_ms), HEIGHT - BOTTOM)))
    axes = [
        _line("axis", (LEFT, HEIGHT - BOTTOM), (WIDTH - 10, HEIGHT - BOTTOM)),
        _line("axis", (LEFT, 8), (LEFT, HEIGHT - BOTTOM)),
        *(_word(x(most_ms * k / 4), HEIGHT - 16, f"{most_ms * k / 4:.3g}", "middle") for k in range(5)),
        *(_word(LEFT - 6, y(top * k / 4) + 4, f"{top * k / 4:.3g}", "end") for k in range(5)),
        _word(WIDTH - 10, HEIGHT - 2, "milliseconds", "end"),
        _word(LEFT + 6, 18, f"loss of {report.setting.metric}", "start"),
    ]
    box = {"viewBox": f"0 0 {WIDTH} {HEIGHT}", "role": "img", "aria-label": "time against loss of every candidate"}
    drawn = element(
        "svg", box, *axes, *bounds, element("polyline", {"class": "edge", "points": points}, Html("")), *dots
    )
    hint = element("output", {"class": "note"}, text("Point at a dot, or tap it, to see its candidate."))
    note = "Green is what is given, dashed are the limits, the line joins what no other candidate beats in both."
    found = element("figure", {"class": "curve"}, drawn, hint)
    return section("What speed costs", found, element("p", {"class": "note"}, text(note)))


def _kind(trial: Trial, best: str, allowed: float | None) -> str:
    if trial.candidate.key == best:
        return "best"
    return "far" if allowed is not None and trial.loss > allowed else ""


def _dot(trial: Trial, x: float, y: float, kind: str) -> Html:
    about = (
        f"{trial.candidate.title} on {trial.candidate.target}: {trial.figures.latency_ms:.3f} ms, loss {trial.loss:.4f}"
    )
    circle = element(
        "circle", {"class": "dot", "cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": 6 if kind == "best" else 4}, Html("")
    )
    inside = joined([element("title", None, text(f"{about}, {in_bytes(trial.size_bytes)}")), circle])
    return element("g", {"class": kind} if kind else None, inside)


def _line(kind: str, first: tuple[float, float], last: tuple[float, float]) -> Html:
    ends = dict(zip(("x1", "y1", "x2", "y2"), (f"{v:.1f}" for v in (*first, *last)), strict=True))
    return element("line", {"class": kind, **ends}, Html(""))


def _word(x: float, y: float, what: str, anchor: str) -> Html:
    return element("text", {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor}, text(what))


def _layers(report: OptimizeReport) -> Html:
    """The error of each layer alone in 8 bits, in the order of the network; what is float in the result is marked."""
    costs: Sequence[Bar] = [
        Bar(
            each.error if isfinite(each.error) else 0.0,
            f"{each.layer}: error {each.error:.3g}, loss {each.loss:.4f}, {report.precision.get(each.layer, 'int8')}",
            "gone" if report.precision.get(each.layer) == "float32" else "",
        )
        for each in report.sensitivities
    ]
    if not costs:
        return Html("")
    panel = Panel("error", "of the outputs where this layer alone is in 8 bits", "error", costs)
    return section(
        "Layer by layer", figure([panel], [("", "in 8 bits in the result"), ("gone", "float in the result")])
    )
