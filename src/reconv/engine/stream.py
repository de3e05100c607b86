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

from reconv.engine.audit import Audit, Auditor
from reconv.engine.batch import join, split
from reconv.engine.habits import Habits
from reconv.engine.inputs import Form, Inputs
from reconv.engine.item import DenseItems, ItemStep
from reconv.engine.overlay import recomputed_map, stale_pixels
from reconv.engine.paced import PacedItem
from reconv.engine.pixels import Feed, PixelArithmetic
from reconv.engine.relative_error import relative_error
from reconv.engine.tail import for_reading
from reconv.engine.tolerance import Profile, check_tolerance
from reconv.errors import ClosedError, InputError

if TYPE_CHECKING:
    from reconv.engine.model import Model, Work

__all__ = ["Step", "Stream"]


@dataclass(frozen=True)
class Step:
    """What one step of a stream cost.

    ``recomputed``: share of the multiply-adds of a dense run that were spent, 0..1, the tail included; of an audited
    step 1 more. ``seconds``: wall time of the call. ``dense``: nothing of an earlier frame was used.
    ``changed``: names of the outputs that are not the same as last time. Of a dense step, all that the engine computes:
    there is nothing to compare them with. Those of the tail are compared with their last values where there are any.
    ``audited``: the frame was run both ways, and the outputs are those of the dense run.
    """

    recomputed: float = 0.0
    seconds: float = 0.0
    dense: bool = False
    changed: tuple[str, ...] = ()
    audited: bool = False


class Stream:
    """Made by `Model.stream`. A call from a second thread waits for the first."""

    def __init__(
        self,
        model: Model,
        tolerance: float,
        profile: Profile | None,
        may_keep: Callable[[int, int], bool] | None = None,
        *,
        pixels: PixelArithmetic | None = None,
        habits: Habits | None = None,
    ) -> None:
        """`may_keep`: asked with the number of a batch item before so many bytes of its tail's values are kept."""
        self._model = model
        self._may_keep = may_keep
        self._pixels = pixels
        self._tolerance = self._given_tolerance = check_tolerance(tolerance)
        self._profile = profile
        self._habits = habits or Habits()
        audit = self._habits.audit
        self._auditor = None if audit is None else Auditor(audit, self._tolerance, self._habits.refresh_every)
        self._since_dense = 0
        self._items: list[PacedItem] = []
        self._joined: dict[str, Any] = {}  # the outputs of the last batch, where they are shared
        self._held: DenseItems | None = None
        self._form: tuple[Form, int] | None = None  # of the last inputs that were checked, and their items
        self._last = Step()
        self._closed = False
        self._lock = threading.Lock()

    def __call__(self, inputs: Inputs) -> dict[str, Any]:
        """One frame: output name -> array. The arrays are the caller's, unless `share_outputs` was asked for.

        Args:
            inputs: name -> array, or one array when the model has one input, as for `Model.run`. Of a stream that was
                told its `pixels`, an array may be a frame of bytes, uint8 (H, W, C); floats may come in between.

        Raises:
            InputError: an input does not fit the model; the stream is as before.
            TailError: ONNX Runtime failed; the next step is dense.
            ClosedError: the stream was closed.
        """
        with self._lock:
            self._check_open()
            start = time.perf_counter()
            return self._advance(self._prepare(inputs), start)

    def advance(self, work: Work) -> dict[str, Any]:
        """As a call, with inputs that were prepared. For `reconv.reuse`."""
        with self._lock:
            self._check_open()
            return self._advance(work, time.perf_counter())

    def another(self, may_keep: Callable[[int, int], bool]) -> Stream:
        """A new stream of the same model, profile and habits, and of the tolerance that the user gave this one: audits
        move that of each by itself. For `reconv.reuse`."""
        tolerance = self._given_tolerance
        return Stream(self._model, tolerance, self._profile, may_keep, pixels=self._pixels, habits=self._habits)

    def _prepare(self, inputs: Inputs) -> Work:
        """Checked inputs; such as the last ones are not checked again."""
        if self._form is not None and self._held is not None:
            form, items = self._form
            feeds = form.feeds(inputs)
            if feeds is not None:
                return self._model.work(feeds, items, self._held)
        work = self._model.prepare(inputs, self._held, self._pixels)
        self._form = Form(work.arrays), work.items
        return work

    def _advance(self, work: Work, start: float) -> dict[str, Any]:
        if self._held is not work.dense or len(self._items) != work.items:
            self._items, self._joined, self._held = [], {}, None  # let go of the old states before there are new ones
            self._items = [
                PacedItem(
                    work.dense,
                    tolerance=self._tolerance,
                    profile=self._profile,
                    may_keep=None if self._may_keep is None else partial(self._may_keep, index),
                    never_slower=self._habits.never_slower,
                    share_outputs=self._habits.share_outputs,
                    dense_measured=self._habits.dense == "measured",
                )
                for index in range(work.items)
            ]
            self._held = work.dense
        try:
            feeds = split(work.arrays, work.items)
            every = self._habits.refresh_every
            if every is not None and self._since_dense + 1 >= every:
                for item in self._items:
                    item.refresh()
            steps = self._step(feeds)
            outputs = self._join(steps)
            share, dense = _share(steps, work), all(step.dense for step in steps)
            audited = self._is_due(share, dense)
            if audited:
                steps = self._step_again(feeds, outputs)
                outputs = self._join(steps)
                share, dense = share + _share(steps, work), True
        except BaseException:  # some items may have stepped and others not
            self._forget()
            raise
        self._since_dense = 0 if dense else self._since_dense + 1
        changed = _changed(steps)
        self._last = Step(
            recomputed=share,
            seconds=time.perf_counter() - start,
            dense=dense,
            changed=tuple(name for name in outputs if name in changed),
            audited=audited,
        )
        return outputs

    def _step(self, feeds: list[dict[str, Feed]]) -> list[ItemStep]:
        return [item.step(each) for item, each in zip(self._items, feeds, strict=True)]

    def _join(self, steps: list[ItemStep]) -> dict[str, Any]:
        """The outputs of the items as those of the batch; where they are shared, what did not change is as it was."""
        if not self._habits.share_outputs:
            return join([step.outputs for step in steps])
        changed, outputs = _changed(steps), steps[0].outputs
        if len(steps) > 1:
            same = {name: array for name, array in self._joined.items() if name not in changed}
            outputs = join([{n: v for n, v in step.outputs.items() if n not in same} for step in steps]) | same
        shared = {name: for_reading(outputs[name]) for name in steps[0].outputs}
        self._joined = dict(shared) if len(steps) > 1 else {}
        return shared

    def _forget(self) -> None:
        self._joined = {}
        for item in self._items:
            item.reset()

    def _is_due(self, share: float, dense: bool) -> bool:
        """Whether the frame of this step is to be audited."""
        if self._auditor is None:
            return False
        self._auditor.note(share, dense=dense)
        return self._auditor.due

    def _step_again(self, feeds: list[dict[str, Feed]], outputs: dict[str, Any]) -> list[ItemStep]:
        """The frame once more, dense; the stream goes on at the tolerance that comparing the outputs calls for."""
        assert self._auditor is not None
        for item in self._items:
            item.refresh()
        steps = self._step(feeds)
        dense = self._join(steps)
        error, agreement = relative_error(outputs, dense), self._auditor.plan.agreement
        found = max(0.0, 1 - error) if agreement is None else agreement(outputs, dense)
        self._tolerance = self._auditor.learn(found, error)
        for item in self._items:
            item.set_tolerance(self._tolerance, keep=True)
        return steps

    @property
    def last(self) -> Step:
        """What the last step cost; zeros before the first."""
        return self._last

    @property
    def tolerance(self) -> float:
        """In standard deviations of the channels; 0 is exact. Can be set between steps; audits set it as well."""
        return self._tolerance

    @tolerance.setter
    def tolerance(self, value: float) -> None:
        value = check_tolerance(value)
        with self._lock:
            if self._auditor is not None:
                self._auditor.restart(value)
            # what is stored may be further off than a lower one allows, and above 0 deviations have to be measured
            keep = value >= self._tolerance > 0 or value == self._tolerance
            for item in self._items:
                item.set_tolerance(value, keep=keep)
            self._tolerance = self._given_tolerance = value

    @property
    def audit(self) -> Audit | None:
        """What the audits have found so far; None of a stream that makes none."""
        return None if self._auditor is None else self._auditor.report

    @property
    def cut_maps(self) -> dict[str, tuple[int, int, int]]:
        """Maps that a profile may speak of, in execution order: name -> (H, W, C). Empty before the first frame."""
        return self._items[0].compiled.cut_sizes if self._items else {}

    @property
    def state_bytes(self) -> int:
        """Bytes that the stream holds, all items and the tail's last outputs included; 0 before the first frame."""
        joined: int = sum(array.nbytes for array in self._joined.values())
        return sum(item.bytes for item in self._items) + joined

    def reset(self) -> None:
        """Forget all frames: the next step is dense and measures the deviations again."""
        with self._lock:
            self._check_open()
            self._forget()

    def close(self) -> None:
        """Free the states. Closing twice is fine; calling the stream afterwards is an error."""
        with self._lock:
            self._closed = True
            self._items, self._joined, self._held = [], {}, None

    def stale_pixels(self, name: str | None = None, item: int = 0) -> NDArray[np.bool_]:
        """Which pixels of an input moved in the last step: (H, W). Of a step that ran plain, all.

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

    def _item(self, index: int) -> PacedItem:
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


def _changed(steps: list[ItemStep]) -> frozenset[str]:
    return frozenset[str]().union(*(step.changed for step in steps))


def _share(steps: list[ItemStep], work: Work) -> float:
    """Of the multiply-adds of a dense run. Where there are none: 1 if anything changed."""
    total = work.compiled.macs * work.items
    return sum(step.macs for step in steps) / total if total else float(any(step.changed for step in steps))
