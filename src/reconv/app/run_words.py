"""What `reconv run` says at its end: of one source in lines, of several in a table, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from reconv.app.many import Lane, Task
from reconv.errors import one_line
from reconv.recipes.sources import shown

__all__ = ["print_summary", "summary_of"]


def summary_of(
    lanes: Sequence[Lane],
    errors: Mapping[str, Exception],
    *,
    sources: Mapping[str, str],
    task: Task,
    model: str,
    seconds: float,
    stopped: bool,
) -> dict[str, Any]:
    """Everything as JSON can say it. `sources`: what the user wrote, by the names of the lanes; one source has its
    figures at the top, several have a list of them."""
    said = {name: one_line(error, 1000) for name, error in errors.items()}
    rows = {lane.name: {**lane.summary(), "error": said.get(lane.name)} for lane in lanes}
    facts = {
        "model": model,
        "recipe": task.recipe,
        "tolerance": lanes[0].stream.tolerance if lanes else None,
        "threads": task.model.threads,
    }
    if len(sources) == 1:
        return {**facts, **rows[lanes[0].name], "seconds": round(seconds, 3), "stopped": stopped}
    for name, text in sources.items():  # in the order in which they were given
        lost = {"source": shown(text), "frames": 0, "error": said.get(name)}
        rows[name] = rows.pop(name, lost)
    frames = sum(lane.tally.frames for lane in lanes)
    opened = [rows[lane.name] for lane in lanes]
    steps = [(row["recomputed"], row["frames"] - 1) for row in opened if row["recomputed"] is not None]
    return {
        **facts,
        "sources": rows,
        "frames": frames,
        "seconds": round(seconds, 3),
        "frames_per_second": round(frames / seconds, 3),
        "recomputed": round(sum(s * n for s, n in steps) / sum(n for _, n in steps), 6) if steps else None,
        "state_bytes": sum(row["state_bytes"] for row in opened),
        "stopped": stopped,
    }


def print_summary(talk: Console, summary: Mapping[str, Any]) -> None:
    if "sources" in summary:
        talk.print(_several(summary["sources"]))
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in _together(summary) if "sources" in summary else _lines(summary):
        table.add_row(name, value)
    talk.print(table)


def _lines(s: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "frames", _frames(s)
    if s["step_ms"] is not None:
        rate = 1e3 / s["step_ms"] if s["step_ms"] else float("inf")
        yield "step", f"{s['step_ms']:.2f} ms median, {s['step_ms_p95']:.2f} ms p95 ({rate:.0f} frames/s)"
        yield "recomputed", f"{s['recomputed']:.1%} of the multiply-adds of a dense run"
    if s["speedup"] is not None:
        yield "dense run", f"{s['dense_ms']:.2f} ms: the stream is {s['speedup']:.2f}x as fast"
    if s["agreement"] is not None:
        n = s["compared_frames"]
        measures = ", ".join(f"{name} {value:.4g}" for name, value in s["agreement"].items())
        same = "all" if s["bit_identical_frames"] == n else str(s["bit_identical_frames"])
        yield "agreement", f"{measures} (against dense runs of {n} frames, {same} bit-identical)"
    if s["audit"] is not None:
        yield "audits", _audits(s["audit"])
    if s["frames"]:
        yield "state", f"{s['state_bytes'] / 1e6:.1f} MB at tolerance {s['tolerance']:g}, {s['threads']} threads"
    if s["output"] is not None:
        yield "output", "stdout" if s["output"] == "-" else s["output"]
    else:
        yield "output", "none: --output takes out.jsonl, out.npz or out.mp4"


def _audits(audit: Mapping[str, Any]) -> str:
    """How many, what they found and what they cost."""
    if not audit["samples"]:
        return "none: no frame was due"
    spread = "" if audit["agreement_spread"] is None else f" ± {audit['agreement_spread']:.2g} per frame"
    found = f"agreement {audit['agreement']:.4g}{spread}, the target is {audit['target']:g}"
    return f"{audit['samples']}: {found}; {audit['extra_work']:.1%} extra work"


def _frames(s: Mapping[str, Any]) -> str:
    """Their number, and what became of the others."""
    said = [str(s["frames"])]
    if s["dropped"]:
        said.append(f"{s['dropped']} came too fast and were dropped")
    for what, count in (("the source came back", s["reconnects"]), ("the size changed", s["size_changes"])):
        if count:
            said.append(f"{what} {'once' if count == 1 else f'{count} times'}")
    return ", ".join(said) + (" (stopped)" if s.get("stopped") else "")


def _several(sources: Mapping[str, Mapping[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("", "frames", "step", "recomputed", "speedup", "agreement", "dropped", "output"):
        table.add_column(name, justify="left" if name in ("", "output") else "right")
    for name, s in sources.items():
        if "step_ms" not in s:
            table.add_row(name, "0", "-", "-", "-", "-", "-", "none")
            continue
        agreement = "-" if s["agreement"] is None else f"{next(iter(s['agreement'].values())):.4g}"
        table.add_row(
            name,
            str(s["frames"]),
            "-" if s["step_ms"] is None else f"{s['step_ms']:.2f} ms",
            "-" if s["recomputed"] is None else f"{s['recomputed']:.1%}",
            "-" if s["speedup"] is None else f"{s['speedup']:.2f}x",
            agreement,
            str(s["dropped"]),
            "none" if s["output"] is None else "stdout" if s["output"] == "-" else s["output"],
        )
    return table


def _together(s: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    pace = f"{s['frames_per_second']:.1f} frames/s"
    yield "together", f"{s['frames']} frames in {s['seconds']:.1f} s, {pace}{' (stopped)' if s['stopped'] else ''}"
    if s["recomputed"] is not None:
        yield "recomputed", f"{s['recomputed']:.1%} of the multiply-adds of dense runs"
    yield "states", f"{s['state_bytes'] / 1e6:.1f} MB at tolerance {s['tolerance']:g}, {s['threads']} threads"
