"""One batch item of a stream that is never much slower than a dense run: with lists where they pay, else plain.

A plain step runs on a dense item that all users of the model share (see `reconv.engine.item.DenseItems`): it gives the
bits of a dense step of the stream and leaves the stream's own state alone. The step that has lists again starts from a
dense one, which measures the deviations anew. When, is for `reconv.engine.pace` to say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from reconv import _core
from reconv.engine.compiled import Compiled
from reconv.engine.glance import Floats, Glance
from reconv.engine.item import DenseItems, Item, ItemStep
from reconv.engine.pace import Pace
from reconv.engine.pixels import Feed
from reconv.engine.tolerance import MapProfile, Profile

__all__ = ["PacedItem"]


class PacedItem:
    """State of one item of a stream. Not for several threads at once.

    Args:
        dense: dense items of the model, which plain steps run on.
        tolerance, profile, may_keep, share_outputs: as for `Item`.
        never_slower: whether steps may run plain.
        dense_measured: whether plain steps with a tolerance run on what is faster.
    """

    def __init__(
        self,
        dense: DenseItems,
        *,
        tolerance: float,
        profile: Profile | None,
        may_keep: Callable[[int], bool] | None,
        never_slower: bool,
        share_outputs: bool = False,
        dense_measured: bool = False,
    ) -> None:
        self.compiled: Compiled = dense.compiled
        self._dense_measured = dense_measured
        self.ran_plain = False
        self._dense = dense
        self._profile = profile or Profile()
        self._item = Item(
            self.compiled, tolerance=tolerance, profile=profile, may_keep=may_keep, share_outputs=share_outputs
        )
        limit = self.compiled.memory_limit_bytes
        fits = limit is None or self.compiled.dense_peak_bytes <= limit
        self._may_run_plain = never_slower and self.compiled.runs_plan and fits
        self._pace = Pace()
        self._glance: Glance | None = None

    @property
    def state(self) -> _core.State | None:
        """Of the steps with lists."""
        return self._item.state

    @property
    def bytes(self) -> int:
        """Bytes held."""
        return self._item.bytes

    def reset(self) -> None:
        """Forget: the next step is dense, and lists are given another try."""
        self._item.reset()
        self._pace, self._glance = Pace(), None

    def refresh(self) -> None:
        """The next step is dense."""
        self._item.reset()

    def set_tolerance(self, value: float, *, keep: bool) -> None:
        """`keep`: what is stored is right at this tolerance as well; otherwise the next step is dense."""
        if self.state is not None:
            self.state.tolerance = value
        if not keep:
            self._item.reset()
        self._glance = None

    def step(self, feeds: Mapping[str, Feed]) -> ItemStep:
        """As `Item.step`."""
        if self._pace.plain and not self._returns(feeds):
            self.ran_plain = True
            outputs = {**self._run_plain(feeds), **self._item.shared_constants}
            return ItemStep(outputs, frozenset(outputs).difference(self.compiled.constants), self.compiled.macs, True)
        step = self._item.step(feeds)
        self.ran_plain = False
        state = self.state
        if self._may_run_plain and state is not None and not state.was_dense:
            share = state.recomputed_macs / max(self.compiled.lowered.plan.macs, 1)
            self._pace.listed(share, lambda: self._stale(state))
            if self._pace.plain:
                self._glance = None  # of these deviations
        return step

    def _run_plain(self, feeds: Mapping[str, Feed]) -> dict[str, Any]:
        if self._dense_measured and self._tolerance > 0:  # an exact stream gives the engine's bits
            return self._dense.faster.run(self._dense.run_one, feeds)
        return self._dense.run_one(feeds)

    def _returns(self, feeds: Mapping[str, Feed]) -> bool:
        """Whether this step, of a plain stream, has lists again: it starts with a dense one."""
        moved = None
        if self._pace.keeps:
            self._glance = self._glance or Glance(self.compiled, self._input_weights(), self._tolerance)
            self._glance.keep(feeds)
        elif self._pace.looks and self._glance is not None:
            moved = self._glance.moved(feeds)
        if not self._pace.returns(moved):
            return False
        self._item.reset()
        self._glance = None
        return True

    @property
    def _tolerance(self) -> float:
        return self.state.tolerance if self.state is not None else 0.0

    def _input_weights(self) -> dict[str, Floats]:
        """By input: w_c (C,) of the cutoff; none at tolerance 0 and of inputs that are not cut."""
        state, found = self.state, {}
        if state is not None and state.tolerance > 0:
            for border in self.compiled.lowered.inputs:
                if border.map in self.compiled.cut_maps.values():
                    entry = self._profile.maps.get(border.name, MapProfile())
                    found[border.name] = entry.cutoff_weights(state.deviation(border.map))
        return found

    def _stale(self, state: _core.State) -> float:
        """Share of the pixels that the last step with lists found moved, of the input of which most did."""
        return max((float(np.mean(state.stale(b.map))) for b in self.compiled.lowered.inputs), default=1.0)
