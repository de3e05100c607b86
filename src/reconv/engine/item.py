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
from numpy.typing import NDArray

from reconv import _core
from reconv.engine.compiled import Compiled
from reconv.engine.lower import Border
from reconv.engine.pixels import Feed, Picture, PixelArithmetic, in_floats
from reconv.engine.plain import FasterDense
from reconv.engine.room import check_room, no_room, room
from reconv.engine.shared import SharedOutputs
from reconv.engine.tail import TailMemory, TailStep, for_reading, same_bits
from reconv.engine.tolerance import Profile
from reconv.errors import ProfileError
from reconv.graph import TensorInfo, is_half

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
        share_outputs: bool = False,
    ) -> None:
        """`may_keep`: asked before so many bytes of the tail's values are kept, which are not known before.
        `share_outputs`: what did not change is the array that was given last, and for reading only."""
        if dense_only:
            compiled.check_memory()
        self.compiled = compiled
        what = "a dense run" if dense_only else "a stream"
        check_room(compiled.dense_peak_bytes if dense_only else compiled.state_bytes, what)
        with room(what):
            self.state = (
                _core.State(compiled.lowered.plan, compiled.threads, dense_only, tolerance)
                if compiled.runs_plan
                else None
            )
        share = self._share_outputs = share_outputs and not dense_only
        self._memory = TailMemory(compiled.tail, may_keep, share=share) if compiled.tail and not dense_only else None
        self._passed: dict[str, Array] = {}
        self._given: dict[str, Array] = {}  # where outputs are shared: the last, and what the tail reads of the engine
        self._shared = SharedOutputs(self.state, compiled.lowered.outputs) if share and self.state is not None else None
        self.shared_constants: dict[str, Any] = {}
        if share:
            types = {info.name: info.dtype for info in compiled.graph.outputs}
            for name, value in compiled.constants.items():
                self.shared_constants[name] = for_reading(_typed(np.array(value), types[name]))
        self._told: dict[str, tuple[PixelArithmetic, bool]] = {}  # of inputs: the state's table, if it can have one
        self._started = False
        self._dense_only = dense_only
        self._profile = profile or Profile()
        for name in self._profile.maps:
            if name not in compiled.cut_maps:
                raise ProfileError(f"the profile speaks of a map {name!r}, which is not cut off in this model")

    @property
    def bytes(self) -> int:
        """Bytes held: the native state, outputs that are inputs or shared, and what is kept of the tail."""
        memory = self._memory
        # one that is kept for several reasons is there once
        kept: dict[int, int] = {id(owner): owner.nbytes for owner in map(_owner, self._kept())}
        for value in () if memory is None else memory.outputs.values():
            kept.pop(id(_owner(value)), None)  # the memory counts it
        return (self.state.bytes if self.state else 0) + sum(kept.values()) + (memory.bytes if memory else 0)

    def _kept(self) -> Iterator[Array]:
        for arrays in (self._passed, self._given, self.shared_constants):
            yield from arrays.values()
        if self._shared is not None:
            yield from self._shared.kept()

    def reset(self) -> None:
        """Forget: the next step is dense."""
        if self.state is not None:
            self.state.reset()
        if self._memory is not None:
            self._memory.forget()
        if self._shared is not None:
            self._shared.forget()
        self._passed, self._given = {}, {}
        self._started = False

    def step(self, feeds: Mapping[str, Feed]) -> ItemStep:
        """One step on the model's inputs for this item; unless shared, the outputs are the caller's own arrays. They
        are in the model's order.

        Raises:
            TailError: the tail failed.
            InputError: memory ran out. After any error the next step is dense.
        """
        try:
            return self._step(feeds)
        except MemoryError as error:  # not by `room`: a context manager costs every step
            self.reset()
            raise no_room("a step", error) from error
        except BaseException:  # an interrupt too leaves the state half-way
            self.reset()
            raise

    def _step(self, feeds: Mapping[str, Feed]) -> ItemStep:
        compiled, state = self.compiled, self.state
        found: dict[str, Any] = {}
        changed: set[str] = set() if self._started else set(compiled.constants)
        macs, dense = 0, not self._started
        if state is not None:
            borders, shared = compiled.lowered.outputs, self._shared
            frame, pictures = self._feed(state, feeds)
            if shared is not None:
                arrays, slots = shared.targets()
                state.step(frame, arrays, pictures, slots)
            else:
                arrays = [np.empty(border.shape, np.float32) for border in borders]
                state.step(frame, arrays, pictures)
            for border, array in zip(borders, arrays, strict=True):
                moved = self._dense_only or state.changed(border.index)
                if moved:
                    changed.add(border.name)
                found[border.name] = array
                if shared is not None and moved:
                    shared.take(border.index)
                    self._given[border.name] = for_reading(array)
                if shared is not None:  # one that was given already is of its output's type
                    found[border.name] = self._given[border.name]
            macs, dense = state.recomputed_macs, state.was_dense
            if dense and not self._dense_only and state.tolerance > 0:
                self._weigh(state)
        if compiled.tail is not None:
            tail_feeds = {
                name: found[name] if name in found else in_floats(feeds[name]) for name in compiled.tail.inputs
            }
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
            found[name] = self._pass(name, in_floats(feeds[name]), changed)
        self._started = True
        found.update(self.shared_constants or {name: np.array(value) for name, value in compiled.constants.items()})
        outputs = {i.name: self._give(i, found[i.name]) for i in compiled.graph.outputs}
        return ItemStep(outputs, frozenset(changed.intersection(outputs)), macs, dense)

    def _pass(self, name: str, value: Array, changed: set[str]) -> Array:
        """An input that is an output."""
        if name not in self._passed or not same_bits(value, self._passed[name]):
            changed.add(name)
            if not self._dense_only:
                self._passed[name] = for_reading(np.array(value)) if self._share_outputs else np.array(value)
        return self._passed[name] if self._share_outputs else np.array(value)

    def _give(self, info: TensorInfo, value: Any) -> Any:
        """A value as the output of this name; one that is shared and was given already is that of last time."""
        value = _typed(value, info.dtype)
        if self._share_outputs and isinstance(value, np.ndarray):
            value = self._given[info.name] = for_reading(value)
        return value

    def _feed(
        self, state: _core.State, feeds: Mapping[str, Feed]
    ) -> tuple[list[Array | None], list[NDArray[np.uint8] | None]]:
        """What the core reads, per input: an array of floats, or a picture where it takes the bytes as they are."""
        arrays: list[Array | None] = []
        pictures: list[NDArray[np.uint8] | None] = []
        for border in self.compiled.lowered.inputs:
            feed = feeds[border.name]
            taken = isinstance(feed, Picture) and self._takes(state, border, feed)
            arrays.append(None if taken else _plain(in_floats(feed)))
            pictures.append(feed.bytes if taken and isinstance(feed, Picture) else None)
        return arrays, pictures

    def _takes(self, state: _core.State, border: Border, picture: Picture) -> bool:
        """Whether the core has this input in a map whose pixels are the picture's, and so its table."""
        pixels, takes = self._told.get(border.name, (None, False))
        if pixels is not picture.pixels:
            plan, size = self.compiled.lowered.plan, picture.bytes.shape
            strides = zip(plan.input_strides(border.index), picture.strides, size, strict=True)
            takes = plan.size(border.map) == size and all(own == its or n == 1 for own, its, n in strides)
            if takes:
                table, order = picture.pixels.table(size[2], picture.dtype), picture.pixels.order(size[2])
                state.set_table(border.index, table, np.array(order, np.int32))
            self._told[border.name] = picture.pixels, takes
        return takes

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
        self.faster = FasterDense(compiled)
        self._idle: list[Item] = []
        self._lock = threading.Lock()

    def run(self, items: Sequence[Mapping[str, Feed]]) -> list[dict[str, Any]]:
        """A dense run of each of these items: its outputs."""
        with self.borrow() as item:
            return [item.step(feeds).outputs for feeds in items]

    def run_one(self, feeds: Mapping[str, Feed]) -> dict[str, Any]:
        """A dense run of one item: its outputs."""
        return self.run([feeds])[0]

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


def _owner(value: Any) -> Any:
    """The array that has the memory of this one; any other value as it is."""
    base = getattr(value, "base", None)
    return base if isinstance(base, np.ndarray) else value


def _typed(value: Any, dtype: np.dtype[Any]) -> Any:
    """What the engine computed as float32 where the model declares 16-bit floats; anything else has its type."""
    if not isinstance(value, np.ndarray) or value.dtype != np.float32 or not is_half(dtype):
        return value
    with np.errstate(over="ignore"):
        return value.astype(dtype)


def _plain(array: Array) -> Any:
    """As the core takes it: float32 and contiguous."""
    return np.ascontiguousarray(array, np.float32)
