"""Prune, distil, quantize, for the networks of `benchmarks.fashion`: from the float network to one four times as quick.

    python -m benchmarks.fashion_pipeline resnet20 --threads 2

1. Residual blocks go (`compress.depth`): those of the first, largest maps, where ONNX Runtime's 8-bit convolutions cost
   the same for 8 channels as for 16. Then channels go in sixteens (`compress.prune`), which its kernels like; not those
   of the last, smallest maps, which cost little.
2. What is left learns from the whole network's answers and the labels, its batch norms alive.
3. Batch norms are folded, the network is quantized, and learns for a short while through its codes. The first layers
   stay float: of one channel, or one by one over the largest maps, they are slower in 8 bits.

The result of each step is kept in .assets/built under a digest of this file and of the network.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.builders import written
from benchmarks.fashion import asked, augmented_feeds, reporter, trained
from benchmarks.fashion_data import accuracy, samples
from reconv.compress.depth import drop_blocks
from reconv.compress.prune import prune
from reconv.compress.train.distil import distil
from reconv.compress.train.loop import Course, Say
from reconv.compress.train.qat import train_quantized
from reconv.graph import Graph, load, to_onnx
from reconv.optimize.folding import folded
from reconv.optimize.values import RuntimeForward
from scripts.assets import folder

__all__ = ["AWARE", "RECIPES", "STEPS", "Recipe", "main", "pipeline", "quick"]

STEPS = ("prune", "prune, distil", "prune, distil, quantize")

_DISTIL = Course(epochs=20, batch=128, optimizer="sgd", learning_rate=0.1, weight_decay=2e-4, seed=2, bfloat16=True)
AWARE = Course(epochs=2, batch=128, optimizer="adamw", learning_rate=2e-4, seed=3)
CALIBRATE = 256  # pictures that ranges and importance are taken from


@dataclass(frozen=True)
class Recipe:
    """blocks: names of the Add nodes of residual blocks that go; floats: how many of the first convolutions stay float;
    ratio: of the channels that go from every group, but for layers whose names begin with one of ``whole``; channels
    are left in multiples of ``channels``; distil, aware: the two courses."""

    blocks: tuple[str, ...]
    floats: int
    ratio: float = 0.5
    channels: int = 16
    whole: tuple[str, ...] = ()
    distil: Course = _DISTIL
    aware: Course = AWARE


RECIPES: Mapping[str, Recipe] = {
    "resnet20": Recipe(("/Add_8", "/Add_15", "/Add_22"), 1, whole=("/stages/2",)),
    "mobilenet_28": Recipe(("/Add_24", "/Add_50", "/Add_76"), 2, whole=("/top",)),
}


def pipeline(
    name: str,
    graph: Graph,
    *,
    threads: int,
    count: int | None = None,
    recipe: Recipe | None = None,
    say: Say | None = None,
) -> dict[str, Graph]:
    """The graphs after each of `STEPS`.

    Args:
        name: a key of `RECIPES`.
        graph: the trained network, batch norms as nodes.
        threads: of torch and ONNX Runtime.
        count: of the training pictures that are used; None: all.
        recipe: None: that of the name.
        say: told after every step of the trainings.
    """
    recipe = recipe or RECIPES[name]
    forward = RuntimeForward(threads)
    feeds, classes = samples("train", None if count is None else range(count))
    few = [feeds[row] for row in np.random.default_rng(0).choice(len(feeds), min(CALIBRATE, len(feeds)), replace=False)]
    small = drop_blocks(graph, few, forward, count=len(recipe.blocks), blocks=recipe.blocks).graph
    small = prune(
        small,
        ratio=recipe.ratio,
        importance="activation",
        samples=few,
        forward=forward,
        multiple=recipe.channels,
        least=recipe.channels,
        keep=[node.name for node in small.nodes if node.op_type == "Conv" and node.name.startswith(recipe.whole)],
    ).graph
    taught = distil(
        small, graph, feeds, labels=classes, course=replace(recipe.distil, threads=threads), augment=augmented_feeds,
        progress=say,
    ).graph  # fmt: skip
    flat = folded(taught)
    layers = [node.name for node in flat.nodes if node.op_type == "Conv"]
    codes = train_quantized(
        flat, feeds, forward, teacher=graph, labels=classes, calibrate=CALIBRATE, exclude=layers[: recipe.floats],
        course=replace(recipe.aware, threads=threads), augment=augmented_feeds, progress=say,
    ).graph  # fmt: skip
    return dict(zip(STEPS, (small, taught, codes), strict=True))


def quick(name: str, *, threads: int, say: Say | None = None) -> dict[str, Path]:
    """The files of the networks after each of `STEPS`; made now where they are not there (a quarter of an hour)."""
    source = trained(name, threads=threads, say=say)
    told = hashlib.sha256(Path(__file__).read_bytes() + source.read_bytes()).hexdigest()[:12]
    marks = [step.replace(", ", "_") for step in STEPS]
    paths = {step: folder() / "built" / f"{name}_{told}_{mark}.onnx" for step, mark in zip(STEPS, marks, strict=True)}
    if not all(path.is_file() for path in paths.values()):
        for step, graph in pipeline(name, load(source), threads=threads, say=say).items():
            written(to_onnx(graph), paths[step])
    return paths


def main(arguments: list[str] | None = None) -> int:
    names, threads = asked(__doc__, arguments)
    for name in names:
        began = time.perf_counter()
        for step, path in quick(name, threads=threads, say=reporter(name)).items():
            print(f"{name}, {step}: {accuracy(path, threads=threads):.2%} of 10,000 test pictures, {path}")
        print(f"{name}: {time.perf_counter() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
