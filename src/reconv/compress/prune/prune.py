"""Structured pruning: whole channels go, with everything that shares them, and an ordinary smaller model is left."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from reconv.compress.forward import Feeds, Forward
from reconv.compress.prune.choose import Choice, choose, named
from reconv.compress.prune.cut import cut
from reconv.compress.prune.groups import Group, groups_of
from reconv.compress.prune.importance import Gradients, activation, constant, magnitude, taylor
from reconv.compress.prune.moments import Moments, moments
from reconv.compress.prune.sensitivity import measured
from reconv.compress.prune.table import trace
from reconv.compress.prune.walk import Walk
from reconv.compress.result import Compressed, LayerReport, Report
from reconv.compress.weights import check_float
from reconv.errors import InputError, ModelError
from reconv.graph import Graph, multiply_adds, shapes_of, with_shapes

__all__ = ["PRUNE", "Prune", "prune"]

Array = np.ndarray[Any, Any]
IMPORTANCES = ("magnitude", "activation", "taylor")


def prune(
    graph: Graph,
    *,
    ratio: float = 0.5,
    ratios: Mapping[str, float] | None = None,
    importance: str | None = None,
    samples: Sequence[Feeds] = (),
    forward: Forward | None = None,
    gradients: Gradients | None = None,
    scope: str = "layer",
    sensitivity: Mapping[str, float] | str | None = None,
    multiple: int = 8,
    least: int = 8,
    keep: Collection[str] = (),
    compensate: bool = True,
    order: int = 2,
) -> Compressed:
    """Remove channels.

    Args:
        graph: a float model, with or without batch norms.
        ratio: share of the channels that go, 0 to below 1.
        ratios: instead, by the name of a group or of a layer in one; all others stay.
        importance: "magnitude" (of the weights), "activation" (needs samples and ``forward``) or "taylor" (needs
            ``gradients``); None: "activation" where there are samples, else "magnitude".
        samples: inputs as the model will meet them.
        forward: computes the values inside of the model on them.
        gradients: of the loss by the weights, by their names; or one mapping for each batch, which is better.
        scope: "layer" (each group loses the share) or "global" (all together do, the least important first).
        sensitivity: globally, what the scores of a group are multiplied with, by its name or a layer's; 1 for others.
            "measured": what pruning each group alone does to the outputs on samples (`sensitivity.measured`).
        multiple: channels stay in multiples of this.
        least: so many channels stay at least.
        keep: names of layers or groups that stay whole.
        compensate: where there are samples, the weights and biases of the layers that read what goes make up for it
            (`moments`).
        order: of the norm of "magnitude", 1 or 2.

    Raises:
        ModelError: the model is quantized, or no channel of it can go.
        InputError: a setting that makes no sense, a name that is unknown, samples that do not fit.
    """
    check_float(graph)
    known = len(samples) > 0 and forward is not None
    if importance is None:
        importance = "activation" if known else "magnitude"
    if importance not in IMPORTANCES:
        raise InputError(f"importance is {', '.join(IMPORTANCES[:-1])} or {IMPORTANCES[-1]}; got {importance!r}")
    if order not in (1, 2):
        raise InputError(f"order is 1 or 2; got {order}")
    factors = None if isinstance(sensitivity, str) else sensitivity
    choice = Choice(ratio, ratios, scope, multiple, least, factors, comparable=importance != "magnitude")
    if isinstance(sensitivity, str):
        _check_measured(sensitivity, choice, known)
    walk = trace(graph)
    groups = _without(graph, groups_of(walk), keep)
    if not groups:
        raise ModelError("no channel of the model can be removed: " + _why(walk))
    if importance == "activation" and not known:
        raise InputError("importance 'activation' needs samples: pass some inputs as the model will meet them")
    found: Mapping[str, Moments] = {}
    if known and forward is not None and (compensate or importance == "activation"):
        found = moments(walk, forward, samples, together=compensate)
    scores = _scores(walk, groups, importance, found=found, gradients=gradients, compensate=compensate, order=order)
    if isinstance(sensitivity, str) and forward is not None:
        factors = measured(
            walk, groups, scores, comparable=choice.comparable, forward=forward, samples=samples, known=found
        )
        choice = replace(choice, sensitivity=factors)
    going = choose(groups, scores, choice)
    roots = [group.roots[unit] for group, units in zip(groups, going, strict=True) for unit in units]
    if not roots:
        raise ModelError(
            f"nothing is removed: no group loses channels at ratio {ratio} in multiples of {multiple}, at least "
            f"{least}; the largest has {max(group.channels for group in groups)}. Ask for a larger ratio or a smaller "
            "multiple"
        )
    made = cut(walk, roots, found if compensate else {})
    settings: dict[str, Any] = {"importance": importance, "multiple": multiple, "least": least}
    settings |= {"ratios": dict(ratios)} if ratios is not None else {"ratio": ratio, "scope": scope}
    if sensitivity is not None:
        settings["sensitivity"] = sensitivity if isinstance(sensitivity, str) else dict(sensitivity)
    if keep:
        settings["keep"] = sorted(keep)
    layers = [_told(group, units) for group, units in zip(groups, going, strict=True) if len(units)]
    report = Report.of(
        "prune", graph, made, settings=settings, layers=layers, notes=_notes(graph, made, samples, compensate and known)
    )
    return Compressed(made, report)


class Prune:
    """`prune` as a method that a search may try."""

    name = "prune"
    needs: frozenset[str] = frozenset({"samples"})

    def settings(self, graph: Graph) -> Iterator[Mapping[str, Any]]:
        try:
            check_float(graph)
            if not groups_of(trace(graph)):
                return
        except ModelError:
            return
        for ratio in (0.1, 0.2, 0.3, 0.4, 0.5):
            yield {"ratio": ratio, "importance": "activation", "scope": "global"}
            yield {"ratio": ratio, "importance": "activation"}

    def apply(self, graph: Graph, samples: Sequence[Feeds], forward: Forward, **settings: Any) -> Compressed:
        return prune(graph, samples=samples, forward=forward, **settings)


PRUNE = Prune()


def _without(graph: Graph, groups: list[Group], keep: Collection[str]) -> list[Group]:
    nodes = {node.name for node in graph.nodes}
    kept: set[int] = set()
    for name in keep:
        if name not in nodes or any(name in (group.name, *group.layers) for group in groups):
            kept.update(named(groups, name))
    return [group for at, group in enumerate(groups) if at not in kept]


def _check_measured(sensitivity: str, choice: Choice, known: bool) -> None:
    if sensitivity != "measured":
        raise InputError(f"sensitivity is a number by layer, or 'measured'; got {sensitivity!r}")
    if choice.scope != "global" or choice.ratios is not None:
        raise InputError("sensitivity weighs groups against each other: it wants scope 'global' and no ratios")
    if not known:
        raise InputError("a measured sensitivity needs samples: pass some inputs as the model will meet them")


def _why(walk: Walk) -> str:
    for layer in walk.layers:
        for root in walk.atoms.roots(layer.outs).tolist():
            if (reason := walk.atoms.reason(root)) is not None:
                return f"those of {layer.node.name!r} stay because of {reason}"
    return "it has no layer with constant weights whose result another one reads"


def _scores(
    walk: Walk,
    groups: Sequence[Group],
    importance: str,
    *,
    found: Mapping[str, Moments],
    gradients: Gradients | None,
    compensate: bool,
    order: int,
) -> list[Array]:
    if importance == "magnitude":
        scores = magnitude(walk, groups, order)
    elif importance == "activation":
        scores = activation(walk, groups, found, made_up=compensate)
    elif gradients is None:
        raise InputError("importance 'taylor' needs the gradients of the loss by the weights")
    else:
        scores = taylor(walk, groups, gradients)
    return [np.where(free, 0.0, score) for free, score in zip(constant(walk, groups), scores, strict=True)]


def _told(group: Group, units: Array) -> LayerReport:
    facts = {
        "channels": group.channels,
        "kept": group.channels - group.width * len(units),
        "layers": list(group.layers),
        "readers": list(group.readers),
    }
    return LayerReport(group.name, facts)


def _notes(graph: Graph, made: Graph, samples: Sequence[Feeds], compensated: bool) -> Iterator[str]:
    shapes = {name: np.shape(value) for name, value in samples[0].items()} if len(samples) else {}
    counts = [_work(g, {k: v for k, v in shapes.items() if k in {i.name for i in g.inputs}}) for g in (graph, made)]
    if counts[0] and counts[1]:
        yield f"multiply-adds {counts[0]} -> {counts[1]} ({counts[1] / counts[0]:.1%})"
    weights = [sum(a.size for a in g.constants.values() if a.dtype.kind == "f") for g in (graph, made)]
    yield f"weights {weights[0]} -> {weights[1]} ({weights[1] / max(weights[0], 1):.1%})"
    if compensated:
        yield "what stayed stands in for what went, as well as it can on the samples, in the weights that read it"


def _work(graph: Graph, sizes: Mapping[str, tuple[int, ...]]) -> int | None:
    """Multiply-adds, at the sizes of a sample where the model leaves them free; None where they stay unknown."""
    shapes = shapes_of(with_shapes(graph, sizes) if sizes else graph)
    counts = [multiply_adds(node, shapes) for node in graph.nodes]
    return None if None in counts else sum(n or 0 for n in counts)
