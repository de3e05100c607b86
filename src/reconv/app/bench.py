"""`reconv bench`: a model on a clip, ours beside other runtimes and beside what costs nothing, taking turns."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich.table import Table

from reconv.app.console import console, parse_size, print_json
from reconv.app.opened import open_model, open_recipe
from reconv.engine.tolerance import read_profile
from reconv.errors import InputError
from reconv.measure import (
    BASELINES,
    PEERS,
    Array,
    Clip,
    Contestant,
    Pace,
    Row,
    allowed_threads,
    environment,
    watch,
)
from reconv.recipes import RECIPES, Recipe
from reconv.recipes.sources import Source, open_source

__all__ = ["bench"]

ENTRANTS = ("reconv", "reconv-stream", "onnxruntime", "openvino-f32", "openvino")
REFERENCE = "onnxruntime"


def bench(
    model: str = typer.Argument(..., help="The network, an ONNX file."),
    clip: str = typer.Argument(..., help="A video, a folder of pictures, an .npy or .npz with one array."),
    *,
    recipe: str = typer.Option("raw", help=f"What the model needs around it: {', '.join(RECIPES)}."),
    tolerance: float = typer.Option(0.0, min=0, help="Of our stream, in standard deviations; 0 is exact."),
    profile: str | None = typer.Option(None, help="Of our stream: what `reconv tune` wrote; its tolerance counts."),
    size: str | None = typer.Option(None, help="Height x width of the network's input. Default: the model's own."),
    threads: str | None = typer.Option(None, help="One count or several, as in 1,2. Default: 1, and all that we may."),
    frames: int = typer.Option(200, min=2, help="How many; the first one warms up and is not measured."),
    skip: int = typer.Option(0, min=0, help="Leave out so many at the start."),
    json: bool = typer.Option(False, "--json", help="The figures as JSON on stdout."),
) -> int:
    """Measure a model on a clip beside ONNX Runtime, OpenVINO, frame holding and a motion gate."""
    wanted = parse_size(size)
    chosen = None if profile is None else read_profile(profile)
    if chosen is not None and tolerance:
        raise InputError("--tolerance and --profile are one too many: a profile has a tolerance")
    tolerance = tolerance if chosen is None else chosen.tolerance
    if not Path(model).is_file():
        raise InputError(f"no such file: {model} (the other runtimes read the model by its path)")
    entrants = [name for name in ENTRANTS if not PEERS[name].missing()]
    missing = [PEERS[name].missing() for name in ENTRANTS if name not in entrants]
    talk, runs = console(stderr=True), []
    around: Recipe | None = None
    for count in _thread_counts(threads):
        source = open_source(clip)  # a source can be read once
        around = around or open_recipe(recipe, open_model(model, count, None), source.shape, wanted)
        contestants = [Contestant(name, name, model, count, tolerance, chosen) for name in entrants]
        with talk.status(f"{len(entrants)} contestants take turns, {count} thread(s) ...", spinner="line"):
            seen = watch(contestants, _inputs(source, around, skip, frames), around.decode_brief, REFERENCE, Pace())
        rows = _rows(seen, around)
        runs.append({"threads": count, "best_rival": seen.best, "rows": [row.to_json() for row in rows]})
        if not json:
            console().print(_table(rows, count, PEERS[seen.best].title))
    facts = environment()
    if json:
        given = {"model": model, "clip": clip, "recipe": recipe, "tolerance": tolerance, "profile": profile}
        print_json({**given, "environment": facts, "missing": missing, "runs": runs})
        return 0
    for reason in missing:
        console().print(f"left out: {reason}")
    console().print(", ".join(f"{name} {value}" for name, value in facts.items()))
    return 0


def _thread_counts(text: str | None) -> list[int]:
    allowed = allowed_threads()
    if text is None:
        return sorted({1, allowed})
    parts = text.split(",")
    if not all(part.strip().isdecimal() and 1 <= int(part) <= allowed for part in parts):
        raise InputError(f"--threads is one count or several from 1 to {allowed}, as in 1,2; got {text!r}")
    return [int(part) for part in parts]


def _inputs(source: Source, recipe: Recipe, skip: int, count: int) -> Iterator[dict[str, Array]]:
    for frame in itertools.islice(recipe.framed(source).frames(), skip, skip + count):
        if isinstance(frame, dict):
            raise InputError(f"{source.name}: bench measures models of one input, the file has {len(frame)} arrays")
        yield recipe.inputs(frame)


def _rows(seen: Clip, recipe: Recipe) -> list[Row]:
    rows = seen.rows(recipe.agreement)
    share = next(row.share for row in rows if row.name == "reconv-stream")
    # A share of 0 is a clip that stands still: nothing but the first frame runs.
    nearest = float(np.clip(share, 1e-6, 1.0))
    return rows + [seen.baseline(name, nearest, recipe.agreement) for name in BASELINES]


def _table(rows: Sequence[Row], threads: int, best: str) -> Table:
    table = Table(title=f"{threads} thread{'s' * (threads > 1)}, time over {best}'s", title_justify="left")
    table.add_column("")
    for name in ("ms", "p95", "CPU ms", "time", "recomputed", "agreement", "error of frozen"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*_cells(row))
    return table


def _cells(row: Row) -> Iterator[str]:
    precision = row.facts.get("precision")
    yield row.title + (f" ({precision})" if precision else "")
    milliseconds: Any = row.facts.get("ms")
    yield f"{row.mean_ms:.2f}"
    yield f"{milliseconds['p95']:.2f}" if milliseconds else "-"
    yield f"{milliseconds['cpu']:.2f}" if milliseconds else "-"
    yield f"{row.over_best:.3f}"
    yield f"{row.share:.3f}"
    yield ", ".join(f"{name} {value:.3f}" for name, value in row.agreement.items())
    yield "-" if row.error_of_frozen is None else f"{row.error_of_frozen:.4f}"
