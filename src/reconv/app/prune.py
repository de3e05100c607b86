"""`reconv prune`: a model with fewer channels, and what it gained and lost."""

from __future__ import annotations

import typer

from reconv.app.compressing import DATA, METRIC, OUTPUT, answer, opened
from reconv.optimize import compressing
from reconv.optimize.measured import TARGETS
from reconv.recipes import RECIPES

__all__ = ["prune"]


def prune(
    model: str = typer.Argument(..., help="The network, an ONNX file of floats."),
    *,
    data: str | None = typer.Option(None, help=DATA),
    recipe: str | None = typer.Option(None, help=f"What the model needs around pictures: {', '.join(RECIPES)}."),
    output: str | None = typer.Option(None, "--output", "-o", help=OUTPUT),
    ratio: float = typer.Option(0.5, help="Share of the channels that go."),
    importance: str | None = typer.Option(
        None,
        help="magnitude, activation (needs samples) or taylor (needs samples and torch). Default: activation where "
        "there are samples, else magnitude.",
    ),
    scope: str = typer.Option("layer", help="layer (each loses the share) or global (all together do)."),
    sensitivity: bool = typer.Option(
        False, help="With --scope global: measure what pruning each group alone does to the outputs, and weigh by it."
    ),
    multiple: int = typer.Option(8, min=1, help="Channels stay in multiples of this."),
    keep: list[str] = typer.Option([], help="A layer whose channels stay, by the name of its node; may be repeated."),
    target: str = typer.Option("onnxruntime", help=f"Where it is measured: {', '.join(TARGETS)}."),
    metric: str | None = typer.Option(None, help=METRIC),
    size: str | None = typer.Option(None, help="Height x width of the input, as in 224x224, where it is open."),
    limit: int | None = typer.Option(None, min=1, help="Take so many samples at most, evenly spread."),
    threads: int | None = typer.Option(None, min=1, help="Of the target. Default: what affinity and quota allow."),
    measure: bool = typer.Option(True, help="Measure milliseconds and loss beside the original."),
    json: bool = typer.Option(False, "--json", help="The report as JSON on stdout."),
) -> None:
    """Remove the channels that matter least, with everything that shares them."""
    chosen = {} if importance is None else {"importance": importance}
    chosen |= {"sensitivity": "measured"} if sensitivity else {}
    answer(
        model,
        output,
        (data,),
        json,
        lambda say: compressing.prune(
            model,
            opened(model, data, recipe, size, limit),
            ratio=ratio,
            scope=scope,
            multiple=multiple,
            keep=keep,
            target=target,
            metric=metric,
            threads=threads,
            measure=measure,
            say=say,
            **chosen,
        ),
    )
