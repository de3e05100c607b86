"""A stream: frames go in one after the other, and each step recomputes only what changed since the last.

    stream = model.stream(tolerance=0.1)
    for x in frames:
        outputs = stream({"images": x})

At tolerance 0 the outputs are, bit for bit, those of ``model.run``. The sizes are those of the first frame; a frame
of another size, or another number of batch items, starts anew. Every batch item has a state of its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reconv.engine.batch import join, split
from reconv.engine.inputs import Inputs
from reconv.engine.item import DenseItems, Item
from reconv.engine.overlay import recomputed_map, stale_pixels
from reconv.engine.tolerance import Profile, check_tolerance
from reconv.errors import ClosedError, InputError

if TYPE_CHECKING:
    from reconv.engine.model import Model, Work

__all__ = ["Step", "Stream"]


@dataclass(frozen=True)
class Step:
    """What one step of a stream cost.

    ``recomputed``: share of the multiply-adds of a dense run that were spent, 0..1, the tail included.
    ``seconds``: wall time of the call. ``dense``: nothing of an earlier frame was used.
    ``changed``: names of the outputs that are not the same as last time. Of a dense step, all that the engine computes:
    there is nothing to compare them with. Those of the tail are compared with their last values where there are any.
    """

    recomputed: float = 0.0
    seconds: float = 0.0
    dense: bool = False
    changed: tuple[str, ...] = ()


class Stream:
    """Made by `Model.stream`. A call from a second thread waits for the first."""

    def __init__(
        self,
        model: Model,
        tolerance: float,
        profile: Profile | None,
        may_keep: Callable[[int, int], bool] | None = None,
    ) -> None:
        """`may_keep`: asked with the number of a batch item before so many bytes of its tail's values are kept."""
        self._model = model
        self._may_keep = may_keep
        self._tolerance = check_tolerance(tolerance)
        self._profile = profile
        self._items: list[Item] = []
        self._held: DenseItems | None = None
        self._last = Step()
        self._closed = False
        self._lock = threading.Lock()

    def __call__(self, inputs: Inputs) -> dict[str, Any]:
        """One frame: output name -> array. The arrays are the caller's.

        Args:
            inputs: name -> array, or one array when the model has one input, as for `Model.run`.

        Raises:
            InputError: an input does not fit the model; the stream is as before.
            TailError: ONNX Runtime failed; the next step is dense.
            ClosedError: the stream was closed.
        """
        with self._lock:
            self._check_open()
            start = time.perf_counter()
            return self._advance(self._model.prepare(inputs, self._held), start)

    def advance(self, work: Work) -> dict[str, Any]:
        """As a call, with inputs that were prepared. For `reconv.reuse`."""
        with self._lock:
            self._check_open()
            return self._advance(work, time.perf_counter())

    def another(self, may_keep: Callable[[int, int], bool]) -> Stream:
        """A new stream of the same model, tolerance and profile. For `reconv.reuse`."""
        return Stream(self._model, self._tolerance, self._profile, may_keep)

    def _advance(self, work: Work, start: float) -> dict[str, Any]:
        if self._held is not work.dense or len(self._items) != work.items:
            self._items, self._held = [], None  # let go of the old states before there are new ones
            self._items = [
                Item(
                    work.compiled,
                    tolerance=self._tolerance,
                    profile=self._profile,
                    may_keep=None if self._may_keep is None else partial(self._may_keep, index),
                )
                for index in range(work.items)
            ]
            self._held = work.dense
        try:
            pairs = zip(self._items, split(work.arrays, work.items), strict=True)
            steps = [item.step(feeds) for item, feeds in pairs]
            outputs = join([step.outputs for step in steps])
        except BaseException:  # some items may have stepped and others not
            for item in self._items:
                item.reset()
            raise
        total = work.compiled.macs * work.items
        spent = sum(step.macs for step in steps)
        changed = frozenset[str]().union(*(step.changed for step in steps))
        self._last = Step(
            recomputed=spent / total if total else float(bool(changed)),
            seconds=time.perf_counter() - start,
            dense=all(step.dense for step in steps),
            changed=tuple(name for name in outputs if name in changed),
        )
        return outputs

    @property
    def last(self) -> Step:
        """What the last step cost; zeros before the first."""
        return self._last

    @property
    def tolerance(self) -> float:
        """In standard deviations of the channels; 0 is exact. Can be set between steps."""
        return self._tolerance

    @tolerance.setter
    def tolerance(self, value: float) -> None:
        value = check_tolerance(value)
        with self._lock:
            for item in self._items:
                if item.state is not None:
                    item.state.tolerance = value
                if value < self._tolerance or value > self._tolerance == 0:
                    item.reset()  # stored pixels may be further off than this, or no deviations were measured yet
            self._tolerance = value

    @property
    def cut_maps(self) -> dict[str, tuple[int, int, int]]:
        """Maps that a profile may speak of, in execution order: name -> (H, W, C). Empty before the first frame."""
        return self._items[0].compiled.cut_sizes if self._items else {}

    @property
    def state_bytes(self) -> int:
        """Bytes that the stream holds, all items and the tail's last outputs included; 0 before the first frame."""
        return sum(item.bytes for item in self._items)

    def reset(self) -> None:
        """Forget all frames: the next step is dense and measures the deviations again."""
        with self._lock:
            self._check_open()
            for item in self._items:
                item.reset()

    def close(self) -> None:
        """Free the states. Closing twice is fine; calling the stream afterwards is an error."""
        with self._lock:
            self._closed = True
            self._items, self._held = [], None

    def stale_pixels(self, name: str | None = None, item: int = 0) -> NDArray[np.bool_]:
        """Which pixels of an input moved in the last step: (H, W).

        Args:
            name: the input; may be left out when the engine reads one.
            item: of the batch.

        Raises:
            InputError: before the first step, or the engine does not read that input as an image.
        """
        with self._lock:
            return stale_pixels(self._item(item), name)

    def recomputed_map(self, shape: tuple[int, int], item: int = 0) -> NDArray[np.float32]:
        """Where the last step worked: for each pixel of an image of ``shape`` (H, W), the share 0..1 of the network's
        multiply-adds above it that were spent again. The tail is not in it.

        Raises:
            InputError: before the first step.
        """
        with self._lock:
            return recomputed_map(self._item(item), shape)

    def _item(self, index: int) -> Item:
        self._check_open()
        if not self._items:
            raise InputError("the stream has not had a frame yet")
        if not 0 <= index < len(self._items):
            raise InputError(f"no batch item {index}: the last frame had {len(self._items)}")
        return self._items[index]

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("the stream is closed; make another one with model.stream()")

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
