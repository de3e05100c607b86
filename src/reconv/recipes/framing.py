"""A sound as frames: overlapping windows of one length, each a hop after the one before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["window_count", "windows"]

Samples = NDArray[np.float32]


def window_count(length: int, window: int, hop: int) -> int:
    """How many windows `windows` gives of a sound of so many samples."""
    return 0 if length == 0 else 1 - (-max(0, length - window) // hop)


def windows(blocks: Iterable[Samples], window: int, hop: int) -> Iterator[Samples]:
    """Windows (window,) of the sound that the blocks (n,) make together; window k begins at sample k · hop.

    The last one reaches the sound's end and is filled with silence from there on. 1 <= hop <= window.
    """
    held: Samples = np.zeros(0, np.float32)
    covered = 0  # samples of `held` that an earlier window has shown
    for block in blocks:
        held = np.concatenate([held, block])
        start = 0
        while start + window <= len(held):
            yield held[start : start + window].copy()
            start += hop
            covered = window - hop
        held = held[start:]
    if len(held) > covered:
        yield np.concatenate([held, np.zeros(window - len(held), np.float32)])
