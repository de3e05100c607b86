"""What rules compute of a weight, kept as long as the weight is: a search asks the same of it again and again."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import numpy as np

__all__ = ["once_for_each"]

T = TypeVar("T")
Array = np.ndarray[Any, Any]


def once_for_each(compute: Callable[..., T]) -> Callable[..., T]:
    """A function of an array (which nobody changes) and further arguments that remembers its results.

    Arrays are told apart by identity, and forgotten when they are gone.
    """
    known: dict[int, dict[tuple[Any, ...], T]] = {}

    @wraps(compute)
    def remembered(array: Array, *more: Any) -> T:
        results = known.get(id(array))
        if results is None:
            results = known[id(array)] = {}
            weakref.finalize(array, known.pop, id(array), None)
        if more not in results:
            results[more] = compute(array, *more)
        return results[more]

    return remembered
