"""`reconv exchange`: the same model from a cheaper order, as standard ONNX, and a report of the swaps."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich.text import Text

from reconv.app import exchange_words as words
from reconv.app.console import console, parse_size, print_json
from reconv.app.exchange_page import exchange_page
from reconv.app.grid import Grid
from reconv.app.html import write_page
from reconv.app.opened import check_targets, known_shapes, open_recipe
from reconv.app.run import inputs_of
from reconv.cache import Cache
from reconv.cache.tiers import DiskTier
from reconv.errors import InputError
from reconv.graph import Graph, load
from reconv.graph.external import external_files
from reconv.optimize.exchange import COSTS, Exchanged
from reconv.optimize.exchange import exchange as exchanged
from reconv.optimize.measured import TARGETS
from reconv.recipes import RECIPES
from reconv.recipes.sources import open_source

__all__ = ["exchange", "memo_folder"]

Array = np.ndarray[Any, Any]
SAMPLES = 4  # frames of --data that the proofs see
MEMO_BYTES = 64 << 20  # some hundred thousand measurements


def exchange(
    model: str = typer.Argument(..., help="The network, an ONNX file."),
    *,
    output: str | None = typer.Option(
        None, "--output", "-o", help="The ONNX file to write. Without it only the report is made."
    ),
    target: str = typer.Option("onnxruntime", help=f"The runtime that it is for: {', '.join(TARGETS)}."),
    cost: str = typer.Option(
        "measured",
        help="What is to be less: measured (milliseconds on the target), macs (operations) or memory (bytes of maps).",
    ),
    size: str | None = typer.Option(
        None, help="Height x width of the first input, as in 576x768, where the model leaves it open."
    ),
    shape: list[str] = typer.Option([], help="The whole shape of an input, as in images=1x3x576x768; may be repeated."),
    data: str | None = typer.Option(
        None, help=f"Real frames for the proofs, {SAMPLES} of them: a folder of pictures, an .npy or .npz, a video."
    ),
    recipe: str = typer.Option("raw", help=f"What the model needs around the frames: {', '.join(RECIPES)}."),
    threads: int | None = typer.Option(None, min=1, help="Of the target. Default: what affinity and quota allow."),
    seconds: float | None = typer.Option(
        None, min=0.0, help="After these the search begins nothing new; what it has found by then counts."
    ),
    memo: str | None = typer.Option(
        None,
        help="The folder where measurements are kept, so that a second search takes none. "
        "Default: reconv/measurements in $XDG_CACHE_HOME, or in ~/.cache.",
    ),
    no_memo: bool = typer.Option(False, "--no-memo", help="Keep no measurements."),
    html: str | None = typer.Option(None, help="The report as a page of its own, with a drawing."),
    json: bool = typer.Option(False, "--json", help="The report as JSON on stdout."),
) -> None:
    """Reorder a model so that it costs less and gives the same result."""
    if memo is not None and no_memo:
        raise InputError("--memo and --no-memo exclude one another")
    if cost not in COSTS:
        raise InputError(f"no cost is called {cost!r}; there are {', '.join(COSTS)}")
    check_targets({"--output": output, "--html": html}, (model, *external_files(model), data))
    wanted = parse_size(size)
    graph = load(model)
    samples = _samples(graph, data, recipe, wanted)
    shapes = {name: array.shape for name, array in samples[0].items()} if samples else {}
    shapes = dict(known_shapes(graph, wanted, shape) or {}) if size or shape or not samples else shapes
    _check_fixed(graph, shapes)
    talk = console(stderr=True)
    kept = None if no_memo or cost != "measured" else DiskTier(memo_folder(memo), MEMO_BYTES)
    with talk.status("looking at the model ...", spinner="line") as status:
        try:
            result = exchanged(
                model,
                target=target,
                cost=cost,
                shapes=shapes,
                threads=threads,
                samples=samples,
                memo=None if kept is None else Cache(1 << 20, "lru", below=kept),
                seconds=float("inf") if seconds is None else seconds,
                say=lambda what: status.update(Text(f"{what} ...")),
            )
        finally:
            if kept is not None:
                kept.close()
    if output is not None:
        result.save(output)
    if html is not None:
        write_page(html, exchange_page(Path(model).name, graph, result))
    if json:
        print_json({"model": model, "output": output, **_finite(result.report.to_json())})
    else:
        _print(result, output)


def _samples(graph: Graph, data: str | None, recipe: str, size: tuple[int, int] | None) -> list[dict[str, Array]]:
    """Frames of the user's, evenly spread where their count is known."""
    if data is None:
        return []
    source = open_source(data)
    around = open_recipe(recipe, graph, source.shape, size)
    source = around.framed(source)
    step = max(1, (source.count or SAMPLES) // SAMPLES)
    frames = itertools.islice(source.frames(), 0, SAMPLES * step, step)
    return [dict(inputs_of(frame, around)) for frame in frames]


def _check_fixed(graph: Graph, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Costs are told at sizes that the model takes: one that it declares is not changed here."""
    for info in graph.inputs:
        asked = shapes.get(info.name, ())
        if any(isinstance(own, int) and own != n for own, n in zip(info.shape, asked, strict=False)):
            got = "x".join(map(str, asked))
            raise InputError(f"input {info} has sizes that the model fixes, and cannot become {got}: leave them out")


def memo_folder(text: str | None) -> Path:
    """Where measurements are kept: as asked for, or in the user's folder for what can be made again."""
    if text is None:
        home = Path(os.environ.get("XDG_CACHE_HOME", ""))
        return (home if home.is_absolute() else Path.home() / ".cache") / "reconv" / "measurements"
    if Path(text).exists() and not Path(text).is_dir():
        raise InputError(f"--memo {text} is a file; name a folder, which is made when it is not there")
    return Path(text)


def _finite(value: Any) -> Any:
    """JSON has no infinity: None in its place."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _print(result: Exchanged, output: str | None) -> None:
    report, talk = result.report, console()

    def show(grid: Grid, style: str | None = None) -> None:
        if grid.rows:
            talk.print(grid.table(style))
            talk.print(grid.note + "\n" if grid.note else "", markup=False)

    show(words.bugs(report), "bold red")
    show(words.done(report))
    show(words.declined(report))
    show(words.unproved(report))
    show(words.refused(report))
    show(words.sides(report))
    talk.print(words.setting(report), markup=False)
    talk.print(words.proof(report), markup=False)
    talk.print(words.verdict(report), markup=False, style="bold")
    if output is None:
        talk.print("nothing written: --output takes the ONNX file to write")
    else:
        talk.print(f"{output}: {'written' if report.applied else 'the untouched model'}", markup=False)
