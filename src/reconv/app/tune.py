"""`reconv tune`: from a clip and an agreement asked for to a profile, judged on frames that did not choose it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from reconv.app.console import console, parse_size, print_json, waiting_interrupt
from reconv.app.grid import Grid
from reconv.app.opened import check_targets, open_model, open_recipe
from reconv.engine.model import Model
from reconv.engine.tolerance import Profile
from reconv.engine.tuning.stretches import REFRESH
from reconv.engine.tuning.tune import FRAMES, INTERRUPT, Tuned
from reconv.errors import InputError, SourceError, one_line
from reconv.optimize.tune import tune as tuned
from reconv.recipes import RECIPES
from reconv.recipes.sources import open_source

__all__ = ["tune", "tuned_start"]

START_FRAMES = 256  # that `run --agreement` tunes on


def tune(
    model: str = typer.Argument(..., help="The network, an ONNX file."),
    clip: str = typer.Argument(..., help="A video, a folder of pictures, an .npy or .npz: some hundred frames."),
    *,
    agreement: float = typer.Option(
        ..., help="With dense runs, in the recipe's first measure (F1 of boxes, say): above 0, at most 1, as in 0.98."
    ),
    recipe: str = typer.Option("raw", help=f"What the model needs around it: {', '.join(RECIPES)}."),
    output: str | None = typer.Option(None, "--output", "-o", help="The profile to write, for --profile of run."),
    size: str | None = typer.Option(None, help="Height x width of the network's input. Default: the model's own."),
    frames: int = typer.Option(FRAMES, min=1, help="How many, spread over the clip; half of them choose, half judge."),
    budget: float | None = typer.Option(None, min=0, help="Seconds, after which the best so far is judged."),
    refresh: int = typer.Option(REFRESH, min=0, help="Every so many steps the stream is to run dense; 0 is never."),
    factors: bool = typer.Option(True, help="A factor on the tolerance for each group of maps, or one tolerance."),
    threads: int | None = typer.Option(None, min=1, help="Default: what affinity and quota allow."),
    json: bool = typer.Option(False, "--json", help="The report as JSON on stdout."),
) -> int:
    """Choose a tolerance, and factors on it for the maps, that agree with dense runs as asked."""
    check_targets({"--output": output}, (model, clip))
    wanted = parse_size(size)
    network = open_model(model, threads, wanted)
    source = open_source(clip)
    around = open_recipe(recipe, network, source.shape, wanted)
    talk = console(stderr=True)
    with talk.status("opening ...", spinner="line") as status, waiting_interrupt() as interrupt:
        found = tuned(
            network,
            source,
            around,
            agreement=agreement,
            factors=factors,
            refresh_every=refresh or None,
            most_frames=frames,
            seconds=budget,
            say=lambda line: status.update(Text(f"{line} ...")),
            stop=lambda: bool(interrupt),
        )
    if output is not None:
        try:
            found.profile.save(output)
        except OSError as error:
            raise SourceError(f"--output {output} cannot be written: {error.strerror or one_line(error)}") from error
    if json:
        print_json({"model": model, "clip": source.name, "recipe": recipe, "output": output, **found.to_json()})
    else:
        out = console()
        out.print(_grid(found).table())
        for line in _lines(found, output):
            out.print(line, markup=False)
    return 130 if found.stopped == INTERRUPT else 0


def tuned_start(  # noqa: PLR0917  # what a run knows before it begins
    model: Model,
    source: str,
    recipe: str,
    size: tuple[int, int] | None,
    given: Mapping[str, Any],
    agreement: float,
    talk: Console,
) -> Profile:
    """The profile of one tolerance for a clip, tuned on its first frames, which are read apart from the run.

    Raises:
        InputError: the source cannot be read twice, or as `reconv.tune`.
    """
    clip = open_source(source)
    if clip.reader is not None:
        clip.reader.stop()
        raise InputError(f"--agreement reads the start of a clip twice, and {clip.name} comes once: use reconv tune")
    around = open_recipe(recipe, model, clip.shape, size, given)
    frames = around.framed(clip).frames()
    with talk.status("tuning ...", spinner="line") as status, waiting_interrupt() as interrupt:
        found = tuned(
            model,
            islice(frames, START_FRAMES),
            around,
            agreement=agreement,
            factors=False,
            say=lambda line: status.update(Text(f"tuning: {line} ...")),
            stop=lambda: bool(interrupt),
        )
    if found.stopped == INTERRUPT:
        raise KeyboardInterrupt
    told = ", ".join(
        f"{played['profile'].headline:.4f} on the frames that {words}"
        for words, played in (("chose", found.tuning), ("judge", found.judged))
        if "profile" in played
    )
    talk.print(f"tolerance {found.profile.tolerance:g} for {found.measure} of {agreement:g}: {told}", markup=False)
    return found.profile


def _grid(found: Tuned) -> Grid:
    rows = []
    for part, played, words in (("tuning", found.tuning, "chosen on"), ("judged", found.judged, "judged on")):
        count = found.frames[0] if part == "tuning" else found.frames[1]
        for name, title in (("single", "one tolerance"), ("profile", "the profile")):
            if name not in played or (name == "single" and found.single.tolerance == found.profile.tolerance == 0):
                continue
            gave = played[name]
            agreed = ", ".join(f"{measure} {value:.4f}" for measure, value in gave.agreement.items())
            tolerance = getattr(found, name).tolerance
            rows.append([f"{title}, {words} {count} frames", f"{tolerance:g}", f"{gave.share:.1%}", agreed])
    return Grid(f"{found.measure} of {found.asked:g} asked for", ("", "tolerance", "recomputed", "agreement"), rows,
                numbers=frozenset({1, 2}))  # fmt: skip


def _lines(found: Tuned, output: str | None) -> Iterator[str]:
    if found.factors:
        values = [factor for _, factor in found.factors]
        yield f"factors {min(values):g} to {max(values):g} on {len(values)} groups of maps"
    yield f"{found.trials} profiles tried"
    for note in found.notes:
        yield f"note: {note}"
    if found.stopped:
        yield f"{found.stopped}: this is the best so far"
    if not found.judged:
        yield "not judged on other frames"
    elif (gave := found.judged["profile"].headline) < found.asked:
        yield f"note: {found.asked - gave:.4f} short on the frames that judge: ask for more, or tune on more frames"
    yield f"{output}: written" if output else "nothing written: --output takes the profile"
