"""Batches: when a model treats the items of a batch each on its own, a batch is a loop over its items.

Whether it does is found out by trying, since no list of operators tells a Reshape that mixes items from one that does
not: ONNX Runtime runs the model once on two random items together and once on each, and the results must agree. This
happens once per model, at the first batch larger than one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from reconv.engine.pixels import Feed
from reconv.engine.tail import open_session
from reconv.errors import ReconvError
from reconv.graph import Graph, TensorInfo, extract_any

__all__ = ["items_of", "join", "separable", "split"]

Array = np.ndarray[Any, Any]
F = TypeVar("F", bound=Feed)


def items_of(infos: Sequence[TensorInfo], shapes: Mapping[str, tuple[int, ...]]) -> int:
    """The batch size that these input shapes may have: 1 unless all inputs have the same free first size."""
    if not infos or any(len(i.shape) < 2 or isinstance(i.shape[0], int) for i in infos):
        return 1
    sizes = {shapes[info.name][0] for info in infos}
    return sizes.pop() if len(sizes) == 1 else 1


def split(arrays: Mapping[str, F], items: int) -> list[dict[str, F]]:
    """One dictionary per item; first axes stay, with size 1. A single item is the arrays as they are, of any rank."""
    if items == 1:
        return [dict(arrays)]
    whole: Mapping[str, Any] = arrays  # a frame of bytes is one item and does not come here
    return [{name: array[i : i + 1] for name, array in whole.items()} for i in range(items)]


def join(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The outputs of the items as those of the batch."""
    if len(results) == 1:
        return dict(results[0])
    return {name: np.concatenate([result[name] for result in results]) for name in results[0]}


def separable(graph: Graph, arrays: Mapping[str, Array], threads: int) -> bool:
    """Whether the model gives for a batch what it gives for each item alone.

    Args:
        graph: a model whose inputs all have a free first size.
        arrays: a batch of two or more items. Its sizes are used; its values only where they are not floats, because
            a blank frame would agree with anything.
        threads: of the ONNX Runtime session used.
    """
    random = np.random.default_rng(0)
    pair = {}
    for name, array in arrays.items():
        normal = random.standard_normal((2, *array.shape[1:]))
        pair[name] = normal.astype(array.dtype) if array.dtype.kind == "f" else array[:2]
    names = [info.name for info in graph.inputs]
    outputs = [info.name for info in graph.outputs if info.name not in {*names, *graph.constants}]
    free = {info.name: (None, *arrays[info.name].shape[1:]) for info in graph.inputs}
    try:
        session = open_session(extract_any(graph, names, outputs, free), threads)
        together = session.run(outputs, pair)
        alone = [session.run(outputs, item) for item in split(pair, 2)]
    except ReconvError:
        raise
    except Exception:  # ONNX Runtime refuses: a size is fixed inside, so the model takes no batches at all
        return False
    return all(_agree(whole, first, second) for whole, first, second in zip(together, alone[0], alone[1], strict=True))


def _agree(whole: Any, first: Any, second: Any) -> bool:
    if not all(isinstance(part, np.ndarray) and part.ndim for part in (whole, first, second)):
        return False
    if whole.shape[0] != 2 or first.shape != (1, *whole.shape[1:]) or second.shape != first.shape:
        return False
    joined = np.concatenate([first, second])
    if whole.dtype.kind != "f":
        return bool(np.array_equal(whole, joined))
    finite = joined[np.isfinite(joined)]
    scale = float(np.abs(finite).max()) if finite.size else 1.0
    return bool(np.allclose(whole, joined, rtol=1e-3, atol=1e-3 * scale, equal_nan=True))
