"""Combinations in one call: prune, then quantize; quantize, then distil; prune, distil, then quantize.

What was removed or rounded is made up for by training on the outputs of the model that it all began with (the
teacher), where torch is installed (extra ``train``). Channels go first, so that nothing is calibrated for channels that
go, and codes come last, since pruning wants floats. The last distillation of a quantized graph learns through the codes
(straight through), so what it gives is a graph of codes still.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from reconv.compress.prune import PRUNE, prune
from reconv.compress.quantize import quantize
from reconv.compress.result import Compressed, Entry, Report
from reconv.compress.train import need_torch
from reconv.graph import Graph

if TYPE_CHECKING:
    from reconv.compress.forward import Feeds, Forward

__all__ = [
    "DISTIL_QUANTIZE",
    "PRUNE_DISTIL_QUANTIZE",
    "PRUNE_QUANTIZE",
    "distil_quantize",
    "distilled",
    "prune_distil_quantize",
    "prune_quantize",
]

Settings = Mapping[str, Any]


def distilled(student: Graph, teacher: Graph, samples: Sequence[Feeds], **settings: Any) -> Compressed:
    """`reconv.compress.train.distil.distil`, told in a line where torch is not installed.

    Raises:
        MissingError: torch is not installed.
    """
    need_torch()
    from reconv.compress.train.distil import distil  # noqa: PLC0415  # torch, where it is used

    return distil(student, teacher, samples, **settings)


def prune_quantize(
    graph: Graph,
    samples: Sequence[Feeds],
    forward: Forward,
    *,
    prune: Settings | None = None,
    quantize: Settings | None = None,
) -> Compressed:
    """Prune, then quantize what is left; ``prune`` and ``quantize`` are settings of the two.

    Raises:
        ModelError, InputError: as either.
    """
    first = _pruned(graph, samples, forward, prune)
    second = _quantized(first.graph, samples, forward, quantize)
    return _joined("prune_quantize", graph, (first, second))


def distil_quantize(
    graph: Graph,
    samples: Sequence[Feeds],
    forward: Forward,
    *,
    quantize: Settings | None = None,
    distil: Settings | None = None,
) -> Compressed:
    """Quantize, then let the graph of codes learn what the float model gives; settings as their names say.

    Raises:
        MissingError: torch is not installed.
        ModelError, InputError: as either.
    """
    need_torch()
    first = _quantized(graph, samples, forward, quantize)
    second = distilled(first.graph, graph, samples, **(distil or {}))
    return _joined("distil_quantize", graph, (first, second))


def prune_distil_quantize(
    graph: Graph,
    samples: Sequence[Feeds],
    forward: Forward,
    *,
    prune: Settings | None = None,
    distil: Settings | None = None,
    quantize: Settings | None = None,
    aware: Settings | None = None,
) -> Compressed:
    """Prune, let the smaller graph learn what the whole one gives, and quantize it.

    Args:
        graph: a float model: the teacher.
        samples: for calibration and training.
        forward: runs a graph.
        prune, distil, quantize: settings of the three.
        aware: settings of a second distillation, of the quantized graph; None: none, {}: with those that it has.

    Raises:
        MissingError: torch is not installed.
        ModelError, InputError: as any of them.
    """
    need_torch()
    steps = [_pruned(graph, samples, forward, prune)]
    steps.append(distilled(steps[-1].graph, graph, samples, **(distil or {})))
    steps.append(_quantized(steps[-1].graph, samples, forward, quantize))
    if aware is not None:
        steps.append(distilled(steps[-1].graph, graph, samples, **aware))
    return _joined("prune_distil_quantize", graph, steps)


def _pruned(graph: Graph, samples: Sequence[Feeds], forward: Forward, settings: Settings | None) -> Compressed:
    return prune(graph, samples=samples, forward=forward, **(settings or {}))


def _quantized(graph: Graph, samples: Sequence[Feeds], forward: Forward, settings: Settings | None) -> Compressed:
    return quantize(graph, samples, forward, **(settings or {}))


def _joined(name: str, graph: Graph, steps: Sequence[Compressed]) -> Compressed:
    made = steps[-1].graph
    reports = [step.report for step in steps]
    settings = {f"{number}. {each.method}": each.settings for number, each in enumerate(reports, 1)}
    return Compressed(made, Report.of(name, graph, made, settings=settings, steps=reports))


# --- as methods that a search may try: pruning gives the ladder, the others take what they have by default


def _ladder(graph: Graph) -> Iterator[Settings]:
    for settings in PRUNE.settings(graph):
        yield {"prune": settings}


def _one(graph: Graph) -> Iterator[Settings]:
    del graph
    yield {}


PRUNE_QUANTIZE = Entry("prune_quantize", frozenset({"samples"}), prune_quantize, _ladder)
DISTIL_QUANTIZE = Entry("distil_quantize", frozenset({"samples", "train"}), distil_quantize, _one)
PRUNE_DISTIL_QUANTIZE = Entry("prune_distil_quantize", frozenset({"samples", "train"}), prune_distil_quantize, _ladder)
