"""Bars over the layers of a model, as SVG inside a page: one bar per node in the order in which they run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from reconv.app.html import Html, element, joined, text

__all__ = ["KINDS", "Bar", "Panel", "figure"]

Kind = Literal["", "peak", "gone", "new"]
KINDS: dict[Kind, str] = {"": "bar", "peak": "peak", "gone": "gone", "new": "new"}  # kind -> class of its colour
HEIGHT = 100
LEAST_PIXELS = 2  # of a bar; where the screen is narrower the drawing scrolls
CROWDED = 120  # from here on bars have no gaps: they overlap by a hair, so that no seams show


@dataclass(frozen=True)
class Bar:
    """title: what is told of the node when it is pointed at."""

    value: float
    title: str
    kind: Kind = ""


@dataclass(frozen=True)
class Panel:
    """One row of bars. about: a sentence beside its name. quantity: panels of one quantity share a scale."""

    name: str
    about: str
    quantity: str
    bars: Sequence[Bar]


def figure(panels: Sequence[Panel], legend: Sequence[tuple[Kind, str]] = ()) -> Html:
    """Panels below one another, with bars of one width, so that what is above one another is of one node.

    legend: what the colours mean.
    """
    columns = max((len(panel.bars) for panel in panels), default=0)
    most: dict[str, float] = {}
    for panel in panels:
        most[panel.quantity] = max([most.get(panel.quantity, 0.0), *(bar.value for bar in panel.bars)])
    rows = [_row(panel, columns, most[panel.quantity]) for panel in panels]
    keys = [
        element("span", {"class": "key"}, element("i", {"class": KINDS[kind]}), text(meaning))
        for kind, meaning in legend
    ]
    hint = element("output", {"class": "note"}, text("Point at a bar, or tap it, to see its node."))
    inside = element("div", {"class": "scroll", "tabindex": "0"}, *rows)
    return element("figure", None, element("div", {"class": "note"}, *keys) if keys else Html(""), inside, hint)


def _row(panel: Panel, columns: int, most: float) -> Html:
    label = element(
        "div", {"class": "label"}, element("b", None, text(panel.name)), text(f" {panel.about}" if panel.about else "")
    )
    gap = -0.1 if columns > CROWDED else 0.15
    groups = [_bar(bar, place, gap, most) for place, bar in enumerate(panel.bars)]
    box = {
        "viewBox": f"0 0 {max(columns, 1)} {HEIGHT}",
        "preserveAspectRatio": "none",
        "style": f"min-width: {columns * LEAST_PIXELS}px",
        "role": "img",
        "aria-label": f"{panel.name}: {panel.about}",
    }
    return joined([label, element("svg", box, *groups)])


def _bar(bar: Bar, place: int, gap: float, most: float) -> Html:
    height = HEIGHT * bar.value / most if most else 0.0
    column = {"class": "hit", "x": place, "y": 0, "width": 1, "height": HEIGHT}
    size = {"x": f"{place + gap / 2:g}", "y": f"{HEIGHT - height:.4g}", "width": f"{1 - gap:g}"}
    parts = [element("title", None, text(bar.title)), element("rect", column)]
    if height:
        parts.append(element("rect", {"class": "bar", **size, "height": f"{height:.4g}"}))
    return element("g", {"class": bar.kind} if bar.kind else None, *parts)
