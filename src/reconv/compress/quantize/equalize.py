"""Cross-layer equalisation (Nagel et al. 2019, arXiv 1906.04721, section 4.1), over whole groups of values.

    W2 f(W1 x + b1) = (W2 S) f(S^-1 W1 x + S^-1 b1)    for a positive diagonal S and f(s x) = s f(x)

One scale serves a whole map, so a channel with small values gets few codes. Dividing channel i by s_i evens that out;
the layers before take it into their rows, whose weights have scales of their own, and the layers after into their
columns. f may be nothing, Relu, LeakyRelu, a pool, a resize, and sums: all values that such operators connect (a
residual chain, say) form a group with one S. Depthwise layers end one group and begin another.

Clip from 0 to c (ReLU6) is not homogeneous. Where a channel is multiplied by 1 / s_i >= 1 its limit becomes s_i c, so
s_i is held between its greatest value on the samples (with `MARGIN`) over c, and 1: on the samples nothing changes,
and beyond them the channel is clipped at its own range, which quantization does anyhow.

The paper balances ranges of weights; with a scale per output channel rows cost nothing. Here S is the one, among powers
of (range of the channel) and (weights that read it), whose expected rounding noise behind the group is least: noise of
the activations through the weights plus noise of the weights through the activations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from reconv.compress.forward import Feeds, Forward, values_of
from reconv.compress.quantize.place import Layer, find_layers
from reconv.compress.quantize.scheme import Scheme
from reconv.graph import Graph, Node, with_constants

__all__ = ["Group", "equalize", "find_groups"]

Array = np.ndarray[Any, Any]

_POOLS = frozenset(("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"))
HOMOGENEOUS = frozenset(("Relu", "LeakyRelu", "Clip", "Add", "Resize", "Identity", "Dropout", "Flatten", *_POOLS))
MARGIN = 2.0
_POWERS = ((0.0, 0.0), *((a, b) for a in (0.25, 0.5, 0.75, 1.0) for b in (0.0, 0.25, 0.5) if a + b <= 1.0))


@dataclass(eq=False)
class Group:
    """Values that share channels. before: layers that make them, after: layers that read them; limit: the upper end of
    the Clips inside (inf without); values: their names; refused: why the group cannot be scaled ("" where it can)."""

    values: list[str] = field(default_factory=list)
    before: list[Layer] = field(default_factory=list)
    after: list[Layer] = field(default_factory=list)
    limit: float = np.inf
    refused: str = ""


def equalize(
    graph: Graph, samples: Sequence[Feeds], forward: Forward, scheme: Scheme
) -> tuple[Graph, dict[str, float]]:
    """The graph with channels evened out, and by value the largest factor that a channel of it was multiplied by.

    Layers that the scheme leaves float stay bit for bit, and so does what meets them.
    """
    groups = [group for group in find_groups(graph, scheme) if not group.refused]
    if not groups:
        return graph, {}
    watched = {name: group for group in groups for name in _read(group)}
    high: dict[int, Array] = {}
    square: dict[int, Array] = {}
    low: dict[int, float] = {}
    for values in values_of(forward, graph, list(watched), samples):
        for name, group in watched.items():
            channels = np.moveaxis(values[name], 1, 0).reshape(values[name].shape[1], -1)
            key = id(group)
            top = np.abs(channels).max(1, initial=0).astype(np.float64)
            high[key] = np.maximum(high.get(key, 0.0), top)
            square[key] = square.get(key, 0.0) + np.square(channels, dtype=np.float64).mean(1)
            low[key] = min(low.get(key, 0.0), float(channels.min(initial=0)))
    weights: dict[str, Array] = {}
    done: dict[str, float] = {}
    for group in groups:
        key = id(group)
        if high[key].size != _rows(graph, group.before[0]) or not np.isfinite(high[key]).all():
            continue
        scales = _best(graph, group, weights, high[key], square[key] / len(samples), signed=low[key] < 0)
        if scales is not None:
            _scale(graph, group, weights, scales)
            done[group.values[0]] = float((1 / scales).max())
    return (with_constants(graph, weights) if weights else graph), done


def find_groups(graph: Graph, scheme: Scheme) -> list[Group]:
    """All groups between layers, with the reason where one cannot be scaled."""
    layers = {layer.name: layer for layer in find_layers(graph)}
    readers = {name: sum(name in node.inputs for node in graph.nodes) for name in graph.constants}
    parents: dict[str, str] = {}

    def leader(name: str) -> str:
        while parents.setdefault(name, name) != name:
            name = parents[name]
        return name

    for node in graph.nodes:
        if _joins(node):
            for name in node.inputs[: None if node.op_type == "Add" else 1]:
                parents[leader(name)] = leader(node.outputs[0])
    groups: dict[str, Group] = {}

    def group_of(name: str) -> Group:
        group = groups.setdefault(leader(name), Group())
        if name not in group.values:
            group.values.append(name)
        return group

    for node in graph.nodes:
        layer = layers.get(node.name)
        if layer is not None:
            shared = any(readers.get(name, 0) > 1 for name in (layer.weight, layer.bias) if name)
            why = "a layer stays float" if not scheme.takes(layer.name) else "weights are shared" if shared else ""
            for group, members in ((group_of(layer.y), "before"), (group_of(layer.x), "after")):
                getattr(group, members).append(layer)
                group.refused = group.refused or why
            continue
        for name in (*node.reads, *node.outputs):
            if name in graph.constants:
                if node.op_type == "Add":
                    group_of(node.outputs[0]).refused = "a constant is added"
            elif name:
                group = group_of(name)
                if not _joins(node):
                    group.refused = group.refused or f"{node.op_type} is not homogeneous"
                elif node.op_type == "Clip":
                    _limit(graph, node, group)
    for info in (*graph.inputs, *graph.outputs):
        group_of(info.name).refused = "it is an input or output of the model"
    for group in groups.values():
        counts = {_rows(graph, x) for x in group.before} | {_columns(graph, x) for x in group.after}
        if not group.before or not group.after or len(counts) > 1:
            group.refused = group.refused or "its channels are not those of layers on both sides"
    return list(groups.values())


def _joins(node: Node) -> bool:
    return node.op_type in HOMOGENEOUS and not node.domain and not node.captures


def _limit(graph: Graph, node: Node, group: Group) -> None:
    ends = [graph.constants.get(name) if name else None for name in (*node.inputs[1:], "", "")[:2]]
    if ends[0] is None or ends[0].size != 1 or float(ends[0].reshape(())) != 0 or (ends[1] is None and node.inputs[2:]):
        group.refused = group.refused or "a Clip does not begin at 0"
    elif ends[1] is not None:
        group.limit = min(group.limit, float(ends[1].reshape(())))


def _read(group: Group) -> Iterator[str]:
    return iter(dict.fromkeys(layer.x for layer in group.after))


def _rows(graph: Graph, layer: Layer) -> int:
    return int(graph.constants[layer.weight].shape[layer.axis])


def _columns(graph: Graph, layer: Layer) -> int:
    shape = graph.constants[layer.weight].shape
    if layer.node.op_type == "Conv":
        return int(shape[1]) * int(layer.node.attributes.get("group", 1))
    return int(shape[1 - layer.axis])


def _matrix(weight: Array, layer: Layer) -> Array:
    """The weight as (rows, columns of the row's group, taps)."""
    rows = np.moveaxis(weight, layer.axis, 0)
    return rows.reshape(rows.shape[0], rows.shape[1], -1)


def _channels_read(graph: Graph, layer: Layer) -> Array:
    """Which channel of the input each column of each row reads: (rows, columns)."""
    rows, columns = _matrix(graph.constants[layer.weight], layer).shape[:2]
    groups = int(layer.node.attributes.get("group", 1)) if layer.node.op_type == "Conv" else 1
    return np.asarray((np.arange(rows) // (rows // groups))[:, None] * columns + np.arange(columns))


def _best(
    graph: Graph, group: Group, weights: Mapping[str, Array], high: Array, square: Array, *, signed: bool
) -> Array | None:
    """The scales of least noise, None where nothing beats 1."""
    parts = []
    size = np.zeros_like(high)
    for layer in group.after:
        matrix = _matrix(weights.get(layer.weight, graph.constants[layer.weight]), layer).astype(np.float64)
        read = _channels_read(graph, layer)
        peak = np.abs(matrix).max(2)
        np.maximum.at(size, read, peak / np.maximum(np.abs(matrix).max((1, 2))[:, None], 1e-30))
        parts.append((np.square(matrix).sum(2), peak, read, matrix.shape[2]))
    alive = (high > 0) & (size > 0)
    if not alive.any():
        return None
    levels = 127.0 if signed else 255.0

    def noise(scales: Array) -> float:
        step = (high / scales).max() / levels
        total = 0.0
        for energy, peak, read, taps in parts:
            s, x2 = scales[read], square[read]
            rows = (peak * s).max(1) / 127.0
            made = (energy * np.square(s)).sum() * step**2 + taps * (np.square(rows)[:, None] * x2 / np.square(s)).sum()
            total += made / max(float((energy * x2).sum()), 1e-30)
        return float(total)

    best, least = None, noise(np.ones_like(high)) * 0.95  # what gains less is not worth the rounding
    for of_range, of_weight in _POWERS[1:]:
        scales = np.ones_like(high)
        scales[alive] = high[alive] ** of_range / size[alive] ** of_weight
        scales = _allowed(scales, alive, high, group.limit)
        found = noise(scales)
        if found < least:
            best, least = scales, found
    return best


def _allowed(scales: Array, alive: Array, high: Array, limit: float) -> Array:
    """Within what a Clip allows, and not so far apart that float32 would notice."""
    if np.isfinite(limit):
        scales = scales / scales[alive].max()
        scales = np.clip(scales, np.minimum(high * MARGIN / limit, 1.0), 1.0)
        return np.where(alive, np.maximum(scales, 1e-3), 1.0)
    scales = scales / np.exp(np.log(scales[alive]).mean())
    return np.where(alive, np.clip(scales, 1e-3, 1e3), 1.0)


def _scale(graph: Graph, group: Group, weights: dict[str, Array], scales: Array) -> None:
    for layer in group.before:
        for name, axis in ((layer.weight, layer.axis), (layer.bias, 0)):
            if name:
                value = weights.get(name, graph.constants[name])
                shape = [-1 if i == axis else 1 for i in range(value.ndim)]
                weights[name] = (value / scales.reshape(shape)).astype(np.float32)
    for layer in group.after:
        value = weights.get(layer.weight, graph.constants[layer.weight])
        rows = np.moveaxis(value, layer.axis, 0)
        factor = scales[_channels_read(graph, layer)]
        factor = factor.reshape(*factor.shape, *(1,) * (rows.ndim - 2))
        weights[layer.weight] = np.moveaxis((rows * factor).astype(np.float32), 0, layer.axis)
