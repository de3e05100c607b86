"""What a user is told when inputs do not fit."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest

from reconv.engine.inputs import Form, check, check_feeds, check_shapes, declared_shapes
from reconv.engine.pixels import Picture, PixelArithmetic
from reconv.errors import InputError
from reconv.graph import TensorInfo
from tests.unit.small import Array

F32 = np.dtype(np.float32)
IMAGE = TensorInfo("image", F32, ("n", 3, "h", "w"))
MASK = TensorInfo("mask", F32, ("n", 1, "h", "w"))


def _zeros(*shape: int) -> Array:
    return np.zeros(shape, np.float32)


def test_one_array_or_a_mapping() -> None:
    x = _zeros(1, 3, 4, 6)
    assert check([IMAGE], x)["image"] is x
    assert check([IMAGE], {"image": x})["image"] is x
    assert check([IMAGE], x.transpose(0, 1, 3, 2))["image"].shape == (1, 3, 6, 4)  # need not be contiguous
    assert list(check([IMAGE, MASK], {"mask": _zeros(1, 1, 4, 6), "image": x})) == ["image", "mask"]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (_zeros(1, 3, 4, 6), r"has 2 inputs: pass a mapping of 'image', 'mask'"),
        ({"image": _zeros(1, 3, 4, 6)}, r"input 'mask' is missing"),
        ({"image": _zeros(1, 3, 4, 6), "img": _zeros(1)}, r"no input 'img'; its inputs are 'image', 'mask'"),
        (
            {"image": np.zeros((1, 3, 4, 6)), "mask": _zeros(1)},
            r"'image' has type float64, expected float32; convert it",
        ),
        ({"image": np.zeros((1, 3, 4, 6), np.uint8), "mask": _zeros(1)}, r"type uint8.*after the scaling"),
        ({"image": _zeros(1, 4, 6, 3), "mask": _zeros(1, 1, 4, 6)}, r"shape \(1, 4, 6, 3\), expected \(n, 3, h, w\)"),
        ({"image": _zeros(3, 4, 6), "mask": _zeros(1, 1, 4, 6)}, r"add or drop axes.*newaxis"),
        ({"image": _zeros(0, 3, 4, 6), "mask": _zeros(0, 1, 4, 6)}, r"without elements"),
    ],
)
def test_messages(inputs: dict[str, Array], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check([IMAGE, MASK], inputs)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 3, -8, 6), "without elements"),
        ((1, 3, "h", 6), "every size has to be a number"),
        ((1, 3, None, 6), "every size has to be a number"),
    ],
)
def test_shapes_that_no_array_has(shape: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_shapes([IMAGE], {"image": shape})
    fine: Any = (1, 3, np.int64(8), 6)
    check_shapes([IMAGE], {"image": fine})


def test_declared_shapes() -> None:
    fixed = TensorInfo("x", F32, ("n", 3, 8, 6))
    assert declared_shapes([fixed, TensorInfo("scalar", F32, ())]) == {"x": (1, 3, 8, 6), "scalar": ()}
    with pytest.raises(InputError, match="free sizes: pass shapes="):
        declared_shapes([IMAGE])
    with pytest.raises(InputError, match="any shape has free sizes: pass shapes="):
        declared_shapes([TensorInfo("x", F32, (), has_rank=False)])


def test_inputs_that_look_like_the_last_ones_are_taken_as_they_are() -> None:
    infos = [TensorInfo("x", np.dtype(np.float32), (1, 3, None, None)), TensorInfo("k", np.dtype(np.int64), (2,))]
    pixels = PixelArithmetic(scale=2.0)
    given: dict[str, Array] = {"x": np.zeros((4, 5, 3), np.uint8), "k": np.zeros(2, np.int64)}
    form = Form(check_feeds(infos, given, pixels))
    others: dict[str, Array] = {"x": np.ones((4, 5, 3), np.uint8), "k": np.ones(2, np.int64)}
    feeds, checked = form.feeds(others), check_feeds(infos, others, pixels)
    assert feeds is not None
    assert list(feeds) == list(checked)
    assert feeds["k"] is others["k"]
    picture, expected = feeds["x"], checked["x"]
    assert isinstance(picture, Picture)
    assert isinstance(expected, Picture)
    assert picture.bytes is others["x"]
    assert (picture.pixels, picture.dtype, picture.shape) == (expected.pixels, expected.dtype, expected.shape)
    others_too: Any = (
        {**others, "x": np.ones((5, 4, 3), np.uint8)},
        {**others, "x": np.ones((4, 5, 3), np.int8)},
        {**others, "k": [1, 1]},
        {**others, "y": others["k"]},
        {"x": others["x"]},
        {"x": others["x"], "other": others["k"]},
        others["x"],
    )
    for different in others_too:
        assert form.feeds(different) is None


def test_what_inputs_looked_like_keeps_none_of_them() -> None:
    frame = np.zeros((4, 5, 3), np.uint8)
    infos = [TensorInfo("x", np.dtype(np.float32), (1, 3, None, None))]
    form, gone = Form(check_feeds(infos, {"x": frame}, PixelArithmetic())), weakref.ref(frame)
    del frame
    assert gone() is None
    assert form.feeds({}) is None
