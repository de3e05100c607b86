"""Pages: well-formed, self-contained, and what comes from files stays text."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from reconv.app.drawing import Bar, Panel, figure
from reconv.app.grid import Grid
from reconv.app.html import page, section, table, text, tiles
from tests.unit.app.pages import breaches, read_page, rows

HOSTILE = ["</title><script>alert(1)</script>", 'x" onload="alert(1)', "a & b <i>", "]]>", "-->", "zero\0one\x1b[31m"]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_stay_text_wherever_they_are_put(name: str) -> None:
    grid = Grid("t", ("a", name), [(name, "1")], frozenset({1}), name)
    drawn = figure([Panel(name, name, "q", [Bar(1, name), Bar(2, name, "peak")])], [("", name)])
    root = read_page(page(name, section(name, table(grid), drawn), tiles([(name, name, name)])))
    seen = "".join(c if c.isprintable() else "\ufffd" for c in name)
    assert breaches(root) == []
    assert root.findtext("head/title") == seen
    assert rows(root) == [["a", seen], [seen, "1"]]
    assert [title.text for title in root.iter("title")] == [seen] * 3
    assert {svg.get("aria-label") for svg in root.iter("svg")} == {f"{seen}: {seen}"}


def test_what_cannot_be_seen_is_replaced() -> None:
    assert text("a\u202eb\x00c") == "a\ufffdb\ufffdc"


def test_bars_are_as_high_as_their_values() -> None:
    """Panels of one quantity share a scale, another has its own."""
    panels = [
        Panel("before", "", "work", [Bar(4, "a"), Bar(0, "b"), Bar(1, "c")]),
        Panel("after", "", "work", [Bar(2, "a", "new")]),
        Panel("bytes", "", "bytes", [Bar(7, "a", "peak")]),
    ]
    root = ElementTree.fromstring(figure(panels))
    heights = [
        [[float(bar.get("height", 0)) for bar in group.iter("rect") if bar.get("class") == "bar"] for group in svg]
        for svg in root.iter("svg")
    ]
    assert heights == [[[100], [], [25]], [[50]], [[100]]]
    assert [svg.get("viewBox") for svg in root.iter("svg")] == ["0 0 3 100"] * 3  # a bar is as wide in each
    assert [[group.get("class") for group in svg] for svg in root.iter("svg")] == [[None] * 3, ["new"], ["peak"]]


def test_a_drawing_of_nothing_is_empty() -> None:
    root = ElementTree.fromstring(figure([Panel("work", "", "work", [])]))
    assert [len(svg) for svg in root.iter("svg")] == [0]


@pytest.mark.parametrize(
    "bad",
    [
        '<p><img src="x.png"/></p>',
        '<a href="https://x/">a</a>',
        '<p onclick="f()">a</p>',
        "<style>@import 'x';</style>",
        "<style>a { background: url(x) }</style>",
        "<div><script>a</script><script>b</script></div>",
    ],
)
def test_the_check_of_pages_can_fail(bad: str) -> None:
    assert breaches(read_page(f"<!DOCTYPE html>\n<html>{bad}</html>"))


def test_a_tag_that_is_not_closed_is_seen() -> None:
    with pytest.raises(ElementTree.ParseError):
        read_page("<!DOCTYPE html>\n<html><p></html>")
