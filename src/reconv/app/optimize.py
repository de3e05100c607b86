"""`reconv optimize`: the fastest model that keeps the user's limits, with the evidence for each of them."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.text import Text

from reconv.app import optimize_words as words
from reconv.app.console import console, json_text, parse_size, print_json
from reconv.app.html import write_page
from reconv.app.opened import check_targets
from reconv.app.optimize_page import optimize_page
from reconv.cache import Cache
from reconv.cache.tiers import DiskTier
from reconv.errors import InputError, SourceError, one_line
from reconv.graph import load
from reconv.graph.external import external_files
from reconv.optimize.limits import Limits
from reconv.optimize.measured import TARGETS
from reconv.optimize.metric import METRICS
from reconv.optimize.optimize import Optimized
from reconv.optimize.optimize import optimize as optimized
from reconv.optimize.samples import VIDEO_FRAMES, open_samples
from reconv.recipes import RECIPES

__all__ = ["optimize"]

MEMO_BYTES = 64 << 20
UNMET = 1  # exit code where a limit cannot be met
UNITS = {"": 1, "B": 1, "K": 10**3, "KB": 10**3, "M": 10**6, "MB": 10**6, "G": 10**9, "GB": 10**9}
UNITS |= {"KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}


def optimize(
    model: str = typer.Argument(..., help="The network, an ONNX file."),
    *,
    data: str = typer.Option(
        ..., help="Samples: a folder of pictures, with or without a sub-folder per class, an .npz or .npy, a video."
    ),
    recipe: str | None = typer.Option(None, help=f"What the model needs around pictures: {', '.join(RECIPES)}."),
    max_degradation: str | None = typer.Option(
        None, help="How far the metric may fall, as in 1% (a point of a share) or 0.01."
    ),
    max_size: str | None = typer.Option(None, help="Of the file, as in 5MB."),
    max_latency_ms: float | None = typer.Option(None, help="Median milliseconds of a run on the target."),
    max_memory: str | None = typer.Option(
        None, help="By which a process may grow while the target opens the model and runs it, as in 200MB."
    ),
    target: list[str] = typer.Option(
        ["onnxruntime"], help=f"The runtime that it is for: {', '.join(TARGETS)}; repeated: the best of them."
    ),
    metric: str | None = typer.Option(
        None, help=f"{', '.join(METRICS)}. Default: top1 with labels, else agreement with the untouched model."
    ),
    output: str | None = typer.Option(None, "--output", "-o", help="The ONNX file to write."),
    profile: str | None = typer.Option(None, help="Write how the model was made and is to be run, as JSON."),
    size: str | None = typer.Option(None, help="Height x width of the input, as in 224x224, where it is open."),
    limit: int | None = typer.Option(
        None, min=1, help=f"Take so many samples at most, evenly spread. Default: all, of a video {VIDEO_FRAMES}."
    ),
    seconds: float = typer.Option(600.0, min=1.0, help="Of trials, after which nothing new begins."),
    journal: str | None = typer.Option(
        None, help="A file that keeps every result: the same call goes on where it was stopped."
    ),
    threads: int | None = typer.Option(None, min=1, help="Of the target. Default: what affinity and quota allow."),
    seed: int = typer.Option(0, help="Deals the samples."),
    html: str | None = typer.Option(None, help="The report as a page of its own, with the trade-off curve."),
    json: bool = typer.Option(False, "--json", help="The report as JSON on stdout."),
) -> int:
    """Find the fastest model within limits: reorder, quantize, prune and more, and prove what it loses."""
    limits = Limits(
        max_degradation=None if max_degradation is None else _share(max_degradation),
        max_size_bytes=None if max_size is None else _bytes("--max-size", max_size),
        max_latency_ms=max_latency_ms,
        max_memory_bytes=None if max_memory is None else _bytes("--max-memory", max_memory),
    )
    written = {"--output": output, "--html": html, "--profile": profile, "--journal": journal}
    check_targets(written, (model, *external_files(model), data))
    graph = load(model)
    samples = open_samples(data, graph, recipe=recipe, size=parse_size(size), limit=limit)
    talk = console(stderr=True)
    memo = None if journal is None else DiskTier(f"{journal}.measurements", MEMO_BYTES)
    with talk.status("looking at the model ...", spinner="line") as status:
        try:
            result = optimized(
                model,
                samples,
                limits,
                metric=metric,
                target=target,
                seconds=seconds,
                journal=journal,
                seed=seed,
                threads=threads,
                memo=None if memo is None else Cache(1 << 20, "lru", below=memo),
                say=lambda what: status.update(Text(f"{what} ...")),
            )
        finally:
            if memo is not None:
                memo.close()
    _write(result, output, profile)
    if html is not None:
        write_page(html, optimize_page(Path(model).name, result))
    if json:
        print_json({"model": model, "output": output if result.met else None, **result.report.to_json()})
    else:
        _print(result, output)
    return 0 if result.met else UNMET


def _write(result: Optimized, output: str | None, profile: str | None) -> None:
    """What misses a limit is not written: nobody should take it for what was asked for."""
    if not result.met:
        return
    if output is not None:
        result.save(output)
    if profile is not None:
        try:
            Path(profile).write_text(json_text(result.profile) + "\n", "utf-8")
        except OSError as error:
            raise SourceError(f"--profile {profile} cannot be written: {error.strerror or one_line(error)}") from error


def _print(result: Optimized, output: str | None) -> None:
    talk, report = console(), result.report
    for grid in (words.tried(report), words.sensitive(report), words.limits(report)):
        if grid.rows:
            talk.print(grid.table())
            talk.print(grid.note + "\n" if grid.note else "", markup=False)
    talk.print(words.setting(report), markup=False)
    for note in report.notes:
        talk.print(f"note: {note}", markup=False)
    talk.print(words.verdict(report), markup=False, style="bold")
    if not result.met:
        talk.print("nothing written: a limit is missed" if output else "a limit is missed", markup=False)
    elif output is None:
        talk.print("nothing written: --output takes the ONNX file to write")
    else:
        talk.print(f"{output}: written", markup=False)


def _share(text: str) -> float:
    """ "1%" and "0.01" are the same."""
    number = text.strip().removesuffix("%")
    try:
        value = float(number)
    except ValueError:
        raise InputError(f"--max-degradation is a share, as in 1% or 0.01; got {text!r}") from None
    if value >= 1 and not text.strip().endswith("%"):
        raise InputError(f"--max-degradation {text} would be {100 * value:g} %; write 1% or 0.01")
    return value / 100 if text.strip().endswith("%") else value


def _bytes(option: str, text: str) -> float:
    digits = text.strip().rstrip("BbKkMmGgIi ")
    unit = text.strip()[len(digits) :].strip().upper()
    try:
        return float(digits) * UNITS[unit]
    except (ValueError, KeyError):
        raise InputError(f"{option} is a number of bytes, as in 5MB or 300KiB; got {text!r}") from None
