"""What pages share: one self-contained file, escaped text, tables, tiles.

A page loads nothing from elsewhere: its style and its few lines of script are in it. It is HTML that is also
well-formed XML. Names come from files that anyone may have written, so text becomes `Html` in one way only, through
`text`, and everything that builds a page takes `Html`.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NewType

from reconv.app.grid import Grid
from reconv.errors import SourceError, one_line

__all__ = ["Html", "details", "element", "joined", "page", "section", "table", "text", "tiles", "write_page"]

Html = NewType("Html", str)


def text(value: object) -> Html:
    """Text as it is shown: markup in it is escaped, what cannot be seen (controls, bidirectional marks) is replaced."""
    seen = "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in str(value))
    return Html(html.escape(seen))


def joined(parts: Iterable[Html]) -> Html:
    return Html("".join(parts))


def element(tag: str, attributes: Mapping[str, object] | None = None, *inner: Html) -> Html:
    """An element; attributes are escaped. A tag without content is closed at once where HTML allows it."""
    words = "".join(f' {key}="{text(value)}"' for key, value in (attributes or {}).items())
    if not inner and tag in EMPTY:
        return Html(f"<{tag}{words} />")
    return Html(f"<{tag}{words}>{''.join(inner)}</{tag}>")


def section(heading: str, *inner: Html) -> Html:
    return element("section", None, element("h2", None, text(heading)), *inner)


def details(summary: str, *inner: Html) -> Html:
    """What is folded away until it is asked for."""
    return element("details", None, element("summary", None, text(summary)), *inner)


def table(grid: Grid, kind: str = "") -> Html:
    """The rows of a grid; on a narrow screen the table scrolls, the page does not."""

    def cells(tag: str, row: Iterable[str]) -> Html:
        found = (
            element(tag, {"class": "number"} if place in grid.numbers else None, text(cell))
            for place, cell in enumerate(row)
        )
        return element("tr", None, *found)

    head = element("thead", None, cells("th", grid.head))
    body = element("tbody", None, *(cells("td", row) for row in grid.rows))
    found = element("div", {"class": f"wide {kind}".strip()}, element("table", None, head, body))
    return joined([found, element("p", {"class": "note"}, text(grid.note))]) if grid.note else found


def tiles(facts: Iterable[tuple[str, str, str]]) -> Html:
    """Figures that are read first: (what, value, a word about it)."""
    found = [
        element(
            "div",
            {"class": "tile"},
            element("span", {"class": "what"}, text(what)),
            element("strong", None, text(value)),
            element("span", {"class": "note"}, text(about)),
        )
        for what, value, about in facts
    ]
    return element("div", {"class": "tiles"}, *found)


def page(title: str, *inner: Html) -> str:
    """A whole page in UTF-8."""
    head = element(
        "head",
        None,
        element("meta", {"charset": "utf-8"}),
        element("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        element("meta", {"name": "color-scheme", "content": "light dark"}),
        element("title", None, text(title)),
        element("style", None, Html(STYLE)),
    )
    body = element("body", None, element("main", None, *inner), element("script", None, Html(SCRIPT)))
    return f"<!DOCTYPE html>\n{element('html', {'lang': 'en'}, head, body)}\n"


def write_page(path: str, content: str) -> None:
    """Raises SourceError when the file cannot be written."""
    try:
        Path(path).write_text(content, encoding="utf-8")
    except OSError as error:
        raise SourceError(f"--html {path} cannot be written: {error.strerror or one_line(error)}") from error


EMPTY = frozenset({"meta", "rect"})
# neither < nor & in what follows: it stands in the page as it is
STYLE = """
:root { color-scheme: light dark; --ground: #fcfcfb; --ink: #1a1a19; --soft: #5d5d5a; --line: #dddcd8; --panel: #f3f2ef;
  --bar: #3d74b8; --gone: #b5550d; --new: #1b8a5a; --peak: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ground: #171716; --ink: #ecebe7; --soft: #a5a49e; --line: #3a3a37;
  --panel: #212120; --bar: #7aabe6; --gone: #eb9a5b; --new: #58c796; --peak: #ff8b80; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 24px 20px 48px; }
h1 { font-size: 24px; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 36px 0 10px; }
p { margin: 6px 0; max-width: 75ch; overflow-wrap: anywhere; }
.note, .what { color: var(--soft); font-size: 13px; }
.verdict { font-size: 17px; }
.bad { color: var(--peak); font-weight: 600; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 10px; margin: 18px 0; }
.tile { background: var(--panel); border-radius: 6px; padding: 10px 14px; }
.tile span, .tile strong { display: block; }
.tile strong { font-size: 20px; font-weight: 600; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 14px; }
th, td { text-align: left; vertical-align: top; padding: 5px 18px 5px 0; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 500; font-size: 13px; white-space: nowrap; }
td { overflow-wrap: anywhere; max-width: 44ch; }
td:not(.number) { min-width: 16ch; }
.nodes td:nth-child(2), .nodes td:nth-child(3) { min-width: 8ch; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.nodes td { font-size: 13px; padding-top: 2px; padding-bottom: 2px; }
figure { margin: 14px 0 0; }
.scroll { overflow-x: auto; padding-bottom: 4px; }
.label { position: sticky; left: 0; width: fit-content; max-width: 100%; margin: 10px 0 3px; font-size: 13px;
  color: var(--soft); overflow-wrap: anywhere; }
.label b { color: var(--ink); }
svg { display: block; width: 100%; height: 120px; border-bottom: 1px solid var(--soft); background: var(--panel); }
.bar { fill: var(--bar); } .gone .bar { fill: var(--gone); } .new .bar { fill: var(--new); }
.peak .bar { fill: var(--peak); }
.hit { fill: transparent; } g:hover .hit { fill: var(--line); }
output { display: block; min-height: 3em; margin-top: 6px; font-size: 13px; overflow-wrap: anywhere; }
.key { margin-right: 16px; white-space: nowrap; }
.key i { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin-right: 6px; }
i.bar { background: var(--bar); } i.gone { background: var(--gone); } i.new { background: var(--new); }
i.peak { background: var(--peak); }
.curve svg { height: auto; max-height: 420px; } .curve text { fill: var(--soft); font-size: 12px; }
.curve .dot { fill: var(--bar); } .curve .best .dot { fill: var(--new); } .curve .far .dot { fill: var(--gone); }
.curve .edge { fill: none; stroke: var(--new); stroke-width: 1.5; } .curve .axis { stroke: var(--soft); }
.curve .bound { stroke: var(--peak); stroke-dasharray: 5 4; }
details { margin: 10px 0; } summary { cursor: pointer; }
@media (max-width: 600px) { main { padding: 16px 12px 32px; } th, td { padding-right: 12px; } svg { height: 96px; }
  .tiles { grid-template-columns: 1fr 1fr; } .tile strong { font-size: 17px; } td { max-width: 30ch; } }
"""
# the title of the bar below the pointer, or of the one that was tapped, is also shown below the drawing
SCRIPT = """
document.querySelectorAll("figure").forEach(function (figure) {
  var shown = figure.querySelector("output");
  function show(event) {
    var bar = event.target.closest("g");
    if (bar) { shown.textContent = bar.querySelector("title").textContent; }
  }
  figure.addEventListener("pointerover", show);
  figure.addEventListener("click", show);
});
"""
