"""A small classifier, samples for it, and a stand-in for what a search measures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from reconv.compress.forward import Feeds, Forward
from reconv.compress.quantize import quantize
from reconv.compress.result import Compressed, Report
from reconv.graph import Graph, parse, with_constants

Array = np.ndarray[Any, Any]
CLASSES, LAYERS = 4, ("c1", "c2", "c3", "c4", "c5", "fc")


def classifier(height: int = 16, width: int = 16) -> Graph:
    """Five convolutions, one of them depthwise and two in a residual block, and a fully connected layer."""
    random = np.random.default_rng(3)

    def weight(*shape: int) -> Array:
        return random.normal(0, np.prod(shape[1:]) ** -0.5, shape).astype(np.float32)

    constants = {
        "w1": weight(8, 3, 3, 3),
        "w2": weight(16, 8, 1, 1),
        "w3": weight(16, 1, 3, 3),
        "w4": weight(8, 16, 1, 1),
        "w5": weight(8, 8, 3, 3),
        "w6": weight(8, CLASSES),
        "b1": random.normal(0, 0.2, 8).astype(np.float32),
        "b6": random.normal(0, 0.2, CLASSES).astype(np.float32),
    }
    text = f"""g (float[1, 3, {height}, {width}] x) => (float[1, {CLASSES}] y) {{
        [c1] a1 = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (x, w1, b1)
        [r1] m1 = Relu (a1)
        [c2] a2 = Conv (m1, w2)
        [r2] m2 = Relu (a2)
        [c3] a3 = Conv <pads = [1, 1, 1, 1], group = 16> (m2, w3)
        [r3] m3 = Relu (a3)
        [c4] a4 = Conv (m3, w4)
        [s4] m4 = Add (a4, m1)
        [c5] a5 = Conv <pads = [1, 1, 1, 1]> (m4, w5)
        [r5] m5 = Relu (a5)
        [gp] p = GlobalAveragePool (m5)
        [fl] f = Flatten (p)
        [fc] y = Gemm (f, w6, b6)
    }}"""
    return parse(text, constants)


def pictures(count: int, height: int = 16, width: int = 16) -> list[dict[str, Array]]:
    """Inputs of the classifier, each with a colour of its own."""
    random = np.random.default_rng(1)
    found = []
    for _ in range(count):
        tone = random.normal(0, 1.5, (1, 3, 1, 1))
        found.append({"x": (tone + random.normal(0, 0.5, (1, 3, height, width))).astype(np.float32)})
    return found


class Quantize:
    """Quantization as an entry of METHODS."""

    name = "quantize"
    needs = frozenset({"samples"})

    def settings(self, graph: Graph) -> Iterator[Mapping[str, Any]]:
        yield {}

    def apply(self, graph: Graph, samples: Sequence[Feeds], forward: Forward, **settings: Any) -> Compressed:
        return quantize(graph, samples, forward, **settings)


class Blur:
    """Moves every weight of a layer towards its mean: loses more the bolder it is, and saves nothing."""

    name = "blur"
    needs: frozenset[str] = frozenset()

    def settings(self, graph: Graph) -> Iterator[Mapping[str, Any]]:
        yield from ({"share": share} for share in (0.0, 0.5, 1.0))

    def apply(self, graph: Graph, samples: Sequence[Feeds], forward: Forward, **settings: Any) -> Compressed:
        weight = graph.constants["w5"]
        blurred = weight + settings["share"] * (weight.mean() - weight)
        made = with_constants(graph, {"w5": blurred.astype(np.float32)})
        return Compressed(made, Report.of("blur", graph, made, settings=settings))
