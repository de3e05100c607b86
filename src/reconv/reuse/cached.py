"""Whole results: `cached(model, cache)` runs what the cache does not hold and gives, bit for bit, what the model gives.

    fast = reconv.cached(model, reconv.Cache(100_000_000))
    outputs = fast.run({"images": x})

Where the model treats the items of a batch separately, each item has a key and an entry of its own: of a batch, only
the missing items are computed, in one run, and equal items once. Otherwise a whole call is an entry. A cache that does
not pay steps aside (`reconv.cache.worth`): requests then go to the model after a glance at some of their values.
"""

from __future__ import annotations

import copy
import math
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from reconv.cache.policies import Key
from reconv.cache.store import Cache
from reconv.cache.worth import Look, Worth
from reconv.engine import Model
from reconv.engine.batch import join, split
from reconv.engine.inputs import Inputs, check
from reconv.errors import CacheError
from reconv.graph import TensorInfo
from reconv.reuse.keys import refuse_random
from reconv.reuse.local import local_keys, result_keys

__all__ = ["Cached", "CachedStats", "cached", "mark"]

Array = np.ndarray[Any, Any]
Outputs = dict[str, Any]

GLANCE = 64  # values of an array that a mark is made of, at most


@dataclass
class CachedStats:
    """Counts since `cached`.

    requests: calls of `run`. items: in them; a call that is not split is one. hits: items that were not computed, being
    in the cache, under way in another thread, or equal to another one of their batch. computed: items that the model
    ran. passed_by: items computed without looking, while the cache stood aside. aside: whether it does now.
    times_aside: how often it stepped aside. seconds_saved: computing time of the hits. seconds_keeping: spent on
    hashing, asking and copying.
    """

    requests: int = 0
    items: int = 0
    hits: int = 0
    computed: int = 0
    passed_by: int = 0
    aside: bool = False
    times_aside: int = 0
    seconds_saved: float = 0.0
    seconds_keeping: float = 0.0


def cached(model: Model, cache: Cache, *, may_step_aside: bool = True) -> Cached:
    """The model with a cache before it. Several models may share a cache: their keys differ.

    Args:
        model: what runs on a miss.
        cache: what holds the results.
        may_step_aside: whether requests may pass the cache by while it does not pay. False looks at every request,
            whatever that costs.

    Raises:
        CacheError: a node of the model draws random numbers; or an output is text or no tensor, and the cache has a
            tier below, which would not take it.
    """
    return Cached(model, cache, may_step_aside)


class Cached:
    """Made by `cached`. May be used from several threads at once; what one computes, others wait for."""

    def __init__(self, model: Model, cache: Cache, may_step_aside: bool) -> None:
        refuse_random(model.graph)
        for info in model.outputs:
            if cache.below is not None and info.dtype == object:
                raise CacheError(
                    f"output {info.name!r} is text or no tensor, which the tiers below the memory do not take; give "
                    "this model a cache without one"
                )
        model.digest  # noqa: B018  # now, so that it is no cost of the first request
        self._model = model
        self._cache = cache
        self._keys = local_keys if cache.below is None else result_keys
        self._worth = Worth(may_step_aside)
        self._counts = CachedStats()
        self._lock = threading.Lock()

    @property
    def model(self) -> Model:
        return self._model

    @property
    def cache(self) -> Cache:
        return self._cache

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """The model's."""
        return self._model.inputs

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """The model's."""
        return self._model.outputs

    @property
    def stats(self) -> CachedStats:
        """Counts so far, as a copy."""
        with self._lock:
            worth = self._worth
            return replace(self._counts, passed_by=worth.passed_by, aside=worth.aside, times_aside=worth.times_aside)

    def run(self, inputs: Inputs) -> Outputs:
        """As `Model.run`: output name -> array, with the same bits; the arrays are the caller's own.

        Raises:
            InputError: a name, type or shape does not fit the model.
            TailError: ONNX Runtime failed in the part of the model that it runs. Nothing is kept of that.
        """
        arrays = check(self._model.inputs, inputs)
        items = self._model.items(arrays)
        feeds = split(arrays, items)
        start = time.perf_counter()
        marks = [mark(feed) for feed in feeds] if self._worth.aside else None
        with self._lock:
            looks = self._worth.weigh(items, marks)
            self._counts.requests += 1
            self._counts.items += items
        if any(looks):
            run = _Run(self._model, arrays, feeds, [i for i, look in enumerate(looks) if look is None])
            return self._looked(run, looks, start)
        glanced = time.perf_counter() - start
        outputs = join(self._model.work(arrays, items).dense.run(feeds))
        with self._lock:
            self._counts.computed += items
            self._counts.seconds_keeping += glanced
        return outputs

    def _looked(self, run: _Run, looks: Sequence[Look | None], start: float) -> Outputs:
        chosen = [i for i, look in enumerate(looks) if look is not None]
        keys = dict(zip(chosen, self._keys(self._model, [run.feeds[i] for i in chosen]), strict=True))
        first: dict[Key, int] = {}  # of equal items
        for i, key in keys.items():
            first.setdefault(key, i)
        hashed = time.perf_counter() - start
        copying = 0.0

        def make(missing: list[Key]) -> list[tuple[Outputs, float]]:
            nonlocal copying
            made = run([first[key] for key in missing])
            begin = time.perf_counter()
            kept = [(_kept(outputs), run.seconds_each) for outputs in made]
            copying += time.perf_counter() - begin
            return kept

        answers = dict(zip(first, self._cache.compute_many(list(first), make), strict=True))
        run([])  # what is passed by, if nothing was missing
        begin = time.perf_counter()
        if len(looks) > 1:
            outputs = join([run.outputs[i] if i in run.outputs else answers[keys[i]].value for i in range(len(looks))])
        else:
            outputs = run.outputs[0] if run.outputs else _copied(answers[keys[0]].value)
        end = time.perf_counter()
        spent = end - start - run.away - sum(answer.waited for answer in answers.values())
        self._cache.charge(hashed + copying + end - begin)
        with self._lock:
            self._counts.seconds_keeping += spent
            self._counts.computed += len(run.outputs)
            for i, key in keys.items():
                look, share, saved = looks[i] or Look(), spent / len(keys), answers[key].saved
                if i in run.outputs:
                    self._worth.looked(look, share, 0.0, run.seconds_each)
                    continue
                saved = run.seconds_each if saved is None else saved  # None: equal to an item that was just computed
                self._counts.hits += 1
                self._counts.seconds_saved += saved
                self._worth.looked(look, share, saved)
        return outputs


class _Run:
    """The computations of one call, together with those that nobody looks at."""

    def __init__(
        self, model: Model, arrays: dict[str, Array], feeds: list[dict[str, Array]], passed: list[int]
    ) -> None:
        self.feeds = feeds
        self.outputs: dict[int, Outputs] = {}  # by item; the arrays are the caller's
        self.seconds = 0.0  # of computing
        self.away = 0.0  # with what comes before the first run of a size
        self._model = model
        self._arrays = arrays
        self._passed = passed

    @property
    def seconds_each(self) -> float:
        return self.seconds / len(self.outputs)

    def __call__(self, items: list[int]) -> list[Outputs]:
        """The outputs of these items. Those that nobody looks at are run with the first call's."""
        chosen = [*items, *self._passed]
        self._passed = []
        if not chosen:
            return []
        start = time.perf_counter()
        work = self._model.work(self._arrays, len(self.feeds))
        ready = time.perf_counter()
        made = work.dense.run([self.feeds[i] for i in chosen])
        end = time.perf_counter()
        self.seconds += end - ready
        self.away += end - start
        self.outputs.update(zip(chosen, made, strict=True))
        return made[: len(items)]


def mark(arrays: Mapping[str, Array]) -> int:
    """A number that equal inputs share, made of their shapes and at most 64 values of each, spread evenly.

    It is another one in every process, and arrays that differ elsewhere have the same one.
    """
    parts: list[object] = []
    for array in arrays.values():
        glance = array[_spread(array.shape)]
        parts += [array.shape, repr(np.asarray(glance).tolist()) if array.dtype == object else glance.tobytes()]
    return hash(tuple(parts))


@lru_cache(maxsize=64)
def _spread(shape: tuple[int, ...]) -> tuple[slice, ...]:
    """An index of at most `GLANCE` elements, as many along each axis as along the others where it has them."""
    counts = [max(size, 1) for size in shape]  # of nothing there is nothing to see
    while math.prod(counts) > GLANCE:
        longest = counts.index(max(counts))
        counts[longest] = counts[longest] // 2
    steps = [max(size // count, 1) for size, count in zip(shape, counts, strict=True)]
    return tuple(slice(step // 2, step // 2 + step * count, step) for step, count in zip(steps, counts, strict=True))


def _kept(outputs: Outputs) -> Outputs:
    """As the cache holds them: nobody can write to them."""
    kept = _copied(outputs)
    for value in kept.values():
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
    return kept


def _copied(outputs: Outputs) -> Outputs:
    return {
        name: np.array(value) if isinstance(value, np.ndarray) else copy.deepcopy(value)
        for name, value in outputs.items()
    }
