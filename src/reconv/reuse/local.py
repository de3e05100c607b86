"""Keys of results in a cache that has no tier below: they never leave the process, and are faster to make.

To look up a batch that is mostly known is to hash it, and BLAKE3 takes three times as long as reading the memory.
XXH3 of 128 bits (package `xxhash`, extra `hash`) takes about as long. It resists no adversary who can try at leisure
which inputs meet, so it is seeded with a number that this process draws and nobody sees, and its keys go nowhere: those
for disk and other machines are made by `reconv.reuse.keys`, and so are all where the package is not installed.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from reconv.engine import Model
from reconv.graph.digest import raw_bytes
from reconv.reuse.keys import derived_key, numerics, result_key

__all__ = ["local_keys", "result_keys"]

Array = np.ndarray[Any, Any]

SEED = secrets.randbits(64)

_new: Callable[..., Any] | None = None
with suppress(ImportError):
    import xxhash

    _new = xxhash.xxh3_128


def result_keys(model: Model, items: Sequence[Mapping[str, Array]]) -> list[bytes]:
    """`result_key` of each item."""
    return [result_key(model, arrays) for arrays in items]


def local_keys(model: Model, items: Sequence[Mapping[str, Array]]) -> list[bytes]:
    """A key of 16 bytes for the result of each item, in this process alone.

    Args:
        model: what computes them.
        items: the same inputs of each, of the same types and shapes, in the same order.
    """
    if _new is None or not items:
        return result_keys(model, items)
    heads = [(name, array.dtype.str, str(array.dtype), array.shape) for name, array in items[0].items()]
    start = _new(derived_key("local", model.digest, numerics(model), repr(heads)), seed=SEED)
    keys: list[bytes] = []
    for arrays in items:
        state = start.copy()
        for array in arrays.values():
            content = raw_bytes(array)
            state.update(b"%d:" % len(content))
            state.update(content)
        keys.append(state.digest())
    return keys
