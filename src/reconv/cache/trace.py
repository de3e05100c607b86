"""A trace: request by request who is asked for, how many bytes it is and how many seconds it takes to compute."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reconv.errors import CacheError, one_line

__all__ = [
    "Floats",
    "Integers",
    "Trace",
    "check_hashable",
    "checked_costs",
    "checked_sizes",
    "codes",
    "interned",
    "next_uses",
]

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Trace:
    """Requests in their order, one column each.

    keys: int64 (n,). sizes: int64 (n,), bytes from 1 up. costs: float64 (n,), seconds from 0 up. times: float64 (n,),
    seconds since some start, None when unknown. names: where keys were text, the text of key k is `names[k]`.
    """

    keys: Integers
    sizes: Integers
    costs: Floats
    times: Floats | None = None
    names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Raises CacheError when columns differ in length, or hold what they cannot."""
        keys = np.asarray(self.keys)
        if keys.ndim != 1 or (keys.size and not np.issubdtype(keys.dtype, np.integer)):
            raise CacheError(f"the keys of a trace are whole numbers in one row, got {keys.dtype} {keys.shape}")
        object.__setattr__(self, "keys", keys.astype(np.int64))
        object.__setattr__(self, "sizes", checked_sizes(self.sizes, len(keys)))
        object.__setattr__(self, "costs", checked_costs(self.costs, len(keys)))
        if self.times is not None:
            object.__setattr__(self, "times", _floats(self.times, len(keys), "times"))
        if self.names is not None and keys.size and not 0 <= keys.min() <= keys.max() < len(self.names):
            raise CacheError(f"keys go from {keys.min()} to {keys.max()}, but there are {len(self.names)} names")

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def distinct(self) -> int:
        """How many keys there are."""
        return len(np.unique(self.keys))

    @cached_property
    def footprint_bytes(self) -> int:
        """Bytes of all that is asked for, each key at its largest: a cache of so many never evicts."""
        order = np.lexsort((self.sizes, self.keys))
        keys = self.keys[order]
        last = np.append(keys[1:] != keys[:-1], True)[: len(keys)]
        return int(self.sizes[order][last].sum())

    @property
    def seconds(self) -> float:
        """What computing every request takes, without a cache."""
        return float(self.costs.sum())


def checked_sizes(sizes: ArrayLike | None, count: int) -> Integers:
    """Sizes of `count` requests, 1 each for None. Raises CacheError when they are not whole numbers from 1 up."""
    if sizes is None:
        return np.ones(count, np.int64)
    found = _row(sizes, count, "sizes")
    if found.size and not np.issubdtype(found.dtype, np.integer):
        raise CacheError(f"sizes are whole numbers of bytes, got {found.dtype}")
    _refuse(found < 1, found, "size", "a whole number of bytes from 1 up")
    return found.astype(np.int64)


def checked_costs(costs: ArrayLike | None, count: int) -> Floats:
    """Costs of `count` requests, one second each for None. Raises CacheError when one is negative or not finite."""
    if costs is None:
        return np.ones(count, np.float64)
    found = _floats(costs, count, "costs")
    _refuse(found < 0, found, "cost", "seconds from 0 up")
    return found


def _floats(values: ArrayLike, count: int, what: str) -> Floats:
    found = _row(values, count, what)
    if found.size and not (np.issubdtype(found.dtype, np.floating) or np.issubdtype(found.dtype, np.integer)):
        raise CacheError(f"{what} are numbers of seconds, got {found.dtype}")
    found = found.astype(np.float64)
    _refuse(~np.isfinite(found), found, what.removesuffix("s"), "a finite number of seconds")
    return found


def _row(values: ArrayLike, count: int, what: str) -> NDArray[Any]:
    try:
        found = np.asarray(values)
    except ValueError as error:  # rows of different lengths
        raise CacheError(f"{what} are not one row of numbers: {error}") from error
    if found.shape != (count,):
        raise CacheError(f"{what} have the shape {found.shape}, but there are {count} keys")
    return found


def _refuse(wrong: NDArray[np.bool_], values: NDArray[Any], what: str, expected: str) -> None:
    if wrong.any():
        at = int(wrong.argmax())
        raise CacheError(f"the {what} of request {at} is {values[at]}, expected {expected}")


def check_hashable(keys: Iterable[Hashable]) -> None:
    """Raises CacheError when one is not."""
    try:
        for key in keys:
            hash(key)
    except TypeError as error:
        raise CacheError(f"a key cannot be hashed: {one_line(error)}") from error


def codes(keys: Sequence[Hashable] | NDArray[Any]) -> Integers:
    """Numbers that are equal where keys are. Raises CacheError when one cannot be hashed."""
    if isinstance(keys, np.ndarray) and np.issubdtype(keys.dtype, np.integer):
        return keys.astype(np.int64)
    row: list[Hashable] = keys.tolist() if isinstance(keys, np.ndarray) else list(keys)
    check_hashable(row)
    return np.array(interned(row)[0], np.int64)


def interned(keys: Iterable[Hashable]) -> tuple[list[int], list[Any]]:
    """Each key's number, and the keys by number: in the order in which they first came."""
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(key, len(numbers)) for key in keys], list(numbers)


def next_uses(keys: Integers) -> Integers:
    """Where each request's key is asked for again, as an index; the number of requests where it never is."""
    count = len(keys)
    order = np.argsort(keys, kind="stable")
    again = keys[order][1:] == keys[order][:-1]
    following = np.full(count, count, np.int64)
    following[order[:-1][again]] = order[1:][again]
    return following
