"""`reconv quantize`: a model of 8 bits, and what it gained and lost."""

from __future__ import annotations

import typer

from reconv.app.compressing import DATA, EXCLUDE, METRIC, OUTPUT, answer, opened
from reconv.compress.quantize import CALIBRATIONS
from reconv.optimize import compressing
from reconv.optimize.measured import TARGETS
from reconv.recipes import RECIPES

__all__ = ["quantize"]


def quantize(
    model: str = typer.Argument(..., help="The network, an ONNX file of floats."),
    *,
    data: str = typer.Option(..., help=DATA),
    recipe: str | None = typer.Option(None, help=f"What the model needs around pictures: {', '.join(RECIPES)}."),
    output: str | None = typer.Option(None, "--output", "-o", help=OUTPUT),
    target: str = typer.Option("onnxruntime", help=f"The runtime that it is for: {', '.join(TARGETS)}."),
    calibration: str = typer.Option("mse", help=f"How ranges are found: {', '.join(CALIBRATIONS)}."),
    percentile: float = typer.Option(99.99, help="Of --calibration percentile."),
    exclude: list[str] = typer.Option([], help=EXCLUDE),
    equalize: bool = typer.Option(False, help="Even out the ranges of channels across layers first."),
    correct_bias: bool = typer.Option(True, help="Take the mean error of each channel out of its bias."),
    metric: str | None = typer.Option(None, help=METRIC),
    size: str | None = typer.Option(None, help="Height x width of the input, as in 224x224, where it is open."),
    limit: int | None = typer.Option(None, min=1, help="Take so many samples at most, evenly spread."),
    threads: int | None = typer.Option(None, min=1, help="Of the target. Default: what affinity and quota allow."),
    measure: bool = typer.Option(True, help="Measure milliseconds and loss beside the original."),
    json: bool = typer.Option(False, "--json", help="The report as JSON on stdout."),
) -> None:
    """Quantize a model to 8 bits (ONNX with QuantizeLinear and DequantizeLinear)."""
    answer(
        model,
        output,
        (data,),
        json,
        lambda say: compressing.quantize(
            model,
            opened(model, data, recipe, size, limit) or (),
            target=target,
            calibration=calibration,
            percentile=percentile,
            exclude=exclude,
            equalize=equalize,
            correct_bias=correct_bias,
            metric=metric,
            threads=threads,
            measure=measure,
            say=say,
        ),
    )
