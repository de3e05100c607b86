"""Content hashes, 128 bits of BLAKE2b as 32 hexadecimal digits.

Two models have the same digest exactly when nodes, constants, and the names and types of inputs and outputs are the
same, names included. Names of files, comments, metadata and the sizes that inputs are declared with do not count.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx_ir as ir

from reconv.graph.graph import Graph, TensorInfo

__all__ = ["DIGEST_BYTES", "digest", "digest_array"]

DIGEST_BYTES = 16


def digest(graph: Graph) -> str:
    """Digest of a model."""
    state = hashlib.blake2b(digest_size=DIGEST_BYTES)
    opsets = sorted(graph.source.opset_imports.items())
    functions = [
        ir.serde.serialize_function(f).SerializeToString(deterministic=True)
        for _, f in sorted(graph.source.functions.items())
    ]
    _feed(state, [repr(opsets), _borders(graph.inputs), _borders(graph.outputs), functions])
    for node in graph.nodes:
        attributes = [[key, _plain(value)] for key, value in sorted(node.attributes.items())]
        _feed(state, [node.op_type, node.domain, list(node.inputs), list(node.outputs), attributes])
    for name in sorted(graph.constants):
        _feed(state, [name, digest_array(graph.constants[name])])
    return state.hexdigest()


def digest_array(array: np.ndarray[Any, Any]) -> str:
    """Digest of an array's type, shape and values, whatever its memory layout."""
    state = hashlib.blake2b(digest_size=DIGEST_BYTES)
    _feed(state, [str(array.dtype), repr(array.shape)])
    if array.dtype == object:
        _feed(state, [repr(value) for value in array.ravel().tolist()])
    else:
        state.update(np.ascontiguousarray(array).tobytes())
    return state.hexdigest()


def _borders(infos: tuple[TensorInfo, ...]) -> list[str]:
    return [f"{info.name}: {info.dtype}" for info in infos]


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return digest_array(value)
    if isinstance(value, ir.Graph):
        return ir.serde.serialize_graph(value).SerializeToString(deterministic=True)
    return [_plain(item) for item in value] if isinstance(value, tuple) else repr(value)


def _feed(state: Any, items: Iterable[Any]) -> None:
    """Every item with its kind and length first, so that no two different lists feed the same bytes."""
    for item in items:
        if isinstance(item, list):
            state.update(b"[%d" % len(item))
            _feed(state, item)
        else:
            data = item if isinstance(item, bytes) else str(item).encode()
            state.update(b"%d:" % len(data) + data)
