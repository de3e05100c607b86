"""The user's limits, and the evidence for each: what was measured, and whether that keeps it or how close it came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from math import isfinite
from typing import Any

from reconv.errors import InputError

__all__ = ["Evidence", "Figures", "Limits", "evidence", "excess"]


@dataclass(frozen=True)
class Limits:
    """What the result has to keep; None: no such limit.

    max_degradation: how far the metric may fall below the untouched model's, in its own unit: 0.01 is one point of a
    share (of top-1, of an F1). max_size_bytes: of the ONNX file. max_latency_ms: median of one run on the target.
    max_memory_bytes: by which a process grows at the most while the target opens the model and runs it.

    Raises:
        InputError: a limit is not a number from 0 up, or none is given.
    """

    max_degradation: float | None = None
    max_size_bytes: float | None = None
    max_latency_ms: float | None = None
    max_memory_bytes: float | None = None

    def __post_init__(self) -> None:
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, value in given.items():
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if value is not None and not (number and isfinite(value) and value >= 0):
                raise InputError(f"{name} is {value!r}, expected a number from 0 up, or None")
        if all(value is None for value in given.values()):
            raise InputError("no limit is given: say at least how far the metric may fall (max_degradation=0.01)")

    def to_json(self) -> dict[str, float | None]:
        """Plain values for ``json.dumps``."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True)
class Figures:
    """What was measured of one model. loss: against the untouched model, in the metric's unit; memory: None where
    nobody asked."""

    loss: float
    size_bytes: int
    latency_ms: float
    memory_bytes: int | None = None

    def of(self, limit: str) -> float | None:
        """The figure that a limit is about."""
        return getattr(self, _FIGURE[limit])  # type: ignore[no-any-return]


_FIGURE: Mapping[str, str] = {
    "max_degradation": "loss",
    "max_size_bytes": "size_bytes",
    "max_latency_ms": "latency_ms",
    "max_memory_bytes": "memory_bytes",
}


@dataclass(frozen=True)
class Evidence:
    """One limit beside what was measured. over: by how much of the limit it is missed, 0 where it is kept (infinite
    where a limit of 0 is missed); how: what was done to know."""

    limit: str
    allowed: float
    measured: float | None
    met: bool
    over: float
    how: str

    def to_json(self) -> dict[str, Any]:
        """Plain values; None where a number is not finite."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        return {k: None if isinstance(v, float) and not isfinite(v) else v for k, v in plain.items()}


def evidence(limits: Limits, figures: Figures, how: Mapping[str, str]) -> tuple[Evidence, ...]:
    """Every limit that is given, beside the figure; what was not measured does not meet it.

    Args:
        how: limit -> what was done to know.
    """
    found = []
    for name, allowed in limits.to_json().items():
        if allowed is None:
            continue
        measured = figures.of(name)
        met = measured is not None and measured <= allowed + _SLACK
        found.append(Evidence(name, allowed, measured, met, _over(allowed, measured, met), how.get(name, "")))
    return tuple(found)


def excess(limits: Limits, figures: Figures, leave: Sequence[str] = ()) -> float:
    """How far limits are missed, all together; 0 where all are kept. ``leave``: limits that do not count."""
    return sum(each.over for each in evidence(limits, figures, {}) if each.limit not in leave)


_SLACK = 1e-9  # a share of 0.99 taken from 1.0 is not 0.01 in binary


def _over(allowed: float, measured: float | None, met: bool) -> float:
    if met:
        return 0.0
    if measured is None or not isfinite(measured) or allowed == 0:
        return float("inf")
    return measured / allowed - 1
