"""A model as the user handles it: run it, open a stream on it, ask where its nodes run."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from reconv import _core
from reconv import graph as graphs
from reconv.engine.batch import items_of, join, separable, split
from reconv.engine.compiled import Compiled, Shapes, Sizes
from reconv.engine.inputs import Inputs, check, check_shapes, declared_shapes
from reconv.engine.item import DenseItems
from reconv.engine.memory import MemoryPlan, memory_of
from reconv.engine.orders import Kernels, KernelSource, kernels_of
from reconv.engine.placement import Placement, place
from reconv.engine.quickest import chooser
from reconv.engine.stream import Stream
from reconv.engine.tolerance import Profile, read_profile
from reconv.errors import InputError, ProfileError
from reconv.graph import Graph, Source, TensorInfo

__all__ = ["Model", "Work", "load"]

Array = np.ndarray[Any, Any]

MOST_THREADS = 64  # of the core's team


@dataclass(frozen=True)
class Work:
    """Checked inputs, and what they run on. With ``items`` above 1, ``compiled`` is for one of them."""

    arrays: dict[str, Array]
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

    def run(self, inputs: Inputs) -> dict[str, Any]:
        """A dense run: output name -> array, as ONNX Runtime would give them, but for the order of summation.

        Args:
            inputs: name -> array, or one array when the model has one input. Types and shapes must be those that the
                model declares: nothing is converted. Arrays need not be contiguous. A batch is run item by item when
                the model treats items separately.

        Raises:
            InputError: a name, type or shape does not fit the model.
            TailError: ONNX Runtime failed in the part of the model that it runs.
        """
        work = self.prepare(inputs)
        return join(work.dense.run(split(work.arrays, work.items)))

    def stream(
        self,
        tolerance: float | None = None,
        profile: Profile | Mapping[str, Any] | str | os.PathLike[str] | None = None,
    ) -> Stream:
        """Open a stream: it recomputes only what changed from frame to frame.

        Args:
            tolerance: how far a pixel may be off before it is computed anew, in standard deviations of the channels;
                0 gives the very bits of `run`. None is the profile's, or 0 without one.
            profile: how far each map may be off: a path, its JSON, or a `Profile` (see `reconv.engine.tolerance`).

        Raises:
            ProfileError: the tolerance is negative or not finite, or the profile cannot be read or was made for
                another model.
        """
        found = None if profile is None else read_profile(profile)
        if found is not None and found.model and found.model != self.digest:
            raise ProfileError(f"the profile was made for model {found.model}, this one is {self.digest}")
        if tolerance is None:
            tolerance = found.tolerance if found is not None else 0.0
        return Stream(self, tolerance, found)

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

    def prepare(self, inputs: Inputs, held: DenseItems | None = None) -> Work:
        """Check inputs and find, or make, what they run on; ``held`` is what a stream ran on last. For `Stream`."""
        arrays = check(self.inputs, inputs)
        return self.work(arrays, self.items(arrays), held)

    def items(self, arrays: Mapping[str, Array]) -> int:
        """Into how many items a batch of checked inputs is split: 1 where the model does not treat them separately."""
        items = items_of(self.inputs, {name: array.shape for name, array in arrays.items()})
        if items > 1:
            with self._lock:
                if self._separable is None:
                    self._separable = separable(self.graph, arrays, self.threads)
            if not self._separable:
                return 1
        return items

    def work(self, arrays: dict[str, Array], items: int, held: DenseItems | None = None) -> Work:
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
