"""What a peer is: another way to run the same model on the same frames.

A peer imports its library when it is opened and not before, so that a missing one is a reason in a table. It is opened
once, for one model at fixed input shapes, in its best configuration for the lowest latency of one frame.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy.typing as npt

from reconv.engine.tolerance import Profile

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]


@dataclass(frozen=True)
class Job:
    """What a peer is opened for. `model` is a path, `shapes` are those of the inputs; the rest is for streams."""

    model: str
    shapes: Mapping[str, tuple[int, ...]]
    threads: int
    tolerance: float = 0.0
    profile: Profile | None = None


class Runner(Protocol):
    """An opened peer. `recomputed` is the share of a dense run's multiply-adds that the last call spent."""

    recomputed: float

    def __call__(self, inputs: Arrays) -> dict[str, Array]:
        """One frame: input name -> array, in the model's own layout; gives output name -> array."""
        ...

    def facts(self) -> dict[str, str | int]:
        """What a reader of the table has to know: the precision really used, bytes of state."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Peer:
    """A line of the table PEERS.

    dense: computes every frame in full, so that it may stand as the peer that reuse is compared with.
    rival: not ours; the best of these is what a ratio is quoted against.
    """

    title: str
    open: Callable[[Job], Runner]
    library: str
    dense: bool
    rival: bool
    extra: str = field(default="")

    def missing(self) -> str:
        """Why the peer cannot be opened here; "" when it can."""
        if importlib.util.find_spec(self.library) is not None:
            return ""
        install = f"pip install 'reconv[{self.extra}]'" if self.extra else f"pip install {self.library}"
        return f"{self.title} is not installed ({install})"
