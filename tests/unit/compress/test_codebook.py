"""Codebooks beside brute force and beside Lloyd's steps from many starts."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconv.compress.codebook import EXACT, codebook, nearest

Array = np.ndarray[Any, Any]


def cost(book: Array, values: Array, weights: Array | None = None) -> float:
    """Sum of weight x squared distance to the nearest entry."""
    squares = ((values.reshape(-1)[:, None].astype(np.float64) - book[None].astype(np.float64)) ** 2).min(axis=1)
    return float((squares * (1 if weights is None else weights.reshape(-1))).sum())


def best(values: Array, count: int, weights: Array) -> float:
    """The least cost over all ways to cut the sorted values into intervals."""
    order = np.argsort(values)
    x, w = values[order].astype(np.float64), weights[order]
    found = np.inf
    for cuts in itertools.combinations(range(1, len(x)), count - 1):
        total = 0.0
        for begin, end in itertools.pairwise((0, *cuts, len(x))):
            part, of = x[begin:end], w[begin:end]
            total += float((of * (part - (of * part).sum() / of.sum()) ** 2).sum())
        found = min(found, total)
    return found


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-50, 50), min_size=5, max_size=11), st.integers(2, 4), st.integers(0, 2**16))
def test_small_sets_get_the_best_book_there_is(numbers: list[int], count: int, seed: int) -> None:
    values = np.array(numbers, np.float64)
    weights = np.random.default_rng(seed).uniform(0.5, 2, len(values))
    book = codebook(values, count, weights)
    assert len(book) <= count
    if len(set(numbers)) > count:
        assert cost(book, values, weights) <= best(values, count, weights) * (1 + 1e-5) + 1e-6


@pytest.mark.parametrize("count", [4, 16, EXACT, 200])
def test_no_start_of_lloyds_steps_does_much_better(count: int) -> None:
    values = np.random.default_rng(1).standard_t(4, 4000)
    found = cost(codebook(values, count), values)
    random = np.random.default_rng(2)
    for start in range(6):
        some = random.choice(values, count, replace=False)
        book = np.sort(some) if start else np.linspace(values.min(), values.max(), count)
        for _ in range(60):
            place = nearest(book.astype(np.float32), values)
            sums, sizes = (np.bincount(place, w, minlength=count) for w in (values, None))
            book = np.sort(np.where(sizes > 0, sums / np.maximum(sizes, 1), book))
        assert found <= cost(book, values) * (1.02 if count <= EXACT else 1.25)


def test_few_values_are_kept_exactly() -> None:
    values = np.array([3, -1, 3, 0.5, -1], np.float32)
    book = codebook(values, 8)
    np.testing.assert_array_equal(book, np.array([-1, 0.5, 3], np.float32))
    np.testing.assert_array_equal(book[nearest(book, values)], values)


def test_codes_name_the_nearest_entry() -> None:
    random = np.random.default_rng(3)
    book, values = np.sort(random.standard_normal(37)).astype(np.float32), random.standard_normal(500)
    codes = nearest(book, values)
    assert codes.dtype == np.uint8
    np.testing.assert_array_equal(codes, np.abs(values[:, None] - book[None]).argmin(axis=1))


def test_heavy_values_are_met_more_closely() -> None:
    values = np.random.default_rng(4).standard_normal(500)
    heavy = np.where(values > 1, 1000.0, 1.0)
    plain, drawn = (codebook(values, 4, w) for w in (None, heavy))
    assert cost(drawn, values[values > 1]) < cost(plain, values[values > 1])
