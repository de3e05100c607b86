"""One layer in 8 bits and all others float, layer after layer, from one calibration of the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from reconv.compress.forward import Feeds, Forward
from reconv.compress.quantize.calibrate import calibrate
from reconv.compress.quantize.place import find_layers, place
from reconv.compress.quantize.quantize import OPSET
from reconv.compress.quantize.scheme import Codes, Scheme
from reconv.compress.quantize.write import write
from reconv.graph import Graph
from reconv.graph.opset import at_least_opset

__all__ = ["layer_names", "one_by_one"]


def layer_names(graph: Graph) -> tuple[str, ...]:
    """Names of the layers that can be quantized, in their order."""
    return tuple(layer.name for layer in find_layers(graph))


def one_by_one(
    graph: Graph, samples: Sequence[Feeds], forward: Forward, scheme: Scheme
) -> Iterator[tuple[str, Callable[[], Graph]]]:
    """Layer -> what makes the graph with this layer alone quantized; the graph's values keep their names.

    Args:
        graph: of opset 13 or newer, so that a variant differs in its layer alone.
        samples: what ranges are taken from.
        forward: runs the graph.
        scheme: how to quantize; what it says of single layers does not count.

    Raises:
        InputError: samples that do not fit.
    """
    raised = at_least_opset(graph, OPSET)
    every = replace(scheme, exclude=frozenset(), only=None)
    codes = calibrate(raised, place(raised, every), samples, forward, every)

    def variant(name: str) -> Graph:
        alone = replace(every, only=frozenset({name}))
        places = place(raised, alone)
        known: dict[str, Codes] = {point: codes[point] for point in places.points if point in codes}
        if len(known) < len(places.points):  # alone, it wants codes where the whole does without
            known = calibrate(raised, places, samples, forward, alone)
        return write(raised, places, known, alone).graph

    for name in layer_names(raised):
        yield name, partial(variant, name)
