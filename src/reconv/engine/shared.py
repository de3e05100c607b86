"""Outputs that are shared: two arrays for each, of which a step brings one up to date instead of filling a new one.

What was given last is usually still held while the next step runs, what was given before it no longer. An array that
nobody but this module holds is taken again, and only the pixels that moved since it was current are written; one that
somebody holds, or a part of it, stays as it is for good, and a new one takes its place. Who holds it is told by the
interpreter's count of references, as numpy does for its temporaries; where there is none to trust (an interpreter
without the global lock, or not CPython), every array that changed is a new one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from reconv import _core
from reconv.engine.lower import Border

__all__ = ["SharedOutputs"]

Array = np.ndarray[Any, Any]


def _counter() -> Callable[[list[Any], int], int] | None:
    if sys.implementation.name != "cpython" or not getattr(sys, "_is_gil_enabled", lambda: True)():
        return None

    def references(holder: list[Any], index: int) -> int:
        return sys.getrefcount(holder[index])

    return references


_references = _counter()
_ALONE = 0 if _references is None else _references([np.empty(0)], 0)  # of an array that a list alone holds


class SharedOutputs:
    """The arrays of one state's outputs.

    Args:
        state: of a stream.
        borders: its outputs.
    """

    def __init__(self, state: _core.State, borders: Sequence[Border]) -> None:
        self._state, self._borders = state, borders
        self._arrays: list[list[Array | None]] = [[None, None] for _ in borders]
        self._current = [1] * len(borders)

    def targets(self) -> tuple[list[Array], list[int]]:
        """Arrays for the next step to write to, and their slots."""
        slots = [1 - current for current in self._current]
        return [self._target(border, slot) for border, slot in zip(self._borders, slots, strict=True)], slots

    def _target(self, border: Border, slot: int) -> Array:
        holder = self._arrays[border.index]
        if not _is_alone(holder, slot):
            holder[slot] = np.empty(border.shape, np.float32)
            self._state.renew(border.index, slot)
        array = holder[slot]
        assert array is not None
        array.flags.writeable = True
        return array

    def take(self, index: int) -> None:
        """The last target of this output was written to: it is what is given now."""
        self._current[index] = 1 - self._current[index]

    def forget(self) -> None:
        """Nothing is known of any array any more."""
        self._arrays = [[None, None] for _ in self._borders]

    def kept(self) -> Iterator[Array]:
        """All arrays that are held."""
        for holder in self._arrays:
            yield from (array for array in holder if array is not None)


def _is_alone(holder: list[Array | None], slot: int) -> bool:
    """Whether there is an array, and nobody else holds it or a view of it."""
    return holder[slot] is not None and _references is not None and _references(holder, slot) == _ALONE
