"""Fashion-MNIST (Xiao et al., 2017): 60,000 pictures of clothes to learn from, 10,000 to judge by; 28x28, ten kinds.

The networks take pictures (batch, 1, 28, 28) with the mean and deviation of the training part taken out.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnxruntime

from scripts.assets import fetch, folder

__all__ = ["INPUT", "MEAN", "SPREAD", "accuracy", "normalized", "pictures", "samples"]

Array = npt.NDArray[Any]
Part = Literal["train", "t10k"]
INPUT = "input"
MEAN, SPREAD = 0.2860, 0.3530  # of the training pictures, of values from 0 to 1


@cache
def pictures(part: Part) -> tuple[Array, Array]:
    """Pictures uint8 (n, 28, 28) and classes int64 (n,) of a part, fetched when they are not there."""
    list(fetch(["fashion_mnist"]))
    root = folder() / "fashion_mnist"
    return _idx(root / f"{part}-images-idx3-ubyte.gz"), _idx(root / f"{part}-labels-idx1-ubyte.gz").astype(np.int64)


def _idx(path: Path) -> Array:
    """LeCun's format: a word that ends in the number of axes, big-endian sizes, bytes."""
    data = gzip.decompress(path.read_bytes())
    axes = data[3]
    shape = np.frombuffer(data, ">i4", axes, 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape)


def normalized(images: Array) -> Array:
    """What a network takes: float32 (n, 1, 28, 28)."""
    return ((images[:, None] / np.float32(255) - np.float32(MEAN)) / np.float32(SPREAD)).astype(np.float32)


def samples(part: Part, rows: Sequence[int] | Array | None = None) -> tuple[list[Mapping[str, Array]], Array]:
    """Feeds of one picture each, and their classes; of these rows, or of all."""
    images, classes = pictures(part)
    chosen = np.arange(len(images)) if rows is None else np.asarray(rows)
    maps = normalized(images[chosen])
    return [{INPUT: maps[i : i + 1]} for i in range(len(maps))], classes[chosen]


def accuracy(model: str | Path | bytes, *, part: Part = "t10k", threads: int = 2, batch: int = 250) -> float:
    """Share of a part's pictures whose class a model tells rightly, in ONNX Runtime; of all 10,000 unless said else."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"]
    )
    images, classes = pictures(part)
    right = 0
    for begin in range(0, len(images), batch):
        maps = normalized(images[begin : begin + batch])
        (logits,) = session.run(None, {session.get_inputs()[0].name: maps})
        right += int((np.asarray(logits).argmax(-1) == classes[begin : begin + batch]).sum())
    return right / len(images)
