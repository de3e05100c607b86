"""`reconv run`: a model over a stream of frames; results out, and what was saved and what it cost in agreement."""

from __future__ import annotations

import itertools
import statistics
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from reconv.app.console import console, parse_size, print_json, waiting_interrupt
from reconv.app.opened import open_model, open_recipe
from reconv.app.sinks import Answer, open_sink
from reconv.app.tally import Tally, compare_every
from reconv.engine.stream import Step, Stream
from reconv.errors import InputError
from reconv.recipes import RECIPES, Recipe
from reconv.recipes.sources import Frame, open_source

__all__ = ["inputs_of", "run"]


def run(
    model: str = typer.Argument(..., help="The network, an ONNX file."),
    source: str = typer.Argument(..., help="A video, the number of a camera, a folder of pictures, an .npy or .npz."),
    *,
    recipe: str = typer.Option("raw", help=f"What the model needs around it: {', '.join(RECIPES)}."),
    tolerance: float | None = typer.Option(
        None, help="How far a pixel may be off, in standard deviations; 0 (the default) is exact, try 0.1 on cameras."
    ),
    size: str | None = typer.Option(
        None, help="Height x width of the network's input, as in 576x768. Default: the model's own."
    ),
    profile: str | None = typer.Option(None, help="A tolerance profile: how far each map may be off, as JSON."),
    output: str | None = typer.Option(
        None,
        help="Results: .jsonl, .npz (raw outputs), .mp4 (drawn), or - for JSON lines on stdout, the default in a pipe.",
    ),
    overlay: bool = typer.Option(False, help="In the .mp4, tint the pixels that moved."),
    every: int = typer.Option(1, min=1, help="Run every n-th frame only."),
    limit: int | None = typer.Option(None, min=1, help="Stop after so many frames."),
    threads: int | None = typer.Option(None, min=1, help="Default: what affinity and quota allow."),
    kernels: str = typer.Option(
        "default", help="Loop orders of convolutions: default, measured (some seconds at the start), or a saved file."
    ),
    compare: float = typer.Option(
        0.05, min=0, max=1, help="Share of the frames that are run dense as well, to say what reuse cost; 0 is none."
    ),
    json: bool = typer.Option(False, "--json", help="The summary as JSON on stdout."),
) -> int:
    """Run a network over a stream and recompute only what changed."""
    if json and output == "-":
        raise InputError("--json and --output - both want stdout; write the results to a file")
    if output is None and recipe != "raw" and not json and not sys.stdout.isatty():
        output = "-"  # who takes our stdout wants the results
    read = [model, source, *([] if profile is None else [profile]), kernels]
    _check_output(output, read, overlay=overlay)
    wanted = parse_size(size)
    network = open_model(model, threads, wanted, kernels)
    frames = open_source(source)
    around = open_recipe(recipe, network, frames.shape, wanted)
    count = frames.count and min(-(-frames.count // every), limit or frames.count)
    tally = Tally(network, around, compare_every(compare, count))
    talk = console(stderr=True)
    stopped = False
    with network.stream(tolerance, profile) as stream, waiting_interrupt() as interrupt:
        sink = open_sink(output, around, frames.rate and frames.rate / every, frames.shape is not None)
        try:
            with _progress(talk, count, show=talk.is_terminal and not json) as advance:
                chosen = itertools.islice(frames.frames(), 0, None if limit is None else limit * every, every)
                for index, frame in enumerate(chosen):
                    inputs = inputs_of(frame, around)
                    outputs = stream(inputs)
                    result = around.decode(outputs)
                    tally.add(stream.last)
                    stale = _stale(stream, around) if overlay and frames.shape else None
                    sink.write(Answer(index * every, frame, outputs, result, stream.last.recomputed, stale))
                    tally.compare(inputs, outputs, result)
                    advance(stream.last)
                    stopped = bool(interrupt)
                    if stopped:
                        break
        finally:
            sink.close()
        summary = {
            "model": model,
            "source": frames.name,
            "recipe": recipe,
            "tolerance": stream.tolerance,
            "threads": network.threads,
            **tally.summary(stream.state_bytes),
            "output": output,
            "stopped": stopped,
        }
    if json:
        print_json(summary)
    else:
        _print_summary(console(stderr=output == "-"), summary)
    return 130 if stopped else 0


def _check_output(output: str | None, read: Iterable[str], *, overlay: bool) -> None:
    """Refuses to write over what is read, and an overlay that nothing would show."""
    if overlay and (output is None or Path(output).suffix.lower() != ".mp4"):
        raise InputError("--overlay is drawn into a video: give --output out.mp4")
    if output is not None and any(Path(output).resolve() == Path(each).resolve() for each in read):
        raise InputError(f"--output {output} would overwrite what is read; give another file")


def inputs_of(frame: Frame, recipe: Recipe) -> Any:
    """What the network takes: arrays by name go as they are, with the batch of 1 that a frame lacks."""
    if isinstance(frame, dict):
        return {name: np.ascontiguousarray(array)[None] for name, array in frame.items()}
    return {recipe.input.name: recipe.preprocess(frame)}


def _stale(stream: Stream, recipe: Recipe) -> Any:
    return recipe.on_frame(stream.stale_pixels(recipe.input.name))


@contextmanager
def _progress(talk: Console, count: int | None, *, show: bool) -> Iterator[Any]:
    """A live line with frames/s and the recomputed share of the last second or so; nothing in a pipe."""
    if not show:
        yield lambda _step: None
        return
    columns = [BarColumn(20), MofNCompleteColumn(), TextColumn("{task.fields[speed]}"), TimeElapsedColumn()]
    with Progress(*columns, console=talk, transient=True) as progress:
        task = progress.add_task("", total=count, speed="")
        recent: deque[tuple[float, float]] = deque(maxlen=30)

        def advance(step: Step) -> None:
            recent.append((time.perf_counter(), step.recomputed))
            speed = f"recomputed {statistics.fmean(share for _, share in recent):4.0%}"
            if len(recent) > 1:
                speed = f"{(len(recent) - 1) / (recent[-1][0] - recent[0][0]):5.1f} frames/s  {speed}"
            progress.update(task, advance=1, speed=speed)

        yield advance


def _print_summary(talk: Console, summary: dict[str, Any]) -> None:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in _lines(summary):
        table.add_row(name, value)
    talk.print(table)


def _lines(s: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "frames", f"{s['frames']}{' (stopped)' if s['stopped'] else ''}"
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
    if s["frames"]:
        yield "state", f"{s['state_bytes'] / 1e6:.1f} MB at tolerance {s['tolerance']:g}, {s['threads']} threads"
    if s["output"] is not None:
        yield "output", "stdout" if s["output"] == "-" else s["output"]
    else:
        yield "output", "none: --output takes out.jsonl, out.npz or out.mp4"
