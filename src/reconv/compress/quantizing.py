"""`quantize` as a method that a search may try."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reconv.compress.quantize.place import find_layers
from reconv.compress.quantize.quantize import quantize
from reconv.compress.result import Entry
from reconv.compress.weights import QUANTIZED
from reconv.graph import Graph

__all__ = ["QUANTIZE"]


def _settings(graph: Graph) -> Iterator[Mapping[str, Any]]:
    """Which layers stay float is for a search with sensitivities to find; here are the calibrations."""
    if find_layers(graph) and all(node.op_type not in QUANTIZED for node in graph.nodes):
        yield from ({"calibration": name} for name in ("mse", "minmax", "percentile", "entropy", "layers"))
        yield {"calibration": "percentile", "percentile": 99.999}


QUANTIZE = Entry("quantize", frozenset({"samples"}), quantize, _settings)
