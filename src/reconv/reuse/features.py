"""Features for training: the frozen part of a network is computed once per sample and kept, on disk if there is one.

    cache = Cache(1_000_000_000, below=DiskTier("features", 50_000_000_000))
    features = Features("backbone.onnx", samples, cache, at="pooled", batch=32, seed=0)
    for epoch in range(10):
        for maps, labels in features:                 # numpy; torch takes them by torch.from_numpy
            head.step(maps, labels)

From the second epoch on the frozen part does not run. A key is made of what computes the features (the digest of the
values at the cut), of the numerics and of the sample: other weights, another cut or another picture are other entries,
and two networks with the same frozen part share theirs. What the disk lost or damaged is computed again.

It is also a sequence, ``features[i] -> (maps, label)``, as torch's DataLoader wants one. Worker processes that are
forked share the disk and the count of runs, and each opens the frozen part for itself once it misses something.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from multiprocessing import get_context
from typing import Any, NoReturn, Protocol, SupportsIndex, TypeAlias, runtime_checkable

import numpy as np

from reconv.cache.store import Cache
from reconv.engine import Model
from reconv.engine.inputs import check
from reconv.errors import CacheError, InputError
from reconv.graph import Source, load
from reconv.reuse.keys import derived_key, input_digest, refuse_random, values_key
from reconv.reuse.member import Member, Part

__all__ = ["Features"]

Array = np.ndarray[Any, Any]
Item: TypeAlias = Array | Mapping[str, Array]
Sample: TypeAlias = tuple[Item | Callable[[], Item], Any]
Maps: TypeAlias = Any  # an array, or a dict of arrays by name


@runtime_checkable
class Samples(Protocol):
    """A list, or a map-style dataset of torch."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


class Features:
    """Features of samples, computed when they are first asked for. May be used from several threads at once."""

    def __init__(
        self,
        model: Source | Model,
        samples: Samples | Callable[[], Iterable[Sample]],
        cache: Cache,
        *,
        at: str | Sequence[str] | None = None,
        batch: int | None = None,
        seed: int | None = None,
        key: Callable[[int, Any], str | bytes] | None = None,
        threads: int | None = None,
    ) -> None:
        """
        Args:
            model: a path, bytes, an ``onnx.ModelProto`` or what `reconv.load` gave; everything behind `at` is left out.
            samples: pairs (item, label): a sequence or a map-style dataset, or a function
                that begins a new pass over them. An item is what
                the model takes, without the batch axis or with one of size 1: an array, a dict of them by input, or a
                function that returns one of these and is called only when it has to be.
            cache: keeps the features; with a disk below, also for the next training.
            at: name of the value, or names of the values, to give; None: the model's outputs. Of a single one the
                features are an array, of several a dict by name.
            batch: samples per step of an iteration, stacked, the last step having what is left; None: one at a time.
            seed: shuffles the samples in every epoch, each time in another order; None: as they come.
            key: (place of the sample, item as it was given) -> a name of its own, text or bytes. With it, items that
                are functions are not even called when their features are known; but a sample that changes under the
                same name is not noticed. None: the item's arrays are hashed.
            threads: as in `reconv.load`; None is the model's when it is one.

        Raises:
            ModelError: the model cannot be read.
            CacheError: no node gives such a value, or one before it draws random numbers; or a seed without a
                sequence, or a batch below 1.
        """
        if seed is not None and not isinstance(samples, Samples):
            raise CacheError("a seed shuffles sequences: samples that a function yields come in the order it chooses")
        if batch is not None and not (isinstance(batch, int) and batch >= 1):
            raise CacheError(f"batch is {batch!r}, expected a whole number from 1 up, or None for one sample at a time")
        graph = model.graph if isinstance(model, Model) else load(model)
        wanted = [info.name for info in graph.outputs] if at is None else [at] if isinstance(at, str) else list(at)
        given = {name for node in graph.nodes for name in node.outputs if name}
        for name in wanted or [""]:
            if name not in given:
                raise CacheError(f"no node of the model gives a value {name!r}; model.placement() lists the nodes")
        member = Member(graph, [info.name for info in graph.inputs])
        for name in wanted:
            if name not in member.live:
                raise CacheError(f"the value {name!r} depends on no input: there is nothing to keep per sample")
        threads = model.threads if threads is None and isinstance(model, Model) else threads
        self._digests = sorted({member.value(name) for name in wanted})
        self._order = [self._digests.index(member.value(name)) for name in wanted]
        first = {member.value(name): name for name in reversed(wanted)}
        part = member.part({}, [first[digest] for digest in self._digests], threads)
        refuse_random(part.model.graph)
        self._parts = {os.getpid(): part}
        self._inputs = {info.name for info in graph.inputs}
        self._names = None if len(wanted) == 1 else wanted
        self._samples = samples
        self._cache = cache
        self._batch = batch
        self._seed = seed
        self._key = key
        self._epoch = 0
        self._runs = get_context("fork").Value("Q", 0)

    @property
    def runs(self) -> int:
        """How often the frozen part ran, in this process and those forked from it."""
        return int(self._runs.value)

    def __len__(self) -> int:
        """Of the samples, not of the batches. TypeError when a function yields them, so that `list` does without."""
        if not isinstance(self._samples, Samples):
            raise TypeError("samples that a function yields have no length")
        return len(self._samples)

    def __getitem__(self, index: SupportsIndex) -> tuple[Maps, Any]:
        """Features and label of one sample; the arrays are the caller's own, without a batch axis.

        Raises:
            IndexError: there are not as many samples.
            CacheError: a function yields the samples.
            InputError: the sample is no pair, or its item does not fit the model.
        """
        samples, place = self._samples, operator.index(index)
        if not isinstance(samples, Samples):
            raise CacheError("samples that a function yields have no places: hand over a sequence, or iterate")
        if not -len(samples) <= place < len(samples):
            raise IndexError(f"sample {place} of {len(samples)}")
        return self._one(place % len(samples), samples[place])

    def __iter__(self) -> Iterator[tuple[Maps, Any]]:
        """One epoch, the next one each time."""
        self._epoch += 1
        return self.epoch(self._epoch - 1)

    def epoch(self, number: int) -> Iterator[tuple[Maps, Any]]:
        """The features and labels of all samples once, in the order of that epoch, counted from 0.

        Raises:
            InputError: as `[]`; or the features of one batch have different sizes.
        """
        if self._batch is None:
            yield from (self._one(index, sample) for index, sample in self._ordered(number))
            return
        waiting: list[tuple[Maps, Any]] = []
        for index, sample in self._ordered(number):
            waiting.append(self._one(index, sample))
            if len(waiting) == self._batch:
                yield _stacked(waiting)
                waiting = []
        if waiting:
            yield _stacked(waiting)

    def _ordered(self, number: int) -> Iterator[tuple[int, Sample]]:
        if not isinstance(self._samples, Samples):
            yield from enumerate(self._samples())
            return
        order: Iterable[int] = range(len(self._samples))
        if self._seed is not None:
            order = np.random.default_rng([self._seed, number]).permutation(len(self._samples)).tolist()
        for index in order:
            yield index, self._samples[index]

    def _one(self, index: int, sample: Sample) -> tuple[Maps, Any]:
        if not isinstance(sample, tuple) or len(sample) != 2:
            raise InputError(f"sample {index} is a {type(sample).__name__}, expected a pair (item, label)")
        item, label = sample
        part = self._part()
        if self._key is None:
            arrays = self._arrays(part, index, item)
            key = values_key(self._digests, part.model, input_digest({str(i): a for i, a in arrays.items()}))
            made = self._cache.compute(key, lambda: self._run(part, arrays))
        else:
            key = values_key(self._digests, part.model, derived_key("sample", self._key(index, item)))
            made = self._cache.compute(key, lambda: self._run(part, self._arrays(part, index, item)))
        maps = [np.array(made[place][0] if made[place].shape[:1] == (1,) else made[place]) for place in self._order]
        return (maps[0] if self._names is None else dict(zip(self._names, maps, strict=True))), label

    def _run(self, part: Part, arrays: Mapping[int, Array]) -> tuple[Array, ...]:
        with self._runs.get_lock():
            self._runs.value += 1
        return part.run(lambda source: arrays[source])  # type: ignore[index]  # nothing is kept before this part

    def _arrays(self, part: Part, index: int, item: Any) -> dict[int, Array]:
        """The inputs of the frozen part by their places among the model's, with a batch axis."""
        if callable(item):
            item = item()
        infos = part.model.inputs
        if isinstance(item, Mapping):
            unread = self._inputs.difference(info.name for info in infos)
            named = {name: np.asarray(array) for name, array in item.items() if name not in unread}
        elif len(infos) == 1:
            named = {infos[0].name: np.asarray(item)}
        else:
            names = ", ".join(repr(info.name) for info in infos)
            raise InputError(
                f"sample {index} is one array: the frozen part has the inputs {names}, pass a dict of them"
            )
        for info in infos:
            if info.name in named and named[info.name].ndim == len(info.shape) - 1:
                named[info.name] = named[info.name][np.newaxis]
        try:
            arrays = check(infos, named)
        except InputError as error:
            raise InputError(f"sample {index}: {error}") from error
        for name, array in arrays.items():
            if array.ndim and array.shape[0] != 1:
                raise InputError(f"sample {index}: input {name!r} has shape {array.shape}, expected one item (1, ...)")
        return {place: arrays[name] for name, place in part.feeds if isinstance(place, int)}

    def _part(self) -> Part:
        """Of this process: a forked one has no threads but its own. What the parent had is never let go of there."""
        pid = os.getpid()
        if pid not in self._parts:
            inherited = next(iter(self._parts.values()))
            model = Model(inherited.model.graph, threads=inherited.model.threads)
            self._parts[pid] = replace(inherited, model=model)
        return self._parts[pid]

    def __reduce__(self) -> NoReturn:
        raise CacheError(
            "Features cannot be sent to a process: have workers forked, DataLoader(..., multiprocessing_context='fork')"
        )


def _stacked(items: Sequence[tuple[Maps, Any]]) -> tuple[Maps, Any]:
    maps = [item[0] for item in items]
    labels = [np.asarray(item[1]) for item in items]
    alike = len({label.shape for label in labels}) == 1 and not any(label.dtype.hasobject for label in labels)
    joined = np.stack(labels) if alike else [item[1] for item in items]
    if isinstance(maps[0], dict):
        return {name: _stack([each[name] for each in maps]) for name in maps[0]}, joined
    return _stack(maps), joined


def _stack(maps: Sequence[Array]) -> Array:
    shapes = sorted({m.shape for m in maps})
    if len(shapes) > 1:
        raise InputError(
            f"the features of one batch have the shapes {shapes[0]} and {shapes[1]}: bring all samples to one size, "
            "or take them one at a time with batch=None"
        )
    return np.stack(maps)
