"""The picture of a replay: its lines are the figures, and a missing library or folder is said before the work."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from reconv.cache import Replay, generate, replay
from reconv.cache.curves import check, draw
from reconv.errors import CacheError, MissingError

pytest.importorskip("matplotlib")
NAMES = ("lru", "gdsf", "belady")


@pytest.fixture(scope="module")
def curves() -> dict[str, list[Replay]]:
    trace = generate("mixture:requests=3000,objects=100")
    capacities = [int(trace.footprint_bytes * share) for share in (0.01, 0.02, 0.021, 0.1, 0.5)]
    columns = trace.keys, trace.sizes, trace.costs
    return {name: [replay(*columns, policy=name, capacity_bytes=size) for size in capacities] for name in NAMES}


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every figure that is saved."""
    from matplotlib.figure import Figure

    saved: list[Any] = []
    save = Figure.savefig

    def keep(self: Figure, *arguments: Any, **options: Any) -> None:
        saved.append(self)
        save(self, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return saved


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_a_picture_is_written(suffix: str, start: bytes, curves: dict[str, list[Replay]], tmp_path: Path) -> None:
    path = tmp_path / f"curves.{suffix}"
    draw(curves, path, "a mixture")
    assert path.read_bytes().startswith(start)
    assert path.stat().st_size > 5000


def test_the_lines_are_the_figures(curves: dict[str, list[Replay]], figures: list[Any], tmp_path: Path) -> None:
    draw(curves, tmp_path / "curves.png", "a mixture")
    (figure,) = figures
    assert figure.get_suptitle() == "a mixture"
    for axes, attribute in zip(figure.axes, ("hit_ratio", "share_of_seconds_saved"), strict=True):
        lines = {line.get_label(): line for line in axes.get_lines()}
        assert list(lines) == ["lru", "gdsf", "bound"]
        for name, line in zip(NAMES, lines.values(), strict=True):
            assert list(line.get_xdata()) == [each.capacity_bytes for each in curves[name]]
            assert list(line.get_ydata()) == [getattr(each, attribute) for each in curves[name]]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["lru", "gdsf", "bound"]


def test_labels_do_not_lie_on_one_another(curves: dict[str, list[Replay]], figures: list[Any], tmp_path: Path) -> None:
    draw(curves, tmp_path / "curves.png", "a mixture")
    for axes in figures[0].axes:
        boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
        assert 3 <= len(boxes) < 5
        assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
        assert axes.get_xticklabels()[-1].get_text().endswith(("kB", "MB"))


def test_one_capacity_is_enough(curves: dict[str, list[Replay]], figures: list[Any], tmp_path: Path) -> None:
    draw({name: row[:1] for name, row in curves.items()}, tmp_path / "curves.png", "a mixture")
    assert all(line.get_marker() not in ("", "None") for line in figures[0].axes[0].get_lines())


def test_mistakes(tmp_path: Path, curves: dict[str, list[Replay]], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CacheError, match=r"c\.gif: a picture is \.png, \.svg, \.pdf"):
        check(tmp_path / "c.gif")
    with pytest.raises(CacheError, match="cannot be written: there is no folder"):
        check(tmp_path / "no" / "c.png")
    (tmp_path / "c.png").mkdir()
    with pytest.raises(CacheError, match="cannot be written: Is a directory"):
        draw(curves, tmp_path / "c.png", "a mixture")
    for module in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingError, match=r"pip install 'reconv\[plot\]'"):
        check(tmp_path / "c.png")
