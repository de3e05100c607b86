"""Trains the two networks of the compression suite on Fashion-MNIST; seeds are fixed.

    python -m benchmarks.fashion                       both, where they are not trained yet
    python -m benchmarks.fashion resnet20 --threads 2

A trained network is an ONNX file in .assets/built, with what came of its training beside it as JSON. Its name holds a
digest of this file and of the untrained network: whoever changes how they are trained gets others. The test pictures
judge it once, after the last step; nothing is chosen by them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import torch
from torch.nn import functional as F

from benchmarks.builders import written
from benchmarks.builders.fashion import mobilenet_28, resnet20
from benchmarks.fashion_data import INPUT, MEAN, SPREAD, accuracy, pictures
from reconv.compress.train.loop import Course, Progress, Rows, train
from reconv.compress.train.net import Net
from reconv.graph import load, to_onnx
from scripts.assets import folder

__all__ = ["NETWORKS", "augmented", "augmented_feeds", "main", "reporter", "taught", "trained"]

SHIFT = 2  # pixels to every side
_SGD = Course(optimizer="sgd", batch=128, momentum=0.9, seed=1, bfloat16=True, checkpoint_seconds=60)


@dataclass(frozen=True)
class Network:
    builder: Callable[[], onnx.ModelProto]
    course: Course


NETWORKS: Mapping[str, Network] = {
    "resnet20": Network(resnet20, replace(_SGD, epochs=20, learning_rate=0.2, weight_decay=5e-4)),
    "mobilenet_28": Network(mobilenet_28, replace(_SGD, epochs=12, learning_rate=0.2, weight_decay=1e-4)),
}


def augmented(images: torch.Tensor, random: np.random.Generator, *, shift: int = SHIFT) -> torch.Tensor:
    """A batch of maps (n, 1, 28, 28) or codes, each moved by up to ``shift`` pixels, and every second mirrored."""
    count, _, height, width = images.shape
    padded = F.pad(images, [shift] * 4, value=float(images.min()))
    down, right = (torch.from_numpy(random.integers(0, 2 * shift + 1, (count, 1))) for _ in range(2))
    mirrored = torch.from_numpy(random.random((count, 1)) < 0.5)
    rows, columns = torch.arange(height)[None], torch.arange(width)[None]
    rows, columns = rows + down, torch.where(mirrored, width - 1 - columns, columns) + right
    place = torch.arange(count)[:, None, None]
    return padded[place, 0, rows[:, :, None], columns[:, None, :]][:, None]


def augmented_feeds(batch: dict[str, torch.Tensor], random: np.random.Generator) -> dict[str, torch.Tensor]:
    """`augmented` as distillation wants it: of normalised maps by input."""
    moved = {name: augmented(maps, random) for name, maps in batch.items()}
    return {name: maps.contiguous(memory_format=torch.channels_last) for name, maps in moved.items()}


def trained(name: str, *, threads: int | None = None, say: Callable[[Progress], None] | None = None) -> Path:
    """The trained network's file; trained now when it is not there, or on from where an interrupt left it."""
    network = NETWORKS[name]
    model = network.builder()
    told = Path(__file__).read_bytes() + model.SerializeToString(deterministic=True)
    path = folder() / "built" / f"{name}_{hashlib.sha256(told).hexdigest()[:12]}.onnx"
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoint = path.with_suffix(".checkpoint")
    course = replace(network.course, threads=threads, checkpoint=checkpoint, resume=True)
    begin = time.perf_counter()
    result, losses = taught(model, course, say=say)
    seconds = time.perf_counter() - begin
    share = accuracy(result.SerializeToString(), threads=threads or 2)
    record = {"accuracy": share, "seconds": round(seconds, 1), "threads": threads, "losses": losses, **course.told()}
    path.with_suffix(".json").write_text(json.dumps(record, indent=2) + "\n")
    written(result, path)
    checkpoint.unlink(missing_ok=True)
    return path


def taught(
    model: onnx.ModelProto, course: Course, *, count: int | None = None, say: Callable[[Progress], None] | None = None
) -> tuple[onnx.ModelProto, list[float]]:
    """The model after its course on the first ``count`` (None: all) training pictures, and each epoch's mean loss."""
    images, classes = pictures("train")
    maps = torch.from_numpy(images[:count].copy())[:, None]
    targets = torch.from_numpy(classes[:count].copy())
    net = Net(load(model))

    def loss(rows: Rows, random: np.random.Generator) -> torch.Tensor:
        batch = augmented(maps[rows], random).float().div_(255).sub_(MEAN).div_(SPREAD)
        logits = net({INPUT: batch.contiguous(memory_format=torch.channels_last)})["logits"]
        return F.cross_entropy(logits.float(), targets[rows])

    outcome = train(net, len(maps), loss, course, say=say)
    return to_onnx(net.graph()), outcome.losses


def reporter(name: str) -> Callable[[Progress], None]:
    """Prints a line every hundred steps, and what a note says."""
    began = time.perf_counter()

    def say(progress: Progress) -> None:
        if progress.step % 100 == 0 or progress.step == progress.steps or progress.note:
            print(
                f"{name}: step {progress.step} of {progress.steps}, epoch {progress.epoch} of {progress.epochs}, "
                f"loss {progress.loss:.3f}, {time.perf_counter() - began:.0f} s {progress.note}".rstrip(),
                flush=True,
            )

    return say


def asked(description: str | None, arguments: list[str] | None) -> tuple[list[str], int]:
    """The networks and the number of threads that a command line names."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NETWORKS)}; none means all")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    return options.names or list(NETWORKS), options.threads


def main(arguments: list[str] | None = None) -> int:
    names, threads = asked(__doc__, arguments)
    for name in names:
        path = trained(name, threads=threads, say=reporter(name))
        record = json.loads(path.with_suffix(".json").read_text())
        print(f"{name}: {record['accuracy']:.2%} of 10,000 test pictures, {record['seconds']:.0f} s, {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
