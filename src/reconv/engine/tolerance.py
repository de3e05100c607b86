"""Tolerance profiles: how far each map of a model may be from the truth before it is computed anew.

A recomputed pixel is cut off where sqrt(sum_c w_c (new_c - stored_c)^2) <= tolerance. By default
w_c = 1 / (C sigma_c^2) with the deviations sigma_c of the first dense frame. A profile may bring, for each map, by the
name of the value in the model:

- ``deviation``: sigma_c, measured beforehand, instead of the first frame's;
- ``weights``: w_c themselves;
- ``factor``: a factor on the tolerance of this map, so that w_c is divided by its square.

As a file it is JSON: ``{"format": "reconv profile 1", "model": DIGEST, "tolerance": 0.1, "maps": {"name":
{"factor": 0.5}}}``. Everything but the format may be left out. ``"refresh_every": 64`` makes every 64th step dense,
where a stream is not told otherwise; ``"tuned"`` says what the profile was chosen for and what it gave, and nothing
depends on it: `Model.tune` writes both.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reconv.engine.document import read_document
from reconv.errors import ProfileError

__all__ = ["FORMAT", "MapProfile", "Profile", "check_tolerance", "read_profile"]

FORMAT = "reconv profile 1"
LARGEST = float(np.finfo(np.float32).max)  # the core computes in float32
Floats = NDArray[np.float32]


def check_tolerance(value: float) -> float:
    """The tolerance as a float.

    Raises:
        ProfileError: not a number from 0 up.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, np.floating, np.integer)):
        raise ProfileError(f"tolerance is {value!r}, expected a number from 0 (exact) up; 0.1 is a good start")
    if not 0 <= value <= LARGEST:
        raise ProfileError(f"tolerance is {value}, expected a number from 0 (exact) up; 0.1 is a good start")
    return float(value)


@dataclass(frozen=True)
class MapProfile:
    """What a profile says of one map; ``deviation`` and ``weights`` have one number per channel."""

    factor: float = 1.0
    deviation: tuple[float, ...] | None = None
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not (isfinite(self.factor) and self.factor > 0):
            raise ProfileError(f"factor is {self.factor}, expected a number above 0")
        if self.deviation is not None and not all(isfinite(v) and v > 0 for v in self.deviation):
            raise ProfileError("a deviation is not a number above 0")
        if self.weights is not None and not all(isfinite(v) and v >= 0 for v in self.weights):
            raise ProfileError("a weight is not a number from 0 up")

    @property
    def wants_measured(self) -> bool:
        """Whether the weights need the deviations that the engine measures on its first frame."""
        return self.weights is None and self.deviation is None

    def cutoff_weights(self, measured: Floats | None) -> Floats:
        """The weights w_c (C,), given the deviations (C,) that the engine measured where they are needed."""
        if self.weights is not None:
            base = np.asarray(self.weights, np.float64)
        else:
            deviation = np.asarray(measured if self.deviation is None else self.deviation, np.float64)
            base = 1 / (deviation.size * np.square(deviation))
        return (base / self.factor**2).astype(np.float32)


@dataclass(frozen=True)
class Profile:
    """A tolerance and what differs from the default in some maps. ``model`` is the digest it was made for, or "";
    ``refresh_every``: every so many steps one is dense, or None; ``tuned`` says what the profile was chosen for and
    what it gave there, as JSON can (see `reconv.engine.tuning`)."""

    tolerance: float = 0.0
    maps: Mapping[str, MapProfile] = field(default_factory=dict)
    model: str = ""
    refresh_every: int | None = None
    tuned: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tolerance", check_tolerance(self.tolerance))
        every = self.refresh_every
        if every is not None and (not isinstance(every, int) or isinstance(every, bool) or every < 1):
            raise ProfileError(f"refresh_every is {every!r}, expected a number of steps from 1 up, or None")

    def to_json(self) -> dict[str, Any]:
        """The content of a profile file."""
        maps = {}
        for name, entry in self.maps.items():
            lists = {"deviation": entry.deviation, "weights": entry.weights}
            maps[name] = {"factor": entry.factor} | {k: list(v) for k, v in lists.items() if v is not None}
        told: dict[str, Any] = {} if self.refresh_every is None else {"refresh_every": self.refresh_every}
        told |= {"tuned": dict(self.tuned)} if self.tuned else {}
        return {"format": FORMAT, "model": self.model, "tolerance": self.tolerance, "maps": maps, **told}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a profile file."""
        Path(path).write_text(json.dumps(self.to_json(), indent=1) + "\n", encoding="utf-8")


def read_profile(source: Profile | Mapping[str, Any] | str | os.PathLike[str]) -> Profile:
    """A profile from a file or from what the file's JSON holds; a `Profile` is returned as it is.

    Raises:
        ProfileError: no such file, not JSON, another format, or an entry that does not make sense.
    """
    if isinstance(source, Profile):
        return source
    where, source = read_document(source, "profile", "a tolerance profile", FORMAT)
    unknown = source.keys() - {"format", "model", "tolerance", "maps", "refresh_every", "tuned"}
    if unknown:
        raise ProfileError(f"{where} has unknown entries: {', '.join(sorted(unknown))}")
    maps, tuned = source.get("maps", {}), source.get("tuned", {})
    for key, value in (("maps", maps), ("tuned", tuned)):
        if not isinstance(value, Mapping):
            raise ProfileError(f'{where}: "{key}" is not an object')
    entries = {name: _entry(entry, f"{where}, map {name!r}") for name, entry in maps.items()}
    every = source.get("refresh_every")
    return Profile(source.get("tolerance", 0.0), entries, str(source.get("model", "")), every, dict(tuned))


def _entry(entry: Any, where: str) -> MapProfile:
    try:
        lists = {k: tuple(float(v) for v in entry[k]) for k in ("deviation", "weights") if entry.get(k) is not None}
        unknown = entry.keys() - {"factor", "deviation", "weights"}
        if unknown:
            raise ProfileError(f"unknown entries: {', '.join(sorted(unknown))}")
        return MapProfile(factor=float(entry.get("factor", 1.0)), **lists)
    except (AttributeError, TypeError, ValueError) as error:
        raise ProfileError(f"{where}: {error}") from error
