"""Scales and zero points from samples: one pass over them, one histogram per scale.

Values that are only moved have the scale of where they come from, so one histogram counts them all once, at their
source. The sides of a Concat share a scale where their ranges are alike (`UNLIKE`): runtimes then join codes as they
are. Where they are not, a common scale would make the narrow side coarse, and a requantization is the better price.

Where each channel has codes of its own, they cover what was seen of it: a few values say little about how to clip.

The model's inputs keep their full range whatever the calibration: pictures take 256 values, and only codes of the full
range are the same 256.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from reconv.compress.forward import Array, Feeds, Forward, values_of
from reconv.compress.quantize.beside import Beside
from reconv.compress.quantize.observers import Histogram, choose
from reconv.compress.quantize.place import ABSORBED, Layer, Places
from reconv.compress.quantize.scheme import Codes, Scheme
from reconv.graph import Graph

__all__ = ["calibrate"]

UNLIKE = 2.0  # sides of a concat whose ranges differ by more keep scales of their own: one bit is lost at most


def calibrate(
    graph: Graph, places: Places, samples: Sequence[Feeds], forward: Forward, scheme: Scheme
) -> dict[str, Codes]:
    """Codes for every point.

    Raises:
        InputError: there are no samples, or one lacks an input.
    """
    histograms = {leader: Histogram() for leader in dict.fromkeys(places.points.values())}
    watched = list(histograms)
    lows: dict[str, Array] = {}
    highs: dict[str, Array] = {}
    for values in values_of(forward, graph, watched, samples):
        for name in watched:
            if name in places.separate:
                others = tuple(axis for axis in range(values[name].ndim) if axis != 1)
                lows[name] = np.minimum(lows.get(name, np.inf), values[name].min(others))
                highs[name] = np.maximum(highs.get(name, -np.inf), values[name].max(others))
            else:
                histograms[name].add(values[name])
    merged = _joined(places, histograms)
    owners: dict[int, list[str]] = {}
    for name, leader in places.points.items():
        owners.setdefault(id(merged[leader]), []).append(name)
    groups = [(merged[places.points[names[0]]], names) for names in owners.values()]
    if scheme.calibration == "layers":
        chosen = _by_layers(graph, places, groups, samples, forward, scheme)
    else:
        chosen = [_codes(histogram, scheme.calibration, scheme) for histogram, _ in groups]
    inputs = {info.name for info in graph.inputs}
    chosen = [
        _codes(histogram, "minmax", scheme) if inputs & set(names) else picked
        for picked, (histogram, names) in zip(chosen, groups, strict=True)
    ]
    codes = {name: picked for picked, (_, names) in zip(chosen, groups, strict=True) for name in names}
    symmetric = scheme.symmetric_activations
    for name, low in lows.items():
        codes[name] = Codes.per_channel(low, highs[name], symmetric=symmetric)
    return {name: codes[name] for name in places.points}


def _codes(histogram: Histogram, calibration: str, scheme: Scheme, percentile: float | None = None) -> Codes:
    symmetric = scheme.symmetric_activations
    share = scheme.percentile if percentile is None else percentile
    return Codes.covering(*choose(histogram, calibration, share, symmetric=symmetric), symmetric=symmetric)


def _by_layers(  # noqa: PLR0917
    graph: Graph,
    places: Places,
    groups: Sequence[tuple[Histogram, Sequence[str]]],
    samples: Sequence[Feeds],
    forward: Forward,
    scheme: Scheme,
) -> list[Codes]:
    """Of the codes that the other calibrations choose those with the least squared error behind the layers."""
    beside = Beside(graph)
    readers: dict[str, list[Layer]] = {}
    for layer in places.layers:
        readers.setdefault(layer.x, []).append(layer)
    after = {node.inputs[0]: node for node in graph.nodes if node.name in places.computed and node.op_type in ABSORBED}
    energies: dict[str, str] = {}
    errors: list[dict[Codes, list[tuple[str, str]]]] = []
    for histogram, names in groups:
        tried: dict[Codes, list[tuple[str, str]]] = {}
        for calibration, share in _TRIED:
            tried.setdefault(_codes(histogram, calibration, scheme, share), [])
        for codes, measured in tried.items():
            for layer in (layer for name in names for layer in readers.get(name, ())):
                y, made = layer.y, beside.copy(layer.node, (beside.rounded(layer.x, codes),))
                if y in after:
                    made, y = beside.copy(after[y], (made,)), after[y].outputs[0]
                if y not in energies:
                    energies[y] = beside.node(y, "ReduceSumSquare", (y,), {"keepdims": 0})
                error = beside.node(y, "Sub", (y, made))
                measured.append((beside.node(y, "ReduceSumSquare", (error,), {"keepdims": 0}), energies[y]))
        errors.append(tried)
    asked = [name for tried in errors for measured in tried.values() for pair in measured for name in pair]
    totals = dict.fromkeys(asked, 0.0)
    for values in values_of(forward, beside.graph(), asked, samples) if asked else ():
        for name in totals:
            totals[name] += float(values[name])
    found = []
    for tried in errors:
        costs = {
            codes: sum(totals[error] / max(totals[energy], 1e-30) for error, energy in measured)
            for codes, measured in tried.items()
        }
        found.append(min(costs, key=costs.__getitem__))  # the first, by mse, where no layer reads them
    return found


_TRIED = (
    ("mse", None),
    ("minmax", None),
    ("percentile", 99.999),
    ("percentile", 99.99),
    ("percentile", 99.9),
    ("percentile", 99.7),
)


def _joined(places: Places, histograms: Mapping[str, Histogram]) -> dict[str, Histogram]:
    """The histogram that counts for each leader: a common one where sides of a Concat are alike."""
    groups = {name: [name] for name in histograms}

    def extent(name: str) -> float:
        low = min(histograms[member].low for member in groups[name])
        high = max(histograms[member].high for member in groups[name])
        return max(high, 0.0) - min(low, 0.0)

    for join in places.joins:
        sides = [places.points[name] for name in (join.output, *join.inputs) if name in places.points]
        distinct = list({id(groups[name]): name for name in sides}.values())
        extents = [extent(name) for name in distinct]
        if len(distinct) > 1 and max(extents) <= UNLIKE * min(extents):
            together = [member for name in distinct for member in groups[name]]
            for member in together:
                groups[member] = together
    found: dict[str, Histogram] = {}
    for members in {id(group): group for group in groups.values()}.values():
        total = histograms[members[0]] if len(members) == 1 else Histogram()
        if len(members) > 1:
            for member in members:
                total.merge(histograms[member])
        found.update(dict.fromkeys(members, total))
    return found
