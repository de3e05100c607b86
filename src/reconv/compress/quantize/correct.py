"""Bias correction (Nagel et al. 2019, arXiv 1906.04721, section 4.2), empirical and per output channel.

    b' = b + E[W x + b] - E[W' x' + b]

with x' the rounded and clipped input and W' the rounded weights: the mean error that a layer of codes adds is taken out
of its bias. The means are over the samples and all pixels, added up as the samples pass (see `beside`: one pass serves
all layers, and only numbers per channel come out).

x is the layer's input in the float model. The other way, x' from the model quantized up to there, one layer after
the other, takes a pass for each layer; on MobileNetV2 it took fifteen times as long and its output error was larger.
A MatMul has no bias and stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from reconv.compress.forward import Feeds, Forward, values_of
from reconv.compress.quantize.beside import Beside
from reconv.compress.quantize.place import Layer, Places
from reconv.compress.quantize.scheme import Codes, Scheme
from reconv.compress.quantize.write import weights_of
from reconv.graph import Graph

__all__ = ["corrected_biases"]

Array = np.ndarray[Any, Any]


def corrected_biases(  # noqa: PLR0917
    graph: Graph, places: Places, codes: Mapping[str, Codes], samples: Sequence[Feeds], forward: Forward, scheme: Scheme
) -> dict[str, Array]:
    """By layer name the bias, float32 (channels,), with which the layer's mean error on the samples is zero."""
    beside = Beside(graph)
    errors = {
        layer.name: _error(beside, graph, layer, codes[layer.x], scheme)
        for layer in places.layers
        if layer.node.op_type != "MatMul"
    }
    if not errors:
        return {}
    total: dict[str, Array] = {}
    for values in values_of(forward, beside.graph(), list(errors.values()), samples):
        for owner, name in errors.items():
            channels = np.moveaxis(values[name], 1, 0).reshape(values[name].shape[1], -1)
            total[owner] = total.get(owner, 0.0) + channels.mean(1, dtype=np.float64)
    found = {}
    for layer in places.layers:
        if layer.name in total:
            bias = graph.constants[layer.bias] if layer.bias else 0.0
            found[layer.name] = np.asarray(bias + total[layer.name] / len(samples), np.float32)
    return found


def _error(beside: Beside, graph: Graph, layer: Layer, codes: Codes, scheme: Scheme) -> str:
    """Name of the layer's float result less its result with codes: (N, channels), or its mean over the pixels."""
    bias = graph.constants[layer.bias] if layer.bias else None
    weight = beside.constant(layer.name, weights_of(graph, layer, codes.scales, bias, scheme).reals)
    error = beside.node(layer.name, "Sub", (layer.y, beside.copy(layer.node, (beside.rounded(layer.x, codes), weight))))
    return beside.node(layer.name, "GlobalAveragePool", (error,)) if layer.node.op_type == "Conv" else error
