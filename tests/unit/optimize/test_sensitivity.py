"""The sweep: equal results with the cache and without it, nothing run twice, and what it says of a layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from reconv.cache import Cache
from reconv.compress.quantize.scheme import Scheme
from reconv.engine import Model
from reconv.graph import Graph, Rewrite, rewritten, with_constants
from reconv.graph.graph import Node
from reconv.optimize import sensitivity
from reconv.optimize.cuts import Own, cuts_of, own_part
from reconv.optimize.journal import Journal
from reconv.optimize.layerwise import layer_names, one_by_one
from reconv.optimize.metric import Judge
from reconv.optimize.samples import open_samples
from reconv.optimize.sensitivity import Runs, sensitivities
from reconv.optimize.values import RuntimeForward
from tests.unit.optimize.nets import LAYERS, classifier, pictures

Array = np.ndarray[Any, Any]
WEIGHTS = dict(zip(LAYERS, ("w1", "w2", "w3", "w4", "w5", "w6"), strict=True))


def changed(graph: Graph, layer: str) -> Graph:
    """Another weight in this layer alone."""
    return with_constants(graph, {WEIGHTS[layer]: graph.constants[WEIGHTS[layer]] * np.float32(1.25)})


def variants(graph: Graph) -> list[tuple[str, Callable[[], Graph]]]:
    return [(layer, lambda layer=layer: changed(graph, layer)) for layer in LAYERS]  # type: ignore[misc]


@pytest.fixture(scope="module")
def graph() -> Graph:
    return classifier()


@pytest.fixture(autouse=True)
def fine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cut behind every layer, so that a small network has some."""
    from reconv.optimize import cuts

    monkeypatch.setattr(cuts, "LAYERS", 1)


def test_layers_are_found(graph: Graph) -> None:
    assert layer_names(graph) == LAYERS


def test_with_the_cache_the_outputs_are_the_same_bits(graph: Graph) -> None:
    frames = pictures(3)
    shared = Runs(graph, frames, LAYERS, Cache(1 << 20, "lru"), 1)
    alone = Runs(graph, frames, LAYERS, None, 1)
    for layer in LAYERS:
        net = changed(graph, layer)
        plain = Model(net, threads=1)
        for frame, first, second in zip(frames, shared.outputs(net), alone.outputs(net), strict=True):
            right = plain.run(frame)["y"]
            assert np.array_equal(first["y"], right), layer
            assert np.array_equal(second["y"], right), layer
    assert any(not np.array_equal(a["y"], b["y"]) for a, b in zip(shared.original(), shared.outputs(net), strict=True))


def test_the_sweep_is_the_same_and_what_comes_before_a_layer_runs_once(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = open_samples(pictures(4), graph)
    ran: list[int] = []
    real = sensitivity._Part.run

    def counted(part: Any, values: Any) -> Any:
        ran.append(id(part))
        return real(part, values)

    monkeypatch.setattr(sensitivity._Part, "run", counted)
    found = {}
    for word, cache in (("with", Cache(1 << 22, "lru")), ("without", None)):
        runs = Runs(graph, list(samples), LAYERS, cache, 1)
        found[word] = sensitivities(runs, variants(graph), Judge(samples, runs.original()))
        if cache is not None:
            assert cache.stats.insertions == cache.stats.misses  # nothing was computed again
    assert found["with"] == found["without"]
    assert [each.layer for each in found["with"]] == list(LAYERS)
    assert all(each.error > 0 for each in found["with"])
    assert ran


def test_a_cache_without_room_changes_nothing(graph: Graph) -> None:
    samples = open_samples(pictures(2), graph)
    runs = [Runs(graph, list(samples), LAYERS, cache, 1) for cache in (Cache(64, "lru"), Cache(1 << 22, "lru"))]
    first, second = (sensitivities(r, variants(graph), Judge(samples, r.original())) for r in runs)
    assert first == second


def test_a_second_sweep_over_the_same_samples_finds_its_prefixes(graph: Graph) -> None:
    samples, cache = open_samples(pictures(3), graph), Cache(1 << 22, "lru")
    for again in range(2):
        runs = Runs(graph, list(samples), LAYERS, cache, 1)
        sensitivities(runs, variants(graph), Judge(samples, runs.original()))
        if not again:
            before = cache.stats.insertions
    assert cache.stats.insertions == before


@pytest.mark.parametrize("cache", [Cache(1 << 22, "lru"), None])
def test_a_sweep_on_several_threads_is_the_same(graph: Graph, cache: Cache | None) -> None:
    samples = open_samples(pictures(3), graph)
    found = []
    for threads in (1, 3):
        runs = Runs(graph, list(samples), LAYERS, cache, threads)
        found.append(sensitivities(runs, variants(graph), Judge(samples, runs.original())))
    assert found[0] == found[1]


def test_quantized_layers_one_by_one(graph: Graph) -> None:
    samples = open_samples(pictures(4), graph)
    feeds = list(samples)
    ways = list(one_by_one(graph, feeds, RuntimeForward(1), Scheme()))
    assert [name for name, _ in ways] == list(LAYERS)
    for name, make in ways:
        kinds = {node.name: node for node in make().nodes}
        assert any(node.op_type == "QuantizeLinear" for node in kinds.values()), name
    runs = [Runs(graph, feeds, LAYERS, cache, 1) for cache in (Cache(1 << 22, "lru"), None)]
    first, second = (sensitivities(r, ways, Judge(samples, r.original())) for r in runs)
    for a, b in zip(first, second, strict=True):
        assert 0 < a.error < 0.5
        assert a == b


def test_a_variant_that_differs_everywhere_runs_whole(graph: Graph) -> None:
    frames = pictures(2)
    runs = Runs(graph, frames, LAYERS, Cache(1 << 20, "lru"), 1)
    net = graph
    for layer in LAYERS:
        net = changed(net, layer)
    right = [Model(net, threads=1).run(frame)["y"] for frame in frames]
    assert all(np.array_equal(a["y"], b) for a, b in zip(runs.outputs(net), right, strict=True))


def test_where_a_variant_differs(graph: Graph) -> None:
    cuts = cuts_of(graph, LAYERS, {"x": (1, 3, 16, 16)})
    assert own_part(graph, graph, cuts) == Own(0, 0)
    places = [own_part(graph, changed(graph, layer), cuts) for layer in LAYERS]
    assert places == sorted(places, key=lambda own: own.first)
    assert all(own.last == own.first + 1 for own in places)
    relu = next(node for node in graph.nodes if node.name == "r2")
    other = Node("r2x", "LeakyRelu", "", relu.inputs, relu.outputs, {"alpha": 0.5})
    net = rewritten(graph, Rewrite((relu,), (other,)))
    assert own_part(graph, net, cuts).last > 0  # another operator under the same names is a difference


def test_the_journal_is_asked_first(graph: Graph) -> None:
    samples, journal = open_samples(pictures(2), graph), Journal()
    runs = Runs(graph, list(samples), LAYERS, None, 1)
    judge = Judge(samples, runs.original())
    first = sensitivities(runs, variants(graph)[:2], judge, journal=journal)

    def never() -> Graph:
        raise AssertionError("the journal knows it")

    assert sensitivities(runs, [(layer, never) for layer in LAYERS[:2]], judge, journal=journal) == first
