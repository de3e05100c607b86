"""`reconv cache record`: a model over a source of frames, and a trace of what a cache of its results is asked for."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import typer

from reconv.app.cache import facts, in_words
from reconv.app.console import console, parse_size, print_json, waiting_interrupt
from reconv.app.opened import open_model, open_recipe
from reconv.app.run import inputs_of
from reconv.cache import Trace, write_trace
from reconv.cache.trace import interned
from reconv.cache.tracefile import check_target
from reconv.engine.model import Model, load
from reconv.graph import extract, reads
from reconv.recipes import RECIPES
from reconv.recipes.sources import open_source
from reconv.reuse.keys import input_digest

__all__ = ["record"]

RESULT = "result"


def record(
    model: str = typer.Argument(..., help="The network, an ONNX file."),
    source: str = typer.Argument(..., help="A video, the number of a camera, a folder of pictures, an .npy or .npz."),
    *,
    output: str = typer.Option(..., "--output", "-o", help="The trace: .csv, or .oracleGeneral (no costs); also .zst."),
    recipe: str = typer.Option("raw", help=f"What the model needs around it: {', '.join(RECIPES)}."),
    cut: list[str] = typer.Option(
        [], help="A map inside the model that is asked for as well, by name; may be repeated."
    ),
    size: str | None = typer.Option(None, help="Height x width of the network's input. Default: the model's own."),
    every: int = typer.Option(1, min=1, help="Run every n-th frame only."),
    limit: int | None = typer.Option(None, min=1, help="Stop after so many frames."),
    threads: int | None = typer.Option(None, min=1, help="Default: what affinity and quota allow."),
    json: bool = typer.Option(False, "--json", help="The summary as JSON on stdout."),
) -> int:
    """Record what a cache of a model's results is asked for: one request per frame, with measured seconds."""
    check_target(output)
    wanted = parse_size(size)
    network = open_model(model, threads, wanted)
    parts = {name: _part(network, name) for name in cut} | {RESULT: network}
    frames = open_source(source)
    around = open_recipe(recipe, network, frames.shape, wanted)
    log = _Log()
    with console(stderr=True).status("recording ...", spinner="line"), waiting_interrupt() as interrupt:
        for frame in itertools.islice(
            around.framed(frames).frames(), 0, None if limit is None else limit * every, every
        ):
            log.add(parts, inputs_of(frame, around))
            if interrupt:
                break
    trace = log.trace()
    write_trace(trace, output)
    summary = {
        "model": model,
        "source": frames.name,
        "frames": len(trace) // len(parts),
        **facts(trace),
        "output": output,
        "stopped": bool(interrupt),
    }
    if json:
        print_json(summary)
    else:
        console().print(f"{output}: {in_words(trace)}")
    return 130 if interrupt else 0


def _part(network: Model, name: str) -> Model:
    """The model as far as the map called `name`. Raises ModelError when it has none."""
    inputs = [info.name for info in network.inputs]
    _, needed = reads(network.graph, inputs, [name])
    shapes = {info.name: info.shape for info in network.inputs}
    return load(extract(network.graph, needed, [name], shapes), threads=network.threads)


@dataclass
class _Log:
    """Columns of the trace to be."""

    keys: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    start: float | None = None

    def add(self, parts: Mapping[str, Model], inputs: Any) -> None:
        """One request per part for these inputs, with the bytes of its outputs and the seconds of a dense run."""
        if self.start is None:
            for part in parts.values():
                part.run(_known(part, inputs))  # what is made once for a size is not a cost of the request
            self.start = time.perf_counter()
        for name, part in parts.items():
            given = _known(part, inputs)
            start = time.perf_counter()
            outputs = part.run(given)
            seconds = time.perf_counter() - start
            self.keys.append(f"{name}:{input_digest(given).hex()}")
            self.sizes.append(max(1, sum(np.asarray(array).nbytes for array in outputs.values())))
            self.costs.append(seconds)
            self.times.append(start - self.start)

    def trace(self) -> Trace:
        numbers, names = interned(self.keys)
        columns = np.array(numbers, np.int64), np.array(self.sizes), np.array(self.costs), np.array(self.times)
        return Trace(*columns, names=tuple(names))


def _known(part: Model, inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {info.name: inputs[info.name] for info in part.inputs if info.name in inputs}
