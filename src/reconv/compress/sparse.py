"""Sparsity: single weights become zero, the smallest first (Han et al. 2015; N:M as Mishra et al. 2021).

- ``ratio``: so large a share of each layer's weights, or of all layers' together (``scope="global"``, by magnitude in
  units of the layer's root mean square, so that layers of different scales compare). Counts are exact: of n weights
  floor(ratio n + 1/2) are zero, or more where the layer had more zeros already; ties go by position.
- ``pattern="2:4"``: of every M = 4 neighbours along the input channels at most N = 2 are kept. Where M does not divide
  the channels, the rest group keeps at most N too.

The graph keeps its nodes: a dense file with zeros in it. That file gets smaller only by a compressor (the report says
what `result.PACKER` makes of it), and runtimes for CPUs multiply with zeros as with any number: no speed is claimed.
ONNX has ``sparse_initializer``, which needs 8 bytes for the place of each weight of 4 bytes, and which runtimes make
dense when they load; it is not used.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from reconv.compress.result import Compressed, Entry, LayerReport, Report
from reconv.compress.weights import Weight, chosen, relative_error
from reconv.errors import InputError, ModelError
from reconv.graph import Graph, with_constants

if TYPE_CHECKING:
    from reconv.compress.forward import Feeds, Forward

__all__ = ["SPARSIFY", "sparsify"]

Array = np.ndarray[Any, Any]
SCOPES = ("layer", "global")


def sparsify(
    graph: Graph,
    *,
    ratio: float = 0.5,
    pattern: str | None = None,
    scope: str = "layer",
    exclude: Collection[str] = (),
    only: Collection[str] | None = None,
) -> Compressed:
    """Set the smallest weights to zero.

    Args:
        graph: a float model; batch norm that is not folded is left alone.
        ratio: share of weights that become zero, 0 to 1 (without ``pattern``).
        pattern: "N:M": keep at most N of every M neighbours along the input channels.
        scope: "layer" (each layer loses the share) or "global" (all together do).
        exclude, only: names of nodes.

    Raises:
        InputError: a ratio, pattern, scope or name that makes no sense.
        ModelError: the graph is quantized, or has no weights that may be taken.
    """
    kept, of = _pattern(pattern) if pattern is not None else (0, 0)
    if not 0 <= ratio < 1:
        raise InputError(f"ratio is the share of weights that become zero, from 0 to below 1; got {ratio}")
    if scope not in SCOPES:
        raise InputError(f"scope is {' or '.join(SCOPES)}; got {scope!r}")
    if of and scope != "layer":
        raise InputError(f"the pattern {pattern} says how many weights go: scope='global' does not fit it")
    weights = chosen(graph, exclude, only)
    if not weights:
        raise ModelError("there is no layer with constant float32 weights that could be made sparse")
    if of:
        masks = [_few_of_each(weight, kept, of) for weight in weights]
    elif scope == "layer":
        masks = [_largest(np.abs(weight.array), _count(ratio, weight.array.size)) for weight in weights]
    else:
        masks = _largest_of_all(weights, ratio)
    changed = {w.name: np.where(mask, w.array, np.float32(0)) for w, mask in zip(weights, masks, strict=True)}
    made = with_constants(graph, changed)
    layers = [_told(weight, changed[weight.name]) for weight in weights]
    zeros, total = (sum(layer.facts[key] for layer in layers) for key in ("zeros", "weights"))
    settings = {"pattern": pattern} if of else {"ratio": ratio, "scope": scope}
    notes = [
        f"{zeros} of {total} weights are zero ({zeros / total:.1%})",
        "the file is dense: it gets smaller when it is packed, and runs no faster where zeros are multiplied like "
        "other weights",
    ]
    report = Report.of("sparsify", graph, made, settings=settings, layers=layers, notes=notes, packed=True)
    return Compressed(made, report)


def _call(graph: Graph, samples: Sequence[Feeds], forward: Forward, **settings: Any) -> Compressed:
    del samples, forward  # the weights tell everything
    return sparsify(graph, **settings)


def _settings(graph: Graph) -> Iterator[Mapping[str, Any]]:
    del graph
    yield from ({"ratio": ratio} for ratio in (0.3, 0.5, 0.7))
    yield {"pattern": "2:4"}


SPARSIFY = Entry("sparsify", frozenset(), _call, _settings)
"""`sparsify` as a method that a search may try."""


def _pattern(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+):(\d+)", text)
    kept, of = (int(part) for part in found.groups()) if found else (0, 0)
    if not 0 < kept < of:
        raise InputError(f"a pattern is N:M with 0 < N < M, as in 2:4; got {text!r}")
    return kept, of


def _count(ratio: float, size: int) -> int:
    """How many of so many weights are kept."""
    return size - int(np.floor(ratio * size + 0.5))


def _largest(magnitudes: Array, count: int) -> Array:
    """Where the ``count`` largest are; of equal ones the first."""
    order = np.argsort(-magnitudes, axis=None, kind="stable")
    mask = np.zeros(magnitudes.size, bool)
    mask[order[:count]] = True
    return mask.reshape(magnitudes.shape)


def _largest_of_all(weights: Sequence[Weight], ratio: float) -> list[Array]:
    parts = []
    for weight in weights:
        exact = np.abs(weight.array.astype(np.float64)).reshape(-1)
        scale = float(np.sqrt(np.mean(exact**2)))
        parts.append(exact / scale if scale else exact)
    everything = np.concatenate(parts)
    mask = _largest(everything, _count(ratio, everything.size))
    ends = np.cumsum([part.size for part in parts])[:-1]
    return [part.reshape(w.array.shape) for part, w in zip(np.split(mask, ends), weights, strict=True)]


def _few_of_each(weight: Weight, kept: int, of: int) -> Array:
    """Where the ``kept`` largest of each ``of`` neighbours along the input channels are."""
    rows = np.moveaxis(np.abs(weight.array), weight.ins, -1)
    missing = -rows.shape[-1] % of
    padded = np.concatenate([rows, np.full((*rows.shape[:-1], missing), -1, rows.dtype)], axis=-1)  # never among them
    groups = padded.reshape(-1, of)
    places = np.argsort(np.argsort(-groups, axis=1, kind="stable"), axis=1)
    mask = (places < kept).reshape(padded.shape)[..., : rows.shape[-1]]
    return np.moveaxis(mask, -1, weight.ins)


def _told(weight: Weight, made: Array) -> LayerReport:
    zeros = int(made.size - np.count_nonzero(made))
    error = relative_error(weight.array, made)
    return LayerReport(weight.layer, {"weights": int(made.size), "zeros": zeros, "weight_error": error})
