"""The picture of a replay: hit ratio and seconds saved over the capacity, a line per policy, with the bound above."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconv.cache.replaying import BOUND, Replay
from reconv.errors import CacheError, MissingError, one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["check", "draw"]

PANELS = (("hit ratio", "hit_ratio"), ("share of seconds saved", "share_of_seconds_saved"))
MARKERS = "osD^vPX*<>"
COLOURS = ("C0", "C1", "C2", "C3", "C4", "C5", "C6", "C8", "C9", "black")  # not C7, grey like the bound
LABEL_WIDTH = 0.15  # of an axis
FORMATS = (".png", ".svg", ".pdf")


def check(path: Path) -> type[Figure]:
    """What draws there. Raises as `draw` does, before there is anything to draw."""
    if path.suffix.lower() not in FORMATS:
        raise CacheError(f"{path}: a picture is {', '.join(FORMATS)}")
    if not path.parent.is_dir():
        raise CacheError(f"{path} cannot be written: there is no folder {path.parent}")
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 -- only who draws needs it
    except ImportError as error:
        raise MissingError("pictures of curves need matplotlib: pip install 'reconv[plot]'") from error
    return Figure


def draw(curves: Mapping[str, Sequence[Replay]], path: str | os.PathLike[str], title: str) -> None:
    """Write the picture.

    Args:
        curves: replays of one trace by policy, each in order of growing capacity; "belady" is drawn as the bound.
        path: .png, .svg or .pdf.
        title: stands above.

    Raises:
        CacheError: another suffix, or the file cannot be written.
        MissingError: matplotlib is not installed.
    """
    path = Path(path)
    figure = check(path)(figsize=(11, 4.6), layout="constrained")
    figure.suptitle(title)
    panels: Any = figure.subplots(1, 2, sharex=True)
    for axes, (label, attribute) in zip(panels, PANELS, strict=True):
        _panel(axes, curves, label, attribute)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right upper", frameon=False)
    try:
        figure.savefig(
            path, dpi=130, format=path.suffix[1:].lower()
        )  # Figure alone draws with Agg: no window, no state
    except OSError as error:
        raise CacheError(f"{path} cannot be written: {error.strerror or one_line(error)}") from error


def _panel(axes: Axes, curves: Mapping[str, Sequence[Replay]], label: str, attribute: str) -> None:
    policies = [name for name in curves if name != BOUND]
    for name, row in curves.items():
        x = [replay.capacity_bytes for replay in row]
        y = [getattr(replay, attribute) for replay in row]
        if name == BOUND:
            axes.plot(x, y, color="0.45", linestyle="--", marker="_", label="bound", zorder=1)
            continue
        k = policies.index(name)
        size = 4 + 5 * (len(policies) - k) / len(policies)  # equal points lie inside one another, all to be seen
        style: Any = {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[k % len(MARKERS)], "markersize": size}
        axes.plot(x, y, **style, markerfacecolor="none", linewidth=1.3, label=name, clip_on=False)
    capacities = sorted({replay.capacity_bytes for row in curves.values() for replay in row})
    axes.set_xscale("log")
    marked = _apart(capacities)
    axes.set_xticks(marked, [_bytes(capacity) for capacity in marked])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel("capacity")
    axes.set_title(label, fontsize="medium")
    axes.locator_params(axis="y", steps=[1, 2, 5, 10])
    axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.3g}%")
    axes.grid(color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _apart(capacities: Sequence[int]) -> list[int]:
    """Those of the ascending capacities whose labels have room beside one another on a logarithmic axis."""
    least = (capacities[-1] / capacities[0]) ** LABEL_WIDTH
    found = list(capacities[-1:])
    for capacity in reversed(capacities[:-1]):
        if found[-1] / capacity >= least:
            found.append(capacity)
    return found[::-1]


def _bytes(count: int) -> str:
    """Three digits: 64000000 -> 64 MB."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count} B"
