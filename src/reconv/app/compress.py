"""`reconv compress`: the methods that need few settings, by name, and the combinations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import typer

from reconv.app.compressing import DATA, EXCLUDE, METRIC, OUTPUT, answer, opened
from reconv.app.opened import check_targets
from reconv.compress import METHODS
from reconv.compress.result import Compressed
from reconv.compress.train.course import Course, Progress
from reconv.errors import InputError
from reconv.graph.external import external_files
from reconv.measure import allowed_threads
from reconv.optimize import compressing
from reconv.optimize.measured import TARGETS
from reconv.recipes import RECIPES

__all__ = ["WAYS", "compress"]

WAYS: Mapping[str, Callable[..., Compressed]] = {
    "sparsify": compressing.sparsify,
    "share_weights": compressing.share_weights,
    "factorize": compressing.factorize,
    "drop_blocks": compressing.drop_blocks,
    "shrink_input": compressing.shrink_input,
    "earlier_stride": compressing.earlier_stride,
    "prune_quantize": compressing.prune_quantize,
    "distil_quantize": compressing.distil_quantize,
    "prune_distil_quantize": compressing.prune_distil_quantize,
}
TAKES: Mapping[str, tuple[str, ...]] = {  # options of the command that a method takes
    "sparsify": ("ratio", "pattern", "exclude"),
    "share_weights": ("bits", "exclude"),
    "factorize": ("ratio", "energy", "exclude"),
    "drop_blocks": ("count",),
    "shrink_input": ("scale",),
    "earlier_stride": ("node",),
    "prune_quantize": ("ratio", "exclude"),
    "distil_quantize": ("exclude", "epochs", "checkpoint", "resume"),
    "prune_distil_quantize": ("ratio", "exclude", "epochs", "checkpoint", "resume"),
}
WEIGHTS_DO = ("factorize", "shrink_input")  # samples make these better, and are not needed


def compress(
    model: str = typer.Argument(..., help="The network, an ONNX file of floats."),
    method: str = typer.Argument(..., help=f"What is done: {', '.join(WAYS)}."),
    *,
    data: str | None = typer.Option(None, help=DATA),
    recipe: str | None = typer.Option(None, help=f"What the model needs around pictures: {', '.join(RECIPES)}."),
    output: str | None = typer.Option(None, "--output", "-o", help=OUTPUT),
    ratio: float | None = typer.Option(
        None,
        help="Share of what goes (sparsify: weights; prune: channels) or stays (factorize: multiply-adds).",
    ),
    pattern: str | None = typer.Option(None, help="sparsify: N:M, as in 2:4."),
    bits: int | None = typer.Option(None, help="share_weights: of a code, 1 to 8."),
    energy: float | None = typer.Option(None, help="factorize: share of the squares that stays."),
    scale: float | None = typer.Option(None, help="shrink_input: of height and width, as in 0.75."),
    count: int | None = typer.Option(None, min=1, help="drop_blocks: how many residual blocks go."),
    node: str | None = typer.Option(None, help="earlier_stride: the layer that gets the stride."),
    exclude: list[str] = typer.Option([], help=EXCLUDE),
    epochs: int | None = typer.Option(None, min=1, help="distil: passes over the samples (10)."),
    checkpoint: str | None = typer.Option(None, help="distil: a file that the training's state is kept in."),
    resume: bool = typer.Option(False, "--resume", help="distil: go on from --checkpoint where it is there."),
    target: str = typer.Option("onnxruntime", help=f"The runtime that it is for: {', '.join(TARGETS)}."),
    metric: str | None = typer.Option(None, help=METRIC),
    size: str | None = typer.Option(None, help="Height x width of the input, as in 224x224, where it is open."),
    limit: int | None = typer.Option(None, min=1, help="Take so many samples at most, evenly spread."),
    threads: int | None = typer.Option(None, min=1, help="Of the target. Default: what affinity and quota allow."),
    measure: bool = typer.Option(True, help="Measure milliseconds and loss beside the original."),
    json: bool = typer.Option(False, "--json", help="The report as JSON on stdout."),
) -> None:
    """Compress a model by one method, or by several in one call."""
    if method not in WAYS:
        raise InputError(f"no method is called {method!r}; there are {', '.join(WAYS)} (and quantize, prune, distill)")
    asked: dict[str, Any] = {"ratio": ratio, "pattern": pattern, "bits": bits, "energy": energy, "scale": scale}
    asked |= {"count": count, "node": node, "exclude": exclude or None}
    asked |= {"epochs": epochs, "checkpoint": checkpoint, "resume": resume or None}
    given = {key: value for key, value in asked.items() if value is not None}
    if unknown := [key for key in given if key not in TAKES[method]]:
        raise InputError(f"{method} has no --{unknown[0]}; it takes {', '.join(f'--{key}' for key in TAKES[method])}")
    if data is None and METHODS[method].needs & {"samples"} and method not in WEIGHTS_DO:
        raise InputError(f"{method} needs samples: give --data")
    read = (model, *external_files(model), data)
    check_targets({"--output": output, "--checkpoint": checkpoint}, read)
    course = _course(given, threads)

    def call(say: Callable[[str], None]) -> Compressed:
        settings = _nested(method, given, course, say) if "quantize" in method else given
        return WAYS[method](
            model,
            opened(model, data, recipe, size, limit),
            target=target,
            metric=metric,
            threads=threads,
            measure=measure,
            say=say,
            **settings,
        )

    answer(model, output, (data,), json, call)


def _course(given: Mapping[str, Any], threads: int | None) -> Course:
    """Of the distillation. Raises InputError."""
    asked = {key: given[key] for key in ("epochs", "checkpoint", "resume") if key in given}
    return Course(threads=allowed_threads() if threads is None else threads, **asked)


def _nested(method: str, given: Mapping[str, Any], course: Course, say: Callable[[str], None]) -> dict[str, Any]:
    """The settings of a combination by its parts."""
    found: dict[str, Any] = {"quantize": {"exclude": given.get("exclude", ())}}
    if "prune" in method and "ratio" in given:
        found["prune"] = {"ratio": given["ratio"]}
    if "distil" in method:
        found["distil"] = {"course": course, "progress": lambda at: say(_told(at))}
    return found


def _told(at: Progress) -> str:
    return f"distilling, epoch {at.epoch} of {at.epochs}, step {at.step} of {at.steps}, loss {at.loss:.4g}"
