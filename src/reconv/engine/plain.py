"""Plain steps of a stream on whichever is faster for this model and size: the engine's dense run or ONNX Runtime's.

Measured once per model and size, on the frame of the first plain step: both run in turns, and ONNX Runtime is taken
when its fastest run beats ours by `MARGIN`. Its session holds the weights a second time. What it gives differs from our
dense run by the order of summation, so only streams with a tolerance may use it, and only when they ask to.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

from reconv.engine.compiled import Compiled
from reconv.engine.pixels import Feed, in_floats
from reconv.engine.tail import Tail
from reconv.errors import ProfileError, ReconvError

__all__ = ["DENSE_CHOICES", "DenseChoice", "FasterDense", "check_dense"]

DenseChoice: TypeAlias = Literal["reconv", "measured"]
DENSE_CHOICES: tuple[DenseChoice, ...] = ("reconv", "measured")
DenseRun: TypeAlias = Callable[[Mapping[str, Feed]], dict[str, Any]]

TURNS = 4  # of each; the first warms up
MARGIN = 0.95  # of our time: a smaller difference is not worth a second set of weights


def check_dense(choice: str) -> DenseChoice:
    """Raises ProfileError when it is none of `DENSE_CHOICES`."""
    for known in DENSE_CHOICES:
        if choice == known:
            return known
    raise ProfileError(f"dense is {choice!r}, expected one of {', '.join(DENSE_CHOICES)}")


class FasterDense:
    """What runs dense faster, for one model at one size. Shared by its streams, also from several threads at once."""

    def __init__(self, compiled: Compiled, clock: Callable[[], float] = time.perf_counter) -> None:
        """`clock` gives seconds."""
        self._compiled = compiled
        self._clock = clock
        self._lock = threading.Lock()
        self._measured = False
        self._theirs: DenseRun | None = None

    @property
    def runtime(self) -> str | None:
        """ "reconv" or "onnxruntime"; None before it was measured."""
        return None if not self._measured else "reconv" if self._theirs is None else "onnxruntime"

    def run(self, ours: DenseRun, feeds: Mapping[str, Feed]) -> dict[str, Any]:
        """A dense run of an item: its outputs. `ours`: the engine's.

        Raises:
            TailError: ONNX Runtime failed.
        """
        with self._lock:
            if not self._measured:
                self._theirs = self._if_faster(ours, feeds)
                self._measured = True
        return (self._theirs or ours)(feeds)

    def _if_faster(self, ours: DenseRun, feeds: Mapping[str, Feed]) -> DenseRun | None:
        """ONNX Runtime's run, where it can run the model and is the faster one on such feeds."""
        compiled = self._compiled
        if compiled.passed or compiled.constants:  # outputs that nothing computes
            return None
        outputs = [info.name for info in compiled.graph.outputs]
        whole = Tail(compiled.graph, outputs, compiled.shapes, {}, compiled.threads.count)

        def theirs(feeds: Mapping[str, Feed]) -> dict[str, Any]:
            return whole.run({name: in_floats(feeds[name]) for name in whole.inputs})

        times: dict[DenseRun, list[float]] = {ours: [], theirs: []}
        try:
            for _ in range(TURNS):
                for run, taken in times.items():
                    start = self._clock()
                    run(feeds)
                    taken.append(self._clock() - start)
        except ReconvError:
            return None  # of ours it is told where it runs for good
        return theirs if min(times[theirs][1:]) < MARGIN * min(times[ours][1:]) else None
