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

__all__ = ["DIGEST_BYTES", "digest", "digest_array", "feed", "raw_bytes"]

DIGEST_BYTES = 16


def digest(graph: Graph) -> str:
    """Digest of a model."""
    state = hashlib.blake2b(digest_size=DIGEST_BYTES)
    opsets = sorted(graph.source.opset_imports.items())
    functions = [
        ir.serde.serialize_function(f).SerializeToString(deterministic=True)
        for _, f in sorted(graph.source.functions.items())
    ]
    feed(state, [repr(opsets), _borders(graph.inputs), _borders(graph.outputs), functions])
    for node in graph.nodes:
        attributes = [[key, _plain(value)] for key, value in sorted(node.attributes.items())]
        feed(state, [node.op_type, node.domain, node.overload, list(node.inputs), list(node.outputs), attributes])
    for name in sorted(graph.constants):
        feed(state, [name, digest_array(graph.constants[name])])
    return state.hexdigest()


def digest_array(array: np.ndarray[Any, Any]) -> str:
    """Digest of an array's type, shape and values, whatever its memory layout."""
    state = hashlib.blake2b(digest_size=DIGEST_BYTES)
    feed(state, [str(array.dtype), repr(array.shape)])
    state.update(raw_bytes(array))
    return state.hexdigest()


def raw_bytes(array: np.ndarray[Any, Any]) -> memoryview | bytes:
    """The values in C order: the array's own memory where it is contiguous. Of text, every string with its length."""
    if array.dtype == object:
        texts = [repr(value).encode() for value in array.ravel().tolist()]
        return b"".join(b"%d:" % len(text) + text for text in texts)
    if not array.nbytes:
        return b""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _borders(infos: tuple[TensorInfo, ...]) -> list[str]:
    return [f"{info.name}: {info.dtype}" for info in infos]


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return digest_array(value)
    if isinstance(value, ir.Graph):
        return ir.serde.serialize_graph(value).SerializeToString(deterministic=True)
    return [_plain(item) for item in value] if isinstance(value, tuple) else repr(value)


def feed(state: Any, items: Iterable[Any]) -> None:
    """Every item with its kind and length first, so that no two different lists feed the same bytes."""
    for item in items:
        if isinstance(item, list):
            state.update(b"[%d" % len(item))
            feed(state, item)
        else:
            data = item if isinstance(item, bytes) else str(item).encode()
            state.update(b"%d:" % len(data) + data)
