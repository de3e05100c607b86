"""Overlapping boxes and the best of them, as plain loops: what the recipes' results are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Found:
    """A box as x0, y0, x1, y1; `number` tells it from others."""

    score: float
    cls: int
    box: Box
    number: int = 0


def overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    both = width * height
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    return both / union if union else 0.0


def best_of(found: Sequence[Found], most: float, *, apart: bool) -> list[Found]:
    """Best first, each kept unless it overlaps one that is kept, of its class where `apart`, by more than `most`."""
    kept: list[Found] = []
    for one in sorted(found, key=lambda each: -each.score):
        if all(overlap(one.box, other.box) <= most for other in kept if not apart or other.cls == one.cls):
            kept.append(one)
    return kept
