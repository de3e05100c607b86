"""Sensitivity: what changing one layer alone costs, layer after layer, over the same samples.

The same network runs over the same samples again and again with one layer changed. Everything before that layer is the
original's and comes out of a cache, under keys made of digests (`reconv.reuse.keys`): of what computes the values, of
the numerics and of the sample. What comes behind it is the original's network again, which is opened once for all
layers of a stretch. Results are the same bit for bit as when every variant runs whole, as far as the engine runs the
layers: its result does not depend on where a model is cut. What ONNX Runtime runs (the tail) it may sum in another
order in a part than in the whole.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from copy import copy
from dataclasses import dataclass
from threading import Event
from typing import Any

import numpy as np

from reconv.cache import Cache
from reconv.engine import Model
from reconv.engine.model import Work
from reconv.errors import ModelError
from reconv.graph import Graph, structure
from reconv.optimize.crew import in_order
from reconv.optimize.cuts import LAYERS, Cut, Own, cuts_of, own_part, part
from reconv.optimize.journal import Journal
from reconv.optimize.metric import Judge
from reconv.reuse.keys import input_digest, values_key

__all__ = ["CACHE_BYTES", "Runs", "Sensitivity", "sensitivities"]

Array = np.ndarray[Any, Any]
Feeds = Mapping[str, Array]
TOGETHER = 16  # samples that go through one part before the next part is run
CACHE_BYTES = 512 << 20  # of values at cuts that are kept where the caller brings no cache


@dataclass(frozen=True)
class Sensitivity:
    """What changing one layer costs: what the metric falls by, and the error of the raw outputs."""

    layer: str
    loss: float
    error: float


class Runs:
    """A model over fixed samples, and variants of it. Not for several threads at once: see `beside`.

    Without a cache every variant runs whole.
    """

    def __init__(
        self,
        graph: Graph,
        samples: Sequence[Feeds],
        layers: Sequence[str],
        cache: Cache | None,
        threads: int | None = None,
    ) -> None:
        """
        Args:
            graph: the original.
            samples: all of one shape.
            layers: names of the nodes that variants change: the model is cut between them.
            cache: keeps the original's values at the cuts, of all samples if there is room; None: nothing is shared.
            threads: as in `reconv.load`.
        """
        self._graph, self._samples, self._cache, self._threads = graph, samples, cache, threads
        shapes = {name: array.shape for name, array in samples[0].items()}
        self._cuts = cuts_of(graph, layers, shapes) if cache is not None else ()
        self._values = structure(graph).values if cache is not None else {}
        self._samples_by = [input_digest({str(i): x for i, x in enumerate(s.values())}) for s in samples]
        # in the order of their digests, which does not depend on the file
        self._orders = [sorted(cut.names, key=lambda name: (self._values[name], name)) for cut in self._cuts]
        self._keys: dict[tuple[int, int], bytes] = {}
        self._numerics = Model(graph, threads=threads)
        self._opened: dict[int, _Part | None] = {}  # stretches of the original, by the number of the cut they begin at
        self._behind: tuple[int, _Part | None] = (-1, None)  # from one cut to the end: of the last variant

    @property
    def threads(self) -> int:
        """How many threads a run takes."""
        return self._numerics.threads

    def beside(self) -> Runs:
        """The same over the same cache, for a thread of its own, which its runs do with alone."""
        other = copy(self)
        other._threads, other._opened, other._behind = 1, {}, (-1, None)
        return other

    def original(self) -> Iterator[dict[str, Any]]:
        """The original's outputs, sample by sample."""
        return self._whole(self._graph)

    def outputs(self, variant: Graph) -> Iterator[dict[str, Any]]:
        """A variant's outputs, sample by sample."""
        if self._cache is None:
            return self._whole(variant)
        own = own_part(self._graph, variant, self._cuts)
        try:
            made = self._part(variant, self._cuts[own.first], self._cuts[own.last]) if own.last else None
        except ModelError:  # the variant reads something from before the cut
            return self._whole(variant)
        return self._shared(own, made)

    def _whole(self, graph: Graph) -> Iterator[dict[str, Any]]:
        model = Model(graph, threads=self._threads)
        return (model.run(sample) for sample in self._samples)

    def _shared(self, own: Own, made: _Part | None) -> Iterator[dict[str, Any]]:
        behind = self._to_the_end(own.last)
        names = [info.name for info in self._graph.outputs]
        for begin in range(0, len(self._samples), TOGETHER):
            some = range(begin, min(begin + TOGETHER, len(self._samples)))
            at = [self._at(own.first, index) for index in some]
            for each in (made, behind):  # a part's weights stay at hand while it runs over many samples
                if each is not None:
                    at = [{**values, **each.run(values)} for values in at]
            for values in at:
                yield {
                    name: np.array(values[name] if name in values else self._graph.constants[name]) for name in names
                }

    def _at(self, number: int, index: int) -> dict[str, Array]:
        """The original's values at a cut for one sample."""
        if number == 0:
            return dict(self._samples[index])
        assert self._cache is not None
        order = self._orders[number]

        def make() -> tuple[Array, ...]:
            values = self._at(number - 1, index)
            stretch = self._stretch(number - 1)
            if stretch is not None:
                values.update(stretch.run(values))
            return tuple(values[name] for name in order)

        return dict(zip(order, self._cache.compute(self._key(number, index), make), strict=True))

    def _key(self, number: int, index: int) -> bytes:
        """Of the values at a cut for one sample."""
        if (number, index) not in self._keys:
            digests = [self._values[name] for name in self._orders[number]]
            before = sorted(self._values[name] for name in self._cuts[number - 1].names) if number > 1 else ()
            self._keys[number, index] = values_key(digests, self._numerics, self._samples_by[index], before)
        return self._keys[number, index]

    def _stretch(self, number: int) -> _Part | None:
        """The original from one cut to the next."""
        if number not in self._opened:
            self._opened[number] = self._part(self._graph, self._cuts[number], self._cuts[number + 1])
        return self._opened[number]

    def _to_the_end(self, number: int) -> _Part | None:
        """The original from a cut to its outputs; variants come in the order of their layers, so one is kept."""
        if self._behind[0] != number:
            self._behind = (-1, None)
            last = len(self._cuts) - 1
            made = None if number == last else self._part(self._graph, self._cuts[number], self._cuts[last])
            self._behind = (number, made)
        return self._behind[1]

    def _part(self, graph: Graph, first: Cut, last: Cut) -> _Part | None:
        found = part(graph, first, last)
        if found is None:
            return None
        made, inputs, _ = found
        return _Part(Model(made, threads=self._threads), inputs)


class _Part:
    """A stretch of a model, for inputs of one shape: they are checked the first time, and those of a sample are run on
    what is there from then on."""

    def __init__(self, model: Model, inputs: tuple[str, ...]) -> None:
        self._model, self._inputs = model, inputs
        self._work: Work | None = None

    def run(self, values: Mapping[str, Array]) -> dict[str, Any]:
        feeds = {name: values[name] for name in self._inputs}
        if self._work is None:
            self._work = self._model.prepare(feeds)
        if self._work.items > 1:
            return self._model.run(feeds)
        return self._work.dense.run([feeds])[0]


def sensitivities(
    runs: Runs,
    variants: Iterable[tuple[str, Callable[[], Graph]]],
    judge: Judge,
    *,
    journal: Journal | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> list[Sensitivity]:
    """The cost of every variant by itself, in the order in which they come; that of the layers is the quickest.

    Args:
        runs: of the original over the judge's samples.
        variants: layer -> what makes the model with this layer changed.
        judge: what the outputs are judged by.
        journal: where results are kept; those that it has are not computed again.
        say: told which layer is at work.
    """
    known = Journal() if journal is None else journal
    every = list(variants)
    missing = [(layer, make) for layer, make in every if _key(layer) not in known]
    with closing(_answers(runs, [make for _, make in missing])) as answers:
        for layer, _ in missing:
            say(f"sensitivity of {layer}")
            outputs, taken = next(answers)
            verdict = judge(outputs)
            known.add(_key(layer), {"loss": verdict.loss, "error": verdict.error, "seconds": round(taken, 3)})
    return [Sensitivity(layer, known[_key(layer)]["loss"], known[_key(layer)]["error"]) for layer, _ in every]


def _key(layer: str) -> str:
    return f"sensitivity {layer}"


def _answers(
    runs: Runs, makers: Sequence[Callable[[], Graph]]
) -> Generator[tuple[list[dict[str, Any]], float], None, None]:
    """The outputs of each variant and the seconds they took, in order.

    Small parts gain little from several threads each, so every thread has variants of its own: neighbours, which share
    what lies behind them.
    """

    def answer(own: Runs, make: Callable[[], Graph], stop: Event) -> tuple[list[dict[str, Any]], float]:
        start = time.perf_counter()
        outputs = []
        for each in own.outputs(make()):
            outputs.append(each)
            if stop.is_set():
                break
        return outputs, time.perf_counter() - start

    blocks = [makers[begin : begin + LAYERS] for begin in range(0, len(makers), LAYERS)]
    workers = [runs] if runs.threads == 1 or len(blocks) == 1 else [runs.beside() for _ in range(runs.threads)]
    return in_order(blocks, workers, answer)
