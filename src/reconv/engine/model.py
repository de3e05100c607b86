"""A model as the user handles it: run it, open a stream on it, ask where its nodes run."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from reconv import _core
from reconv import graph as graphs
from reconv.engine.audit import TARGET, Agreement, AuditPlan
from reconv.engine.batch import items_of, join, separable, split
from reconv.engine.compiled import Compiled, Shapes, Sizes
from reconv.engine.habits import Habits
from reconv.engine.inputs import Inputs, check_feeds, check_shapes, declared_shapes
from reconv.engine.item import DenseItems
from reconv.engine.memory import MemoryPlan, memory_of
from reconv.engine.orders import Kernels, KernelSource, kernels_of
from reconv.engine.pixels import Feed, PixelArithmetic, in_floats
from reconv.engine.placement import Placement, place
from reconv.engine.plain import DenseChoice
from reconv.engine.quickest import chooser
from reconv.engine.stream import Stream
from reconv.engine.tolerance import Profile, read_profile
from reconv.engine.tuning.player import Subject
from reconv.engine.tuning.stretches import REFRESH
from reconv.engine.tuning.tune import FRAMES, Tuned, tune
from reconv.errors import InputError, ProfileError
from reconv.graph import Graph, Source, TensorInfo

__all__ = ["Model", "Work", "load"]

Array = np.ndarray[Any, Any]

MOST_THREADS = 64  # of the core's team


@dataclass(frozen=True)
class Work:
    """Checked inputs, and what they run on. With ``items`` above 1, ``compiled`` is for one of them."""

    arrays: Mapping[str, Feed]
    items: int
    dense: DenseItems

    @property
    def compiled(self) -> Compiled:
        """The model for the sizes of one item."""
        return self.dense.compiled


def load(
    source: Source,
    *,
    threads: int | None = None,
    shapes: Mapping[str, Sequence[int | str | None]] | None = None,
    kernels: KernelSource = "default",
    memory_limit_bytes: int | None = None,
) -> Model:
    """Load an ONNX model.

    Args:
        source: a path, the bytes of a file, or an ``onnx.ModelProto``.
        threads: how many threads a step may use; None is what affinity and the cgroup quota allow.
        shapes: input name -> shape, to run a model at other sizes than its file declares.
        kernels: loop orders of convolutions and branches at once, which change the speed and not a bit of the results:
            "default"; "measured", timed on this machine, some seconds once per size; or what `Model.save_kernels`
            wrote, a path or its JSON (see `reconv.engine.orders`).
        memory_limit_bytes: what `Model.run` may take for one item beside the model and its inputs: maps, scratch and
            outputs (not what ONNX Runtime takes for its part). High-resolution layers then run in bands of rows, with
            the same bits and some more time. Streams keep all maps and are not limited. None is as little as costs no
            time; `Model.memory_plan` says how much that is.

    Raises:
        ModelError: the model cannot be read, or ``shapes`` do not fit it.
        ProfileError: the kernel profile cannot be read, or is for another machine, number of threads, model or size.
        InputError: ``threads`` is not a number from 1 to 64, ``memory_limit_bytes`` is none above 0, or RECONV_ISA
            names an instruction set that this machine does not have.
    """
    graph = graphs.load(source)
    graph = graphs.with_shapes(graph, shapes) if shapes else graph
    return Model(graph, threads=threads, kernels=kernels, memory_limit_bytes=memory_limit_bytes)


class Model:
    """A convolutional network, ready to run. May be used from several threads at once.

    The engine is prepared for the sizes of the first input; another size is prepared when it comes, and the few last
    used are kept. Loop orders that are measured or read are so when the model is made, if it declares its sizes.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        threads: int | None = None,
        kernels: KernelSource = "default",
        memory_limit_bytes: int | None = None,
    ) -> None:
        limit = memory_limit_bytes
        if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
            raise InputError(f"memory_limit_bytes is {limit!r}, expected a number of bytes above 0, or None")
        count = _core.default_threads() if threads is None else threads
        if not isinstance(count, int) or not 1 <= count <= MOST_THREADS:
            raise InputError(f"threads is {threads!r}, expected a number from 1 to {MOST_THREADS}, or None")
        try:
            _core.default_isa()
        except ValueError as error:
            raise InputError(f"the environment variable RECONV_ISA: {error}") from error
        self.graph = graph
        self.threads = count
        choose = chooser(kernels, count)
        # not through self below: a model that is dropped frees its memory at once
        team, weights = _core.Threads(count), _core.WeightStore()
        self._sizes = Sizes(
            lambda shapes: DenseItems(Compiled(graph, shapes, team, weights, choose, memory_limit_bytes=limit))
        )
        self._lock = threading.Lock()
        self._separable: bool | None = None
        self._last_shapes: Shapes | None = None
        if choose is not None:
            with suppress(InputError):  # free sizes: prepared when an input comes
                self._sizes.get(declared_shapes(self.inputs))

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """Name, type and declared shape of each input; weights are not among them."""
        return self.graph.inputs

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """Name, type and declared shape of each output."""
        return self.graph.outputs

    @cached_property
    def digest(self) -> str:
        """Content hash of the model, 32 hexadecimal digits."""
        return graphs.digest(self.graph)

    def run(self, inputs: Inputs, pixels: PixelArithmetic | None = None) -> dict[str, Any]:
        """A dense run: output name -> array, as ONNX Runtime would give them, but for the order of summation.

        Args:
            inputs: name -> array, or one array when the model has one input. Types and shapes must be those that the
                model declares: nothing is converted. Arrays need not be contiguous. A batch is run item by item when
                the model treats items separately.
            pixels: what makes a frame of bytes, uint8 (H, W, C), an input of floats; None takes no such frames.

        Raises:
            InputError: a name, type or shape does not fit the model.
            TailError: ONNX Runtime failed in the part of the model that it runs.
        """
        work = self.prepare(inputs, pixels=pixels)
        return join(work.dense.run(split(work.arrays, work.items)))

    def stream(
        self,
        tolerance: float | None = None,
        profile: Profile | Mapping[str, Any] | str | os.PathLike[str] | None = None,
        pixels: PixelArithmetic | None = None,
        *,
        refresh_every: int | None = None,
        audit_every: int | None = None,
        target: float = TARGET,
        agreement: Agreement | None = None,
        audit_budget: float = 0.05,
        never_slower: bool = True,
        share_outputs: bool = False,
        dense: DenseChoice = "reconv",
    ) -> Stream:
        """Open a stream: it recomputes only what changed from frame to frame.

        Args:
            tolerance: how far a pixel may be off before it is computed anew, in standard deviations of the channels;
                0 gives the very bits of `run`. None is the profile's, or 0 without one.
            profile: how far each map may be off: a path, its JSON, or a `Profile` (see `reconv.engine.tolerance`).
            pixels: what makes a frame of bytes, uint8 (H, W, C), an input of floats (see `reconv.engine.pixels`). Bytes
                that are those of the last frame are then not looked at again; the results are those of the floats.
            refresh_every: every so many steps one is dense, whatever moved; None is the profile's, or the first alone.
            audit_every: at most every so many steps one is run dense as well, and the tolerance is tightened to stay at
                the target, and loosened up to the one given (see `reconv.engine.audit`); None is no audits. Not with a
                ``refresh_every`` of 1.
            target: of the agreement with dense outputs, above 0 and below 1.
            agreement: (outputs, dense outputs of the same frame) -> 0..1, what the target is about: a recipe's is
                `Recipe.audit`. None is 1 - `reconv.engine.relative_error` of the raw outputs.
            audit_budget: what audits may cost, as a share of the stream's own work.
            never_slower: where most of every frame is stale, steps run dense, without lists, until these pay again (see
                `reconv.engine.pace`). The results are as good or better.
            share_outputs: arrays are for reading only, and one that did not change is the array that was given last:
                saves the copy, which is most of what an unchanged frame costs. Of one that changed only what moved is
                written, into an earlier one that nobody holds any more. Sequences and maps are still copies.
            dense: what runs such dense steps without lists: "reconv", or "measured": of a stream with a tolerance
                ONNX Runtime, where that is faster here, measured once per size (see `reconv.engine.plain`).

        Raises:
            ProfileError: the tolerance is negative or not finite, or the profile cannot be read or was made for
                another model; a number of the audits does not make sense, or the stream to audit is exact or always
                dense; ``dense`` is neither of the two.
        """
        found = None if profile is None else read_profile(profile)
        if found is not None and found.model and found.model != self.digest:
            raise ProfileError(f"the profile was made for model {found.model}, this one is {self.digest}")
        if tolerance is None:
            tolerance = found.tolerance if found is not None else 0.0
        if refresh_every is None and found is not None:
            refresh_every = found.refresh_every
        audit = None if audit_every is None else AuditPlan(audit_every, target, agreement, audit_budget)
        habits = Habits(refresh_every, audit, never_slower, share_outputs, dense)
        return Stream(self, tolerance, found, pixels=pixels, habits=habits)

    def tune(
        self,
        frames: Iterable[Any],
        recipe: Subject | type[Any],
        *,
        agreement: float,
        factors: bool = True,
        refresh_every: int | None = REFRESH,
        count: int | None = None,
        most_frames: int = FRAMES,
        seconds: float | None = None,
        say: Callable[[str], None] = lambda _: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> Tuned:
        """Choose the profile with which streams recompute least and agree with dense runs as asked.

        Half of the frames choose, the others judge, in stretches that take turns (see `reconv.engine.tuning`). Errors
        of a stream build up over some hundred frames to what they are in the long run; a dense step now and then costs
        less than it saves where much moves.

        Args:
            frames: of a clip, in order: some hundreds. A sequence is read where it is, others are kept.
            recipe: what is around the network (`reconv.recipes.Recipe`), or a class of them, made for the frames.
            agreement: of the recipe's first measure with dense runs, above 0 and up to 1.
            factors: choose a factor on the tolerance for each group of maps; False: one tolerance.
            refresh_every: the profile's: every so many steps one is dense (of short clips sooner); None: never.
            count: how many frames will come, where they come one by one; None takes the first of them.
            most_frames: of the clip, in all, spread over it.
            seconds: after which the search ends with the best so far; None: it ends by itself, after some minutes.
            say: is told what happens, one line each.
            stop: asked before each frame whether to end with the best so far, unjudged.

        Raises:
            InputError: too few frames, an agreement that is no share, or a frame that does not fit the model.
        """
        return tune(
            self, frames, recipe, agreement=agreement, factors=factors, refresh_every=refresh_every, count=count,
            most_frames=most_frames, seconds=seconds, say=say, stop=stop,
        )  # fmt: skip

    @property
    def kernels(self) -> Kernels:
        """The loop orders of the convolutions, at the sizes that are prepared now; if none is, at the declared ones.

        Raises:
            InputError: nothing has run yet, and the model does not declare its sizes.
        """
        if not len(self._sizes):
            self._sizes.get(declared_shapes(self.inputs))
        compiled = [dense.compiled for dense in self._sizes.kept()]
        return kernels_of([c.lowered.plan for c in compiled if c.runs_plan], self.threads)

    def save_kernels(self, path: str | os.PathLike[str]) -> None:
        """Write `kernels` to a file, for ``load(..., kernels=path)`` on this machine.

        Raises:
            InputError: nothing has run yet, and the model does not declare its sizes.
        """
        self.kernels.save(path)

    def placement(self, shapes: Mapping[str, Sequence[int]] | None = None) -> Placement:
        """Where each node runs and why, what it costs and how far it sees.

        Args:
            shapes: input name -> shape; None is the last run's, or else what the model declares, with 1 item.

        Raises:
            InputError: a size is not known, or a shape does not fit the model.
        """
        return place(self._compiled(shapes))

    def memory_plan(self, shapes: Mapping[str, Sequence[int]] | None = None) -> MemoryPlan:
        """What a dense run of one item takes, when and for what (see `reconv.engine.memory`).

        Args:
            shapes: input name -> shape; None is the last run's, or else what the model declares, with 1 item.

        Raises:
            InputError: a size is not known, a shape does not fit the model, or the memory limit cannot be kept.
        """
        return memory_of(self._compiled(shapes))

    def _compiled(self, shapes: Mapping[str, Sequence[int]] | None) -> Compiled:
        known = self._declared() if shapes is None else {name: tuple(shape) for name, shape in shapes.items()}
        missing = [info.name for info in self.inputs if info.name not in known]
        if missing:
            raise InputError(f"the shape of input {missing[0]!r} is missing")
        check_shapes(self.inputs, known)
        return self._sizes.get(known).compiled

    def prepare(self, inputs: Inputs, held: DenseItems | None = None, pixels: PixelArithmetic | None = None) -> Work:
        """Check inputs and find, or make, what they run on; ``held`` is what a stream ran on last. For `Stream`."""
        arrays = check_feeds(self.inputs, inputs, pixels)
        return self.work(arrays, self.items(arrays), held)

    def items(self, arrays: Mapping[str, Feed]) -> int:
        """Into how many items a batch of checked inputs is split: 1 where the model does not treat them separately."""
        items = items_of(self.inputs, {name: array.shape for name, array in arrays.items()})
        if items > 1:
            with self._lock:
                if self._separable is None:
                    plain = {name: in_floats(feed) for name, feed in arrays.items()}
                    self._separable = separable(self.graph, plain, self.threads)
            if not self._separable:
                return 1
        return items

    def work(self, arrays: Mapping[str, Feed], items: int, held: DenseItems | None = None) -> Work:
        """What checked inputs run on, split into these items."""
        shapes = {name: array.shape if items == 1 else (1, *array.shape[1:]) for name, array in arrays.items()}
        self._last_shapes = shapes
        if held is not None and held.compiled.shapes == shapes:  # it may no longer be among the sizes kept
            return Work(arrays, items, held)
        return Work(arrays, items, self._sizes.get(shapes))

    def _declared(self) -> Shapes:
        if self._last_shapes is not None:
            return self._last_shapes
        return declared_shapes(self.inputs)
