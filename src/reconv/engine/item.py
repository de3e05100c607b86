"""One batch item under one compiled model: the native state, what is kept of the tail, and one step over both.

A dense item (of `Model.run`) keeps nothing between steps. A step that fails half-way leaves the next one dense.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from reconv import _core
from reconv.engine.compiled import Compiled
from reconv.engine.tail import TailMemory, TailStep, same_bits
from reconv.engine.tolerance import Profile
from reconv.errors import ProfileError

__all__ = ["DenseItems", "Item", "ItemStep"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class ItemStep:
    """What one step of one item gave and cost."""

    outputs: dict[str, Any]
    changed: frozenset[str]
    macs: int
    dense: bool


class Item:
    """State of one item. Not for several threads at once."""

    def __init__(
        self,
        compiled: Compiled,
        *,
        dense_only: bool = False,
        tolerance: float = 0.0,
        profile: Profile | None = None,
        may_keep: Callable[[int], bool] | None = None,
    ) -> None:
        """`may_keep`: asked before so many bytes of the tail's values are kept, which are not known before."""
        if dense_only:
            compiled.check_memory()
        self.compiled = compiled
        self.state = (
            _core.State(compiled.lowered.plan, compiled.threads, dense_only, tolerance) if compiled.runs_plan else None
        )
        self._memory = TailMemory(compiled.tail, may_keep) if compiled.tail and not dense_only else None
        self._passed: dict[str, Array] = {}
        self._started = False
        self._dense_only = dense_only
        self._profile = profile or Profile()
        for name in self._profile.maps:
            if name not in compiled.cut_maps:
                raise ProfileError(f"the profile speaks of a map {name!r}, which is not cut off in this model")

    @property
    def bytes(self) -> int:
        """Bytes held: the native state, outputs that are inputs, and what is kept of the tail."""
        passed = sum(array.nbytes for array in self._passed.values())
        return (self.state.bytes if self.state else 0) + passed + (self._memory.bytes if self._memory else 0)

    def reset(self) -> None:
        """Forget: the next step is dense."""
        if self.state is not None:
            self.state.reset()
        if self._memory is not None:
            self._memory.forget()
        self._passed = {}
        self._started = False

    def step(self, feeds: Mapping[str, Array]) -> ItemStep:
        """One step on the model's inputs for this item; the outputs are the caller's own arrays, in the model's order.

        Raises:
            TailError: the tail failed. After any error the next step is dense.
        """
        try:
            return self._step(feeds)
        except BaseException:  # an interrupt too leaves the state half-way
            self.reset()
            raise

    def _step(self, feeds: Mapping[str, Array]) -> ItemStep:
        compiled, state = self.compiled, self.state
        found: dict[str, Any] = {}
        changed: set[str] = set() if self._started else set(compiled.constants)
        macs, dense = 0, not self._started
        if state is not None:
            arrays = {border.name: np.empty(border.shape, np.float32) for border in compiled.lowered.outputs}
            found.update(arrays)
            frame = [_plain(feeds[border.name]) for border in compiled.lowered.inputs]
            state.step(frame, list(arrays.values()) if self._dense_only else [])
            for border in compiled.lowered.outputs:
                if not self._dense_only:
                    state.read(border.index, arrays[border.name])
                if self._dense_only or state.changed(border.index):
                    changed.add(border.name)
            macs, dense = state.recomputed_macs, state.was_dense
            if dense and not self._dense_only and state.tolerance > 0:
                self._weigh(state)
        if compiled.tail is not None:
            tail_feeds = {name: found[name] if name in found else feeds[name] for name in compiled.tail.inputs}
            if self._memory is None:
                run = TailStep(compiled.tail.run(tail_feeds), compiled.tail.outputs, True)
            else:
                direct = [name for name in compiled.tail.inputs if name not in found]
                moved = any(name in changed for name in compiled.tail.inputs)
                run = self._memory.step(tail_feeds, direct, moved)
            found.update(run.outputs)
            changed.update(run.changed)
            macs += compiled.tail.macs if run.ran else 0
            dense = dense or (state is None and run.ran)
        for name in compiled.passed:
            found[name] = np.array(feeds[name])
            if name not in self._passed or not same_bits(found[name], self._passed[name]):
                changed.add(name)
        if not self._dense_only:
            self._passed = {name: np.array(found[name]) for name in compiled.passed}
        self._started = True
        found.update((name, np.array(value)) for name, value in compiled.constants.items())
        names = [info.name for info in compiled.graph.outputs]
        return ItemStep({name: found[name] for name in names}, frozenset(changed.intersection(names)), macs, dense)

    def _weigh(self, state: _core.State) -> None:
        """Hand the profile's weights to the state, whose deviations have just been measured."""
        for name, entry in self._profile.maps.items():
            x = self.compiled.cut_maps[name]
            step = np.float32(self.compiled.lowered.scales.get(x, 1.0))  # the core measures codes in codes
            measured = state.deviation(x) * step if entry.wants_measured else None
            if measured is not None and not (np.isfinite(measured).all() and (measured > 0).all()):
                continue  # a blank frame: the engine runs dense until it has measured
            weights = entry.cutoff_weights(measured) * step**2
            try:
                state.set_weights(x, weights)
            except ValueError as error:
                raise ProfileError(f"profile, map {name!r}, {weights.size} channels: {error}") from error


class DenseItems:
    """Dense items of one compiled model, one per thread that runs it right now; a few are kept for the next."""

    def __init__(self, compiled: Compiled) -> None:
        self.compiled = compiled
        self._idle: list[Item] = []
        self._lock = threading.Lock()

    def run(self, items: Sequence[Mapping[str, Array]]) -> list[dict[str, Any]]:
        """A dense run of each of these items: its outputs."""
        with self.borrow() as item:
            return [item.step(feeds).outputs for feeds in items]

    @contextmanager
    def borrow(self) -> Iterator[Item]:
        """A dense item that nobody else uses meanwhile."""
        with self._lock:
            item = self._idle.pop() if self._idle else None
        item = item or Item(self.compiled, dense_only=True)
        yield item  # after an error it is simply not kept
        with self._lock:
            if len(self._idle) < self.compiled.threads.count:
                self._idle.append(item)


def _plain(array: Array) -> Any:
    """As the core takes it: float32 and contiguous."""
    return np.ascontiguousarray(array, np.float32)
