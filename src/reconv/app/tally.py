"""What a run saved and what it cost: steps counted as they come, and some frames also run dense to compare with."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reconv.engine.model import Model
from reconv.engine.stream import Step
from reconv.recipes import Recipe

__all__ = ["Tally", "compare_every"]

FEWEST, MOST = 5, 200  # comparisons in a run, where its length allows


def compare_every(share: float, count: int | None) -> int:
    """Compare every n-th frame: `share` of them, but at least `FEWEST` of a short clip. 0 is never."""
    if share <= 0:
        return 0
    every = max(1, round(1 / share))
    return every if count is None else max(1, min(every, (count - 1) // FEWEST))


class Tally:
    """Numbers of one run. The first step is dense by nature and counted apart."""

    def __init__(self, model: Model, recipe: Recipe, every: int) -> None:
        self._model, self._recipe, self._every = model, recipe, every
        self._first: Step | None = None
        self._seconds: list[float] = []
        self._recomputed: list[float] = []
        self._dense_seconds: list[float] = []
        self._pairs: list[tuple[Any, Any]] = []
        self._unequal = 0

    @property
    def frames(self) -> int:
        return len(self._seconds) + (self._first is not None)

    def add(self, step: Step) -> None:
        if self._first is None:
            self._first = step
        else:
            self._seconds.append(step.seconds)
            self._recomputed.append(step.recomputed)

    def compare(self, inputs: Any, outputs: Mapping[str, NDArray[Any]], result: Any, recipe: Recipe) -> None:
        """Runs the frame that was just added dense as well, if it is one of those to compare; `recipe` is for frames of
        its size."""
        steps = len(self._seconds)
        if not self._every or not steps or steps % self._every or len(self._pairs) >= MOST:
            return
        start = time.perf_counter()
        dense = self._model.run(inputs, pixels=recipe.pixels if recipe.takes_bytes else None)
        self._dense_seconds.append(time.perf_counter() - start)
        self._unequal += any(not _same(outputs[name], dense[name]) for name in dense)
        self._pairs.append((recipe.brief(result), recipe.decode_brief(dense)))

    def summary(self, state_bytes: int) -> dict[str, Any]:
        """Everything as JSON can say it; None for what was not measured."""
        dense = statistics.median(self._dense_seconds) if self._dense_seconds else None
        step = statistics.median(self._seconds) if self._seconds else None
        ours, full = [list(side) for side in zip(*self._pairs, strict=True)] or [[], []]
        return {
            "frames": self.frames,
            "step_ms": _ms(step),
            "step_ms_p95": _ms(float(np.percentile(self._seconds, 95)) if self._seconds else None),
            "first_step_ms": _ms(self._first.seconds if self._first else None),
            "dense_ms": _ms(dense),
            "speedup": round(dense / step, 3) if dense and step else None,
            "recomputed": round(statistics.fmean(self._recomputed), 6) if self._recomputed else None,
            "state_bytes": state_bytes,
            "compared_frames": len(self._pairs),
            "bit_identical_frames": len(self._pairs) - self._unequal,
            "agreement": {k: round(v, 6) for k, v in self._recipe.agreement(ours, full).items()} if ours else None,
        }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(1e3 * seconds, 4)


def _same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Bit for bit, not-a-numbers included."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
