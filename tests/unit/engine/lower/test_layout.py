"""The layout algebra against numpy: whatever a layout says, moving the numbers of the elements says the same."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconv.engine.lower.layout import Factor, Geometry, Layout, canonical, like, row_major

NCHW = (1, 3, 4, 5)


def numbers(geometry: Geometry) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.arange(geometry.size).reshape(geometry)


def test_nchw_is_the_transposed_map() -> None:
    geometry, layout = canonical(NCHW)
    assert geometry == (4, 5, 3)
    assert layout.dims == ((), (Factor(3, 1),), (Factor(4, 15),), (Factor(5, 3),))
    np.testing.assert_array_equal(layout.index()[0], numbers(geometry).transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("shape", "geometry"),
    [
        ((1, 3, 4, 5), (4, 5, 3)),
        ((1, 3, 7), (1, 7, 3)),
        ((1, 6), (1, 1, 6)),
        ((6,), (1, 1, 6)),
        ((), (1, 1, 1)),
        ((2, 3, 4), (2, 3, 4)),
        ((1, 2, 3, 4, 5), (12, 5, 2)),
    ],
)
def test_canonical_geometry(shape: tuple[int, ...], geometry: tuple[int, int, int]) -> None:
    found, layout = canonical(shape)
    assert found == geometry
    assert layout.shape == shape
    assert sorted(layout.index().ravel()) == list(range(prod(shape)))


def test_flatten_and_back() -> None:
    _, layout = canonical(NCHW)
    flat = layout.reshape((1, 60))
    assert flat is not None
    assert flat.reshape(NCHW) == layout


def test_spatial_dimensions_merge() -> None:
    flat = canonical(NCHW)[1].reshape((1, 3, 20))
    assert flat is not None
    assert flat.dims == ((), (Factor(3, 1),), (Factor(20, 3),))


def test_a_factor_that_would_break_cannot_be_said() -> None:
    turned = Layout.of([[(2, 1)], [(3, 2)]])
    assert turned.reshape((3, 2)) is None
    with pytest.raises(ValueError, match=r"cannot reshape \(2, 3\) to \(7,\)"):
        turned.reshape((7,))


SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=4)


@given(SHAPES, st.randoms(use_true_random=False))
def test_reshape_and_transpose_agree_with_numpy(shape: list[int], random: object) -> None:
    generator = np.random.default_rng(getattr(random, "randrange")(1 << 30))  # noqa: B009
    _, layout = canonical(shape)
    array = layout.index()
    for _ in range(4):
        order = [int(i) for i in generator.permutation(array.ndim)]
        layout, array = layout.transpose(order), array.transpose(order)
        sizes = [1, *array.shape]
        cut = int(generator.integers(1, len(sizes)))
        wanted = (prod(sizes[:cut]), *sizes[cut:])
        moved = layout.reshape(wanted)
        if moved is not None:
            layout, array = moved, array.reshape(wanted)
        np.testing.assert_array_equal(layout.index(), array)
        assert layout.shape == array.shape


@given(SHAPES, st.integers(0, 23))
def test_to_map_and_from_map_are_inverse(shape: list[int], seed: int) -> None:
    geometry, layout = canonical(shape)
    order = np.random.default_rng(seed).permutation(len(shape))
    layout = layout.transpose([int(i) for i in order])
    array = np.random.default_rng(seed).standard_normal(layout.shape)
    laid = layout.to_map(array, geometry)
    np.testing.assert_array_equal(laid.ravel()[layout.index()], array)
    np.testing.assert_array_equal(layout.from_map(laid), array)


@pytest.mark.parametrize("shape", [(1, 3, 4, 5), (1, 3, 7), (1, 6), (2, 3, 4)])
@pytest.mark.parametrize("form", [canonical, row_major])
def test_border_strides_read_the_tensor(shape: tuple[int, ...], form: object) -> None:
    geometry, layout = (canonical if form is canonical else row_major)(shape)
    strides = layout.border_strides(geometry)
    assert strides is not None
    memory = np.arange(prod(shape))
    y, x, c = np.indices(geometry)
    read = memory[y * strides[0] + x * strides[1] + c * strides[2]]
    np.testing.assert_array_equal(read, layout.to_map(memory.reshape(shape), geometry))


def test_border_strides_refuse_what_is_not_regular() -> None:
    shuffled = Layout.of([[(2, 1), (3, 2)]])  # channels (3, 2) transposed within themselves
    assert shuffled.border_strides(Geometry(1, 1, 6)) is None


def test_like_keeps_the_axes() -> None:
    geometry, nhwc = row_major((1, 4, 5, 3))
    found = like((1, 2, 6, 3), nhwc, geometry)
    assert found is not None
    assert found[0] == (2, 6, 3)
    assert found[1] == row_major((1, 2, 6, 3))[1]
    assert like((1, 60), nhwc, geometry) is None


def test_rescale() -> None:
    _, layout = canonical((1, 3, 4, 5))
    pixels = Layout(layout.dims[2:])
    assert pixels.rescale(3, 8) == Layout(canonical((1, 8, 4, 5))[1].dims[2:])
    assert layout.rescale(3, 8) is None
