"""`reconv distill`: a small model learns what a large one gives, with a bar, checkpoints and resume."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from reconv.app.compressing import DATA, METRIC, OUTPUT, opened, tell
from reconv.app.console import console
from reconv.app.opened import check_targets
from reconv.compress.train.course import Course
from reconv.compress.train.course import Progress as Place
from reconv.errors import InputError
from reconv.graph.external import external_files
from reconv.measure import allowed_threads
from reconv.optimize import compressing
from reconv.optimize.measured import TARGETS
from reconv.recipes import RECIPES

__all__ = ["distill", "training_bar"]


def distill(
    student: str = typer.Argument(..., help="The network that learns: pruned, quantized or any other, an ONNX file."),
    teacher: str = typer.Argument(..., help="The network that it learns from, with the same inputs and outputs."),
    *,
    data: str = typer.Option(..., help=DATA + " Labels are used where there are some."),
    recipe: str | None = typer.Option(None, help=f"What the models need around pictures: {', '.join(RECIPES)}."),
    output: str | None = typer.Option(None, "--output", "-o", help=OUTPUT),
    epochs: int = typer.Option(10, min=1, help="Passes over the samples."),
    batch: int = typer.Option(64, min=1, help="Samples of one step."),
    learning_rate: float = typer.Option(1e-3, help="The highest, of AdamW on one cycle."),
    hold_out: float = typer.Option(0.0, help="Share of the samples that judges and is not trained on."),
    patience: int | None = typer.Option(None, min=1, help="Epochs without a better judgement that end the training."),
    maps: list[str] = typer.Option(
        [], help="Values that are pulled together too, as in student_value=teacher_value; may be repeated."
    ),
    temperature: float = typer.Option(4.0, help="How much the teacher's classes are softened."),
    seed: int = typer.Option(0, help="Of the order and the held-out part."),
    checkpoint: str | None = typer.Option(None, help="A file that the training's state is kept in."),
    resume: bool = typer.Option(False, "--resume", help="Go on from --checkpoint where it is there."),
    target: str = typer.Option("onnxruntime", help=f"Where the student is measured: {', '.join(TARGETS)}."),
    metric: str | None = typer.Option(None, help=METRIC),
    size: str | None = typer.Option(None, help="Height x width of the input, as in 224x224, where it is open."),
    limit: int | None = typer.Option(None, min=1, help="Take so many samples at most, evenly spread."),
    threads: int | None = typer.Option(None, min=1, help="Default: what affinity and quota allow."),
    measure: bool = typer.Option(True, help="Measure milliseconds and loss beside the teacher."),
    json: bool = typer.Option(False, "--json", help="The report as JSON on stdout."),
) -> None:
    """Train a small model on the outputs of a large one (needs the extra train)."""
    pairs = [tuple(text.split("=", 1)) for text in maps]
    if wrong := [text for text, pair in zip(maps, pairs, strict=True) if len(pair) != 2 or not all(pair)]:
        raise InputError(f"--maps is student_value=teacher_value; got {wrong[0]!r}")
    read = (student, *external_files(student), teacher, *external_files(teacher), data)
    check_targets({"--output": output, "--checkpoint": checkpoint}, read)
    course = Course(
        epochs=epochs,
        batch=batch,
        learning_rate=learning_rate,
        hold_out=hold_out,
        patience=patience,
        seed=seed,
        threads=allowed_threads() if threads is None else threads,
        checkpoint=checkpoint,
        resume=resume,
    )
    samples = opened(student, data, recipe, size, limit) or ()
    talk = console(stderr=True)
    with training_bar(talk, show=talk.is_terminal) as progress:
        result = compressing.distill(
            student,
            teacher,
            samples,
            course=course,
            maps=pairs,
            temperature=temperature,
            progress=progress,
            target=target,
            metric=metric,
            threads=threads,
            measure=measure,
        )
    tell(student, output, json, result)


@contextmanager
def training_bar(talk: Console, *, show: bool) -> Iterator[Any]:
    """A bar of steps with the loss; nothing in a pipe."""
    if not show:
        yield lambda _place: None
        return
    columns = [BarColumn(20), MofNCompleteColumn(), TextColumn("{task.fields[now]}"), TimeElapsedColumn()]
    with Progress(*columns, console=talk, transient=True) as bar:
        task = bar.add_task("", total=None, now="")

        def advance(place: Place) -> None:
            judged = "" if place.validation is None else f"  held out {place.validation:.4g}"
            now = f"epoch {place.epoch}/{place.epochs}  loss {place.loss:.4g}{judged}"
            bar.update(task, completed=place.step, total=place.steps, now=now)

        yield advance
