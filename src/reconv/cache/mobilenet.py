"""Sizes and costs of the maps of MobileNetV2, for workloads that are made up.

The network is that of table 2 in Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018, at an
input of 224 x 224 and a width of 1; maps are float32. At another area of the input the maps of all blocks grow with it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from reconv.cache.trace import Floats, Integers

__all__ = ["BLOCKS", "Block", "cost_seconds", "map_bytes", "some_maps", "state_bytes"]

# expansion, channels out, repeats, stride of the first
TABLE = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
SPEED = 50e9  # multiply-adds per second: about what reconv reaches on one core with AVX-512
FLOAT_BYTES = 4


class Block(NamedTuple):
    """One block at 224 x 224: multiply-adds, bytes of its result, bytes of all maps that it stores."""

    multiply_adds: int
    map_bytes: int
    stored_bytes: int


def _blocks() -> tuple[Block, ...]:
    side, channels = 112, 32
    pixels = side * side
    found = [Block(pixels * channels * 27, FLOAT_BYTES * pixels * channels, FLOAT_BYTES * pixels * channels)]
    for expansion, out, repeats, first_stride in TABLE:
        for repeat in range(repeats):
            stride = first_stride if repeat == 0 else 1
            wide, before = expansion * channels, side * side
            side //= stride
            after = side * side
            work = (before * channels * wide if expansion > 1 else 0) + after * wide * (9 + out)
            stored = (before * wide if expansion > 1 else 0) + after * (wide + out)
            found.append(Block(work, FLOAT_BYTES * after * out, FLOAT_BYTES * stored))
            channels = out
    last = side * side * 1280
    found.append(Block(last * channels, FLOAT_BYTES * last, FLOAT_BYTES * last))
    return tuple(found)


BLOCKS = _blocks()
_WORK = np.cumsum([block.multiply_adds for block in BLOCKS])
_MAPS = np.array([block.map_bytes for block in BLOCKS], np.float64)
_STORED = sum(block.stored_bytes for block in BLOCKS)


def map_bytes(block: ArrayLike, area: ArrayLike) -> Integers:
    """Bytes of the map behind a block, at `area` times the pixels of 224 x 224."""
    return np.asarray(_MAPS[np.asarray(block)] * np.asarray(area)).astype(np.int64)


def cost_seconds(block: ArrayLike, area: ArrayLike) -> Floats:
    """Seconds from the picture to the map behind a block."""
    return np.asarray(_WORK[np.asarray(block)] * np.asarray(area, np.float64) / SPEED)


def state_bytes(area: ArrayLike) -> Integers:
    """Bytes of all maps that a stream keeps."""
    return np.asarray(np.asarray(area) * _STORED).astype(np.int64)


def some_maps(random: np.random.Generator, count: int) -> tuple[Integers, Floats]:
    """Bytes and seconds of `count` maps: somewhere behind the first three blocks, at half to twice the area."""
    block = random.integers(3, len(BLOCKS), count)
    area = 2.0 ** random.uniform(-1, 1, count)
    return map_bytes(block, area), cost_seconds(block, area)
