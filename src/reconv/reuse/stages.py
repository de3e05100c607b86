"""Stems and heads as they run: one call asks the heads for outputs, they ask the stems for values, each made once."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from reconv.cache.store import Cache
from reconv.cache.worth import Look, Worth
from reconv.reuse.cached import mark
from reconv.reuse.keys import input_digest, values_key
from reconv.reuse.member import Kept, Member, Source
from reconv.reuse.stems import Stem

__all__ = ["Call", "Head", "Stage"]

Array = np.ndarray[Any, Any]


class Call:
    """One call: the inputs by their places, and the values known so far by digest."""

    def __init__(self, arrays: Sequence[Array], source: Mapping[bytes, Stage], cache: Cache | None) -> None:
        self.cache = cache
        self.arrays = arrays
        self._known: dict[Source, Array] = dict(enumerate(arrays))
        self._source = source
        self._digests: dict[tuple[int, ...], bytes] = {}

    def value(self, source: Source) -> Array:
        """An input, or a value that a stem gives, computed now if need be."""
        if source not in self._known:
            assert isinstance(source, bytes)  # inputs are all known
            stage = self._source[source]
            self._known.update(zip(stage.values, stage.run(self), strict=True))
        return self._known[source]

    def has(self, source: bytes) -> bool:
        """Whether it is a value that a stem gives."""
        return source in self._source

    def digest(self, places: tuple[int, ...]) -> bytes:
        """Of the inputs at these places."""
        if places not in self._digests:
            self._digests[places] = input_digest({str(i): self.arrays[i] for i in places})
        return self._digests[places]


class Stage:
    """A stem. Its values are kept in an order that does not depend on the file: that of their digests."""

    def __init__(self, member: Member, stem: Stem, above: Mapping[bytes, Kept], threads: int | None) -> None:
        name_of = {digest: name for name, digest in member.digests.values.items()}
        self.values = tuple(sorted(stem.values))
        self.names = tuple(name_of[value] for value in self.values)
        self._places = member.places(self.values)
        self._part = member.part(above, self.names, threads)
        self._behind = sorted({source for _, source in self._part.feeds if isinstance(source, bytes)})
        self._worth = Worth()
        self._lock = threading.Lock()

    def run(self, call: Call) -> tuple[Array, ...]:
        """The values, out of the cache if it has them."""
        if call.cache is None:
            return self._part.run(call.value)
        start = time.perf_counter()
        marks = [mark({str(i): call.arrays[i] for i in self._places})] if self._worth.aside else None
        with self._lock:
            (look,) = self._worth.weigh(1, marks)
        if look is None:
            call.cache.charge(time.perf_counter() - start)
            return self._part.run(call.value)
        return self._looked(call, call.cache, look, start)

    def _looked(self, call: Call, cache: Cache, look: Look, start: float) -> tuple[Array, ...]:
        key = values_key(self.values, self._part.model, call.digest(self._places), self._behind)
        hashed = time.perf_counter() - start
        ran: float | None = None

        def make(_: Sequence[Any]) -> list[tuple[tuple[Array, ...], float]]:
            nonlocal ran
            begin = time.perf_counter()
            made = self._part.run(call.value)
            ran = time.perf_counter() - begin
            return [(made, ran)]

        (answer,) = cache.compute_many([key], make)
        spent = time.perf_counter() - start - (ran or 0.0) - answer.waited
        with self._lock:
            self._worth.looked(look, spent, answer.saved or 0.0, ran)
        cache.charge(hashed)
        return answer.value


class Head:
    """What one model computes by itself, behind the stems."""

    def __init__(self, member: Member, kept: Mapping[bytes, Kept], threads: int | None) -> None:
        graph = member.graph
        self._names = [info.name for info in graph.outputs]
        self._sources: dict[str, Source] = {name: i for i, name in enumerate(member.inputs)}
        self._constants = {name: np.asarray(graph.constants[name]) for name in self._names if name in graph.constants}
        self._sources |= {name: member.value(name) for name in self._names if member.value(name) in kept}
        own = [n for n in self._names if n not in self._sources and n not in self._constants]
        self._part = member.part(kept, own, threads) if own else None
        self._own = own

    def outputs(self, call: Call) -> dict[str, Any]:
        """All outputs of the model; the arrays are the caller's own."""
        found: dict[str, Any] = {}
        if self._part is not None:
            found.update(zip(self._own, self._part.run(call.value), strict=True))
        for name in self._names:
            if name in self._constants:
                found[name] = np.array(self._constants[name])
            elif name not in found:
                found[name] = np.array(call.value(self._sources[name]))
        return {name: found[name] for name in self._names}
