"""Bytes of a value, for entries that are put without a size."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

__all__ = ["size_of"]

PER_OBJECT = 64  # a small object and its slot


def size_of(value: Any) -> int:
    """Bytes of arrays, buffers and text, also inside mappings, lists and tuples; never less than 1.

    An array counts as what it addresses, also when it is a view. For other objects this is `sys.getsizeof`, which does
    not follow references: put them with a size.
    """
    nbytes = getattr(value, "nbytes", None)
    if isinstance(nbytes, int):
        held = getattr(getattr(value, "dtype", None), "hasobject", False)  # an array of text has pointers only
        return nbytes + PER_OBJECT + (sum(map(size_of, value.ravel().tolist())) if held else 0)
    if isinstance(value, Mapping):
        return PER_OBJECT + sum(size_of(key) + size_of(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return PER_OBJECT + sum(map(size_of, value))
    return max(sys.getsizeof(value), 1)
