"""`reconv run`: a model over streams of frames; results out, and what was saved and what it cost in agreement."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import typer

from reconv.app.console import console, parse_size, print_json, waiting_interrupt
from reconv.app.many import Lane, Task, inputs_of, names_of
from reconv.app.opened import open_model
from reconv.app.progress import progress
from reconv.app.run_words import print_summary, summary_of
from reconv.app.sinks import open_sink
from reconv.app.tune import tuned_start
from reconv.app.turns import Coming, open_lane, take_turns
from reconv.engine.audit import TARGET, Agreement
from reconv.engine.model import Model
from reconv.engine.plain import DenseChoice, check_dense
from reconv.engine.stream import Stream
from reconv.engine.tolerance import Profile
from reconv.errors import InputError, SourceError, one_line
from reconv.recipes import RECIPES, Recipe
from reconv.recipes.others import parse_inputs
from reconv.recipes.sources import Patience, Reader, Source, start_source

__all__ = ["inputs_of", "run"]

CUT_SHORT, MISTAKE, STOPPED = 1, 2, 130  # exit codes
NAME = "{name}"


def run(
    model: str = typer.Argument(..., help="The network, an ONNX file."),
    source: list[str] = typer.Argument(
        ...,
        help="A video, a picture, a folder of pictures, an .npy or .npz, an address (rtsp://, http://) or the number "
        "of a camera. Several take turns.",
    ),
    *,
    recipe: str = typer.Option("raw", help=f"What the model needs around it: {', '.join(RECIPES)}."),
    tolerance: float | None = typer.Option(
        None, help="How far a pixel may be off, in standard deviations; 0 (the default) is exact, try 0.1 on cameras."
    ),
    size: str | None = typer.Option(
        None, help="Height x width of the network's input, as in 576x768. Default: the model's own."
    ),
    profile: str | None = typer.Option(None, help="A tolerance profile: how far each map may be off, as JSON."),
    agreement: float | None = typer.Option(
        None, help="With dense runs, as in 0.98: the tolerance is tuned for it first, on the start of the clip."
    ),
    output: str | None = typer.Option(
        None,
        help="Results: .jsonl, .npz (raw outputs), .mp4 (drawn), or - for JSON lines on stdout, the default in a pipe. "
        "Of several sources one file each, as in out/{name}.jsonl.",
    ),
    overlay: bool = typer.Option(False, help="In the .mp4, tint the pixels that moved."),
    every: int = typer.Option(1, min=1, help="Run every n-th frame only."),
    limit: int | None = typer.Option(None, min=1, help="Stop after so many frames of each source."),
    threads: int | None = typer.Option(None, min=1, help="Default: what affinity and quota allow."),
    kernels: str = typer.Option(
        "default", help="Loop orders of convolutions: default, measured (some seconds at the start), or a saved file."
    ),
    refresh_every: int | None = typer.Option(None, min=1, help="Run every n-th frame dense, whatever moved."),
    audit_every: int | None = typer.Option(
        None, min=1, help="At most every n-th frame run dense as well, and move the tolerance to stay at --target."
    ),
    target: float = typer.Option(TARGET, help="The agreement with dense runs that audits keep to, the recipe's first."),
    dense: str = typer.Option(
        "reconv",
        help="What runs frames of which nearly all is stale: reconv, or measured, the faster here of it and ONNX "
        "Runtime (with a tolerance).",
    ),
    compare: float = typer.Option(
        0.05, min=0, max=1, help="Share of the frames that are run dense as well, to say what reuse cost; 0 is none."
    ),
    reconnect: float = typer.Option(
        30.0, help="How many seconds a camera or an address that went away is tried again; 0 is not at all."
    ),
    timeout: float = typer.Option(10.0, help="After how many silent seconds an address counts as gone."),
    input: list[str] = typer.Option(
        [], help="What an input beside that of the frames takes, as in scale_factor=1,1 or mask=mask.npy."
    ),
    json: bool = typer.Option(False, "--json", help="The summary as JSON on stdout."),
) -> int:
    """Run a network over one or more streams and recompute only what changed."""
    if json and output == "-":
        raise InputError("--json and --output - both want stdout; write the results to a file")
    if output is None and recipe != "raw" and not json and not sys.stdout.isatty():
        output = "-"  # who takes our stdout wants the results
    names = names_of(source)
    read = [model, *source, *([] if profile is None else [profile]), kernels]
    targets = _targets(output, names, read, overlay=overlay)
    patience, wanted = Patience(reconnect, timeout), parse_size(size)
    network = open_model(model, threads, wanted, kernels)
    talk = console(stderr=True)
    given = parse_inputs(input)
    found: Profile | str | None = profile
    if agreement is not None:
        if tolerance is not None or profile is not None:
            raise InputError("--agreement finds the tolerance: leave out --tolerance and --profile")
        found = tuned_start(network, source[0], recipe, wanted, given, agreement, talk)
    task = Task(
        network,
        recipe,
        wanted,
        partial(_stream, network, tolerance, found, refresh_every, audit_every, target, check_dense(dense)),
        every,
        limit,
        compare,
        overlay=overlay,
        given=given,
    )

    def say(note: str) -> None:
        talk.print(note, markup=False, soft_wrap=True)

    files, several = dict(zip(names, targets, strict=True)), len(source) > 1

    def opened(name: str, came: Source) -> Lane:
        """Of a source that came while others ran: with its sink at once."""
        lane = open_lane(name, came, task, files[name], say=say)
        try:
            _open_sink(lane, share=several and output == "-")
        except BaseException:
            lane.close()
            raise
        return lane

    lanes: list[Lane] = []
    errors: dict[str, Exception] = {}
    coming = Coming(opened)
    try:
        for name, text in zip(names, source, strict=True):
            try:
                begun = start_source(text, patience, say)
                if isinstance(begun, Reader) and several:
                    coming.add(name, begun)
                    continue
                came = begun.source() if isinstance(begun, Reader) else begun  # alone it holds up nobody
                lanes.append(open_lane(name, came, task, files[name], say=say))
            except SourceError as error:
                if not several:
                    raise
                errors[name] = error
                say(f"{one_line(error)}; the others go on")
        with waiting_interrupt() as interrupt:
            for lane in lanes:
                _open_sink(lane, share=several and output == "-")
            start = time.perf_counter()
            with progress(talk, lanes, show=talk.is_terminal and not json, several=several) as advance:
                take_turns(lanes, coming, interrupt, advance, say)
            seconds = time.perf_counter() - start
            stopped = bool(interrupt)
    finally:
        coming.close()
        for lane in lanes:
            lane.close()
    if stopped and not lanes:  # while all were still waited for
        raise KeyboardInterrupt
    errors |= coming.errors | {lane.name: lane.error for lane in lanes if lane.error is not None}
    frames = sum(lane.tally.frames for lane in lanes)
    if len(source) == 1 and errors and not frames:
        raise errors[names[0]]
    written = dict(zip(names, source, strict=True))
    summary = summary_of(lanes, errors, sources=written, task=task, model=model, seconds=seconds, stopped=stopped)
    if json:
        print_json(summary)
    elif frames:
        print_summary(console(stderr=output == "-"), summary)
    for mishap in errors.values():
        print(f"error: {one_line(mishap, 1000)}", file=sys.stderr)
    return STOPPED if stopped else 0 if not errors else CUT_SHORT if frames else MISTAKE


def _open_sink(lane: Lane, *, share: bool) -> None:
    """`share`: several write to one output, so that every line names its source. Raises SourceError."""
    lane.sink = open_sink(lane.target, lane.rate, lane.source.shape is not None, lane.name if share else None)


def _stream(  # noqa: PLR0917 - in the order of the command line, what a lane gives last
    model: Model,
    tolerance: float | None,
    profile: Profile | str | None,
    refresh_every: int | None,
    audit_every: int | None,
    target: float,
    dense: DenseChoice,
    around: Recipe,
    agreement: Agreement,
) -> Stream:
    return model.stream(
        tolerance,
        profile,
        pixels=around.pixels if around.takes_bytes else None,
        refresh_every=refresh_every,
        audit_every=audit_every,
        target=target,
        agreement=agreement,
        dense=dense,
    )


def _targets(output: str | None, names: Sequence[str], read: Sequence[str], *, overlay: bool) -> list[str | None]:
    """Where each source's results go. Refuses to write over what is read, two sources into one file, and an overlay
    that nothing would show."""
    if overlay and (output is None or Path(output).suffix.lower() != ".mp4"):
        raise InputError("--overlay is drawn into a video: give --output out.mp4")
    if output is None or output == "-":
        return [output] * len(names)
    if len(names) > 1 and NAME not in output:
        suggested = Path(output).with_stem(f"{Path(output).stem}-{NAME}")
        raise InputError(f"--output {output} is one file and there are {len(names)} sources: try {suggested}")
    targets = [output.replace(NAME, name) for name in names]
    for target in targets:
        if any(Path(target).resolve() == Path(each).resolve() for each in read):
            raise InputError(f"--output {target} would overwrite what is read; give another file")
    if NAME in output:
        try:
            for target in targets:
                Path(target).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SourceError(f"--output {output} cannot be written: {error.strerror}") from error
    return list(targets)
