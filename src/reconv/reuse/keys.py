"""Keys: what a result was made of, in 128 bits.

    key = H(what is computed, numerics, input)        H: BLAKE2b of 128 bits over parts with their lengths

What is computed is the digest of a model or of a value in it (`reconv.graph`), the numerics say how it is computed, and
the input counts by names, types, shapes and bytes. Bits are compared, not numbers: -0.0 is not 0.0, and two NaNs with
other payloads are two inputs.

Inputs are hashed at every request, so the hash has to cost far less than a small network: BLAKE3 where the package
`blake3` is installed (``pip install 'reconv[hash]'``), SHA-256 otherwise. Both resist an adversary who chooses inputs;
to find two that meet in 128 bits takes some 2^64 tries. The name of the hash is part of the digest, so processes with
and without the package never mix up entries: they only do not share them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from reconv import _core
from reconv._version import __version__
from reconv.engine import Model
from reconv.engine.tail import RUNTIME
from reconv.errors import CacheError
from reconv.graph import Graph, draws_at_random
from reconv.graph.digest import DIGEST_BYTES, feed, raw_bytes

HASH: str = "sha256"
_new: Callable[[], Any] = hashlib.sha256
with suppress(ImportError):
    import blake3

    HASH, _new = "blake3", blake3.blake3

__all__ = ["HASH", "derived_key", "input_digest", "numerics", "refuse_random", "result_key", "values_key"]

Array = np.ndarray[Any, Any]


def input_digest(arrays: Mapping[str, Array]) -> bytes:
    """Digest of named arrays, 16 bytes: of names, types (byte order included), shapes and bits.

    The order of the names and the layout in memory do not count. Arrays that are not C-contiguous are copied first.
    """
    named = [(name, np.asarray(arrays[name])) for name in sorted(arrays)]
    contents = [raw_bytes(array) for _, array in named]
    heads = [
        (name, array.dtype.str, str(array.dtype), array.shape, len(content))
        for (name, array), content in zip(named, contents, strict=True)
    ]
    head = repr((HASH, heads)).encode()
    return _hashed([b"%d:" % len(head) + head, *contents])


def numerics(model: Model) -> str:
    """What besides model and input decides the bits of a result: reconv's version, the instruction set of its kernels,
    its precision, the runtime of the tail with its version, and what this machine has to offer to that.

    The number of threads is not in it: results do not depend on it.
    """
    del model  # every model runs alike today
    return f"reconv {__version__} {_core.default_isa()} float32 tail {RUNTIME} {_core.isas()[0]}"


def result_key(model: Model, arrays: Mapping[str, Array]) -> bytes:
    """Key of all outputs of a dense run (`Model.run`) on these inputs, 16 bytes."""
    return derived_key("result", model.digest, numerics(model), input_digest(arrays))


def values_key(digests: Sequence[bytes], model: Model, made_of: bytes, behind: Sequence[bytes] = ()) -> bytes:
    """The key that values inside of a network are kept under, as a tuple of arrays: for shared prefixes and features.

    Args:
        digests: of the values (`reconv.graph.structure`), sorted, in the order in which they are kept.
        model: what computes them.
        made_of: `input_digest` of the arrays that they depend on, named by their places among the inputs ("0", ...),
            or a name that somebody gave to these.
        behind: digests of the values that the part goes on from, sorted; none when it begins at the inputs. They say
            nothing about what is computed, but can decide its last bits: the engine plans every part by itself.
    """
    return derived_key("values", *digests, numerics(model), made_of, *behind)


def derived_key(kind: str, *parts: str | bytes) -> bytes:
    """One key of 16 bytes made of several parts; parts of another kind, number or order give another key."""
    state = hashlib.blake2b(digest_size=DIGEST_BYTES)
    feed(state, [item for part in (kind, *parts) for item in (type(part).__name__, part)])
    return state.digest()


def refuse_random(graph: Graph) -> None:
    """Called once for a model whose results are to be kept.

    Raises:
        CacheError: a node draws random numbers, so that no result is the result.
    """
    for node in graph.nodes:
        if draws_at_random(node, graph):
            raise CacheError(
                f"node {node.name!r} ({node.op_type}) draws random numbers: its results are new every time and cannot "
                "be kept; run the model without a cache"
            )


def _hashed(contents: Iterable[Any]) -> bytes:
    state = _new()
    for content in contents:
        state.update(content)
    digest: bytes = state.digest()
    return digest[:DIGEST_BYTES]
