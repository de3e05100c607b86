"""Inputs that a proof draws for the border of a rewrite.

Among them are what breaks swaps that are almost right: values that are all negative, large, tiny or the same everywhere
(where only the padding differs), and single pixels, one for each channel, many of them at corners and borders.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

import numpy as np

from reconv.exchange.border import WORK, Border, Shape

__all__ = ["draws"]

Array = np.ndarray[Any, Any]

TURNS = 6  # draws of single pixels over which channels are shared out, at most


def draws(
    border: Border, shapes: Mapping[str, Shape], random: np.random.Generator, few: bool = False
) -> Iterator[tuple[str, dict[str, Array]]]:
    """What is drawn at these sizes, each with a word for it.

    ``few``: for sizes after the first. Maps that could not be shrunk get few draws, too.
    """
    kinds = {name: np.dtype(border.view.types.get(name, np.dtype(np.float32))) for name in shapes}
    words = ["normal", "negative", "large", "tiny", "positive", "constant"]
    crowd = max((_crowd(shape) for shape in shapes.values()), default=1)
    words += [f"impulses {number}" for number in range(min(max(crowd, 2), TURNS))]
    pixels = max((prod(shape[2:]) for shape in shapes.values()), default=1)
    if few or border.work * pixels > 30 * WORK:
        words = ["normal", "negative", "impulses 0"]
    for word in words if shapes else ["no"]:
        values = {}
        for name, shape in shapes.items():
            if name in border.targets:
                values[name] = border.targets[name]
            elif kinds[name].kind != "f":
                values[name] = random.integers(0, 2, shape).astype(kinds[name])
            else:
                values[name] = _drawn(word, shape, random).astype(kinds[name])
        yield word, values


def _crowd(shape: Shape) -> int:
    """How many channels would share a few pixels."""
    return -(-4 * shape[1] // max(prod(shape[2:]), 4)) if len(shape) > 1 else 1


def _drawn(word: str, shape: Shape, random: np.random.Generator) -> Array:
    normal = random.standard_normal(shape)
    if word == "negative":
        return -np.abs(normal)
    if word == "large":
        return normal * random.uniform(1e3, 1e4)
    if word == "tiny":
        return normal * 1e-4
    if word == "positive":
        return np.maximum(normal, 0)
    if word == "constant":
        channel = random.standard_normal((1, *shape[1:2], *(1,) * (len(shape) - 2)))
        return np.broadcast_to(channel, shape) if shape else normal
    if word.startswith("impulses"):
        return _impulses(shape, random, int(word.split()[1]))
    return normal


def _impulses(shape: Shape, random: np.random.Generator, number: int) -> Array:
    """One pixel for each channel, every other one of them on the border; in small maps for some of the channels."""
    if len(shape) < 2:
        return np.where(np.arange(prod(shape)) == number % max(prod(shape), 1), 3.0, 0.0).reshape(shape)
    out: Array = np.zeros((shape[0], shape[1], prod(shape[2:])))
    turns = min(max(_crowd(shape), 1), TURNS)
    at = np.indices(shape[2:]).reshape(len(shape) - 2, out.shape[2])
    last = np.array(shape[2:])[:, None] - 1
    outer = np.flatnonzero(((at == 0) | (at == last)).any(axis=0)) if len(shape) > 2 else np.zeros(1, np.int64)
    for item in range(shape[0]):
        channels = np.arange((number + item) % turns, shape[1], turns)
        rank = np.arange(channels.size)
        inside = random.permutation(out.shape[2])[rank // 2 % out.shape[2]]
        border = random.permutation(outer)[rank // 2 % outer.size]
        signs = random.choice((-1.0, 1.0), channels.size)
        out[item, channels, np.where(rank % 2, inside, border)] = signs * random.uniform(0.5, 8.0, channels.size)
    return out.reshape(shape)
