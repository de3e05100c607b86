"""Several models over one input: what they compute in common is computed once.

    shared = SharedPrefix(["detector.onnx", "classifier.onnx", "depth.onnx"])
    boxes, label, depth = shared({"images": x})       # one dict of outputs per model, as its own run gives

The common part is found by digest (`reconv.graph.structure`), so the files need not know of one another: heads trained
on one frozen backbone, a model before and after its last layers were compressed, taps of one network. It is cut where
that is cheapest to store (`mincut`), groups of models that share more get deeper stems (`stems`), and with a cache the
values at the cuts are kept over time.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from reconv.cache.store import Cache
from reconv.engine import Model
from reconv.engine.inputs import Inputs, check
from reconv.errors import CacheError
from reconv.graph import Source, TensorInfo, load
from reconv.reuse.matching import agreed_inputs, check_shared
from reconv.reuse.member import Kept, Member, Sizes
from reconv.reuse.stages import Call, Head, Stage
from reconv.reuse.stems import Stem, stems

__all__ = ["Cut", "SharedPrefix"]

Outputs = dict[str, Any]


@dataclass(frozen=True)
class Cut:
    """One stem: which models share it, by their places, and what is kept of it.

    values: names in the first of these models. bytes: of them, for one item of the sizes that the cut was made for.
    multiply_adds: of the stem, without those of stems above it. share: of the multiply-adds that these models spend
    when each runs by itself, those that lie in the stem, 0..1.
    """

    models: tuple[int, ...]
    values: tuple[str, ...]
    bytes: int
    multiply_adds: int
    share: float


class SharedPrefix:
    """Several models that begin alike, ready to run on the same inputs. May be used from several threads at once.

    Where to cut is decided once, for the sizes that the models declare, with one item, or else for the first inputs.
    """

    def __init__(
        self, models: Sequence[Source | Model], cache: Cache | None = None, *, threads: int | None = None
    ) -> None:
        """
        Args:
            models: two or more: paths, bytes, ``onnx.ModelProto`` or models that `reconv.load` gave. Their inputs are
                matched by name where names are the same or where one model has more of them than another, and by
                their order otherwise; they go by the names of the first model.
            cache: keeps the values at the cuts, so that inputs that come again, also to other models with the same
                stem, do not run it. None: nothing is kept between calls.
            threads: as in `reconv.load`; None is that of the first model given as one.

        Raises:
            ModelError: a model cannot be read.
            InputError: two models declare an input with other types or shapes.
            CacheError: fewer than two models, or one that has nothing in common with any other.
        """
        if isinstance(models, (str, bytes)) or len(models) < 2:
            raise CacheError("SharedPrefix takes a list of two or more models; a single one has nothing to share")
        loaded = [m for m in models if isinstance(m, Model)]
        graphs = [m.graph if isinstance(m, Model) else load(m) for m in models]
        self._threads = threads if threads is not None or not loaded else loaded[0].threads
        self._cache = cache
        self._inputs, places = agreed_inputs(graphs)
        self._members = [Member(graph, names) for graph, names in zip(graphs, places, strict=True)]
        check_shared(self._members)
        self._lock = threading.Lock()
        self._plan: _Plan | None = None

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """What all models together read: names of the first model that has them, sizes as far as one fixes them."""
        return self._inputs

    @property
    def cuts(self) -> tuple[Cut, ...]:
        """What is shared: the stem of all models first, if they have one, then those of smaller groups.

        Raises:
            CacheError: the models leave sizes free, and nothing was run so far.
        """
        return self._planned(None).cuts

    @property
    def cut(self) -> Cut:
        """The first of `cuts`."""
        return self.cuts[0]

    def __call__(self, inputs: Inputs) -> list[Outputs]:
        """The outputs of every model, in the order of the models; the arrays are the caller's own.

        They are what each model's own `run` gives, up to the order of summation (see docs/caching.md).

        Raises:
            InputError: a name, type or shape does not fit the models.
            TailError: ONNX Runtime failed in the part of a model that it runs.
        """
        arrays = check(self._inputs, inputs)
        plan = self._planned({name: array.shape for name, array in arrays.items()})
        call = Call([arrays[info.name] for info in self._inputs], plan.source, self._cache)
        return [head.outputs(call) for head in plan.heads]

    def _planned(self, shapes: Mapping[str, tuple[int, ...]] | None) -> _Plan:
        with self._lock:
            if self._plan is None:
                self._plan = _Plan(self._members, self._sizes(shapes), self._threads)
            return self._plan

    def _sizes(self, shapes: Mapping[str, tuple[int, ...]] | None) -> dict[int, tuple[int, ...]]:
        sizes = {}
        for place, info in enumerate(self._inputs):
            known = info.shape if shapes is None else shapes[info.name]
            if info.shape and not isinstance(info.shape[0], int):
                known = (1, *known[1:])
            if not all(isinstance(size, int) for size in known):
                raise CacheError(
                    f"where to cut depends on the sizes that input {info} leaves free: run the models once"
                )
            sizes[place] = tuple(size for size in known if isinstance(size, int))
        return sizes


class _Plan:
    """Stems and heads, ready to run."""

    def __init__(self, members: Sequence[Member], shapes: Mapping[int, tuple[int, ...]], threads: int | None) -> None:
        self._members = members
        self._sizes = [Sizes(m, {name: shapes[i] for i, name in enumerate(m.inputs) if name}) for m in members]
        self._stems = stems(members, self._sizes)
        stages = [Stage(members[stem.models[0]], stem, _values(self._above(stem)), threads) for stem in self._stems]
        self.source = {value: stage for stage in stages for value in stage.values}
        own = [[stem for stem in self._stems if m in stem.models] for m in range(len(members))]
        self.heads = [Head(member, _values(own[m]), threads) for m, member in enumerate(members)]

    def _above(self, stem: Stem) -> list[Stem]:
        """The stems that this one goes on from."""
        return [other for other in self._stems if other.path < stem.path and set(stem.models) <= set(other.models)]

    @cached_property
    def cuts(self) -> tuple[Cut, ...]:
        return tuple(self._cut(stem) for stem in self._stems)

    def _cut(self, stem: Stem) -> Cut:
        first, sizes = self._members[stem.models[0]], self._sizes[stem.models[0]]
        names = {digest: name for name, digest in first.digests.values.items()}
        new = stem.path.difference(*(above.path for above in self._above(stem)))
        work = sum(sizes.multiply_adds(first.nodes[digest]) for digest in new)
        whole = sum(self._sizes[m].multiply_adds(node) for m in stem.models for node in self._members[m].needed)
        return Cut(
            models=stem.models,
            values=tuple(names[value] for value in stem.values),
            bytes=sum(kept.bytes for kept in stem.values.values()),
            multiply_adds=work,
            share=len(stem.models) * work / whole if whole else 0.0,
        )


def _values(stems: Sequence[Stem]) -> dict[bytes, Kept]:
    return {value: kept for stem in stems for value, kept in stem.values.items()}
