"""The contract of recipes: every line of RECIPES must pass, with a stand-in for its family's network below."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from reconv.errors import InputError
from reconv.graph import TensorInfo
from reconv.recipes import RECIPES, PixelArithmetic, Recipe

FRAME_SHAPE = (60, 100)  # neither a multiple of 32 nor of the input's proportions
SIZE = (64, 96)
INPUT = TensorInfo("x", np.dtype(np.float32), (1, 3, "height", "width"))
Outputs = dict[str, NDArray[Any]]


def _raw(shift: int) -> Outputs:
    values = np.linspace(0, 1, 48, dtype=np.float32).reshape(1, 3, 4, 4)
    return {"y": np.roll(values, 24 * shift)}


def _yolox(shift: int) -> Outputs:
    """One object of class 16 around the middle cell of the coarsest grid, `shift` cells further right."""
    rows = np.zeros((1, 8 * 12 + 4 * 6 + 2 * 3, 85), np.float32)
    rows[0, 8 * 12 + 4 * 6 + shift, [4, 5 + 16]] = 0.9, 1.0
    rows[0, 8 * 12, [4, 5 + 2]] = 0.25, 1.0  # not shown, but a partner for one that is
    return {"output": rows}


def _dbnet(shift: int) -> Outputs:
    """One line of text, `shift` times 16 pixels further down."""
    probability = np.full((1, 1, *SIZE), 0.01, np.float32)
    probability[0, 0, 8 + 16 * shift : 14 + 16 * shift, 10:60] = 0.9
    return {"map": probability}


NETWORKS: dict[str, Callable[[int], Outputs]] = {"raw": _raw, "yolox": _yolox, "dbnet": _dbnet}


@pytest.fixture(params=sorted(RECIPES))
def name(request: pytest.FixtureRequest) -> str:
    pytest.importorskip("cv2")
    return str(request.param)


@pytest.fixture
def recipe(name: str) -> Recipe:
    return RECIPES[name](INPUT, FRAME_SHAPE, SIZE)


@pytest.fixture
def frame() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (*FRAME_SHAPE, 3), dtype=np.uint8)


def test_it_is_registered_under_its_name(name: str, recipe: Recipe) -> None:
    assert recipe.name == name
    assert name in NETWORKS
    assert recipe.size == SIZE
    assert isinstance(recipe.pixels, PixelArithmetic)


def test_preprocess_makes_the_networks_input(recipe: Recipe, frame: NDArray[np.uint8]) -> None:
    before = frame.copy()
    x = recipe.preprocess(frame)
    assert x.shape == (1, 3, *SIZE)
    assert x.dtype == np.float32
    assert x.flags.c_contiguous
    np.testing.assert_array_equal(frame, before)
    np.testing.assert_array_equal(recipe.preprocess(frame), x)


def test_preprocess_is_the_pixel_arithmetic_of_a_frame_that_fits(name: str) -> None:
    recipe = RECIPES[name](INPUT, SIZE, None)
    frame = np.random.default_rng(1).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    order = frame if recipe.pixels.channel_order == "BGR" else frame[..., ::-1]
    expected = (order * recipe.pixels.scale - recipe.pixels.mean) / recipe.pixels.std
    np.testing.assert_allclose(recipe.preprocess(frame)[0], expected.transpose(2, 0, 1), rtol=0, atol=1e-5)


def test_equal_pixels_stay_equal_bit_for_bit(name: str, frame: NDArray[np.uint8]) -> None:
    recipe = RECIPES[name](INPUT, SIZE, SIZE)
    first = np.random.default_rng(2).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    second = first.copy()
    second[10:20, 30:50] ^= 255
    moved = (recipe.preprocess(first) != recipe.preprocess(second)).any((0, 1))
    expected = np.zeros(SIZE, bool)
    expected[10:20, 30:50] = True
    np.testing.assert_array_equal(moved, expected)


def test_a_result_is_json(name: str, recipe: Recipe) -> None:
    found = recipe.to_json(recipe.decode(NETWORKS[name](0)))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found


def test_a_run_agrees_with_itself_and_not_with_another(name: str, recipe: Recipe) -> None:
    dense = [recipe.decode(NETWORKS[name](k)) for k in (0, 1)]
    same = recipe.agreement(dense, dense)
    other = recipe.agreement(dense[::-1], dense)
    headline = next(iter(same))
    assert same[headline] == pytest.approx(1.0)
    assert other[headline] < 0.8
    assert list(same) == list(other)
    assert {type(value) for value in [*same.values(), *other.values()]} == {float}
    assert np.isfinite([*same.values(), *other.values()]).all()


def test_drawing_leaves_the_frame_alone(name: str, recipe: Recipe, frame: NDArray[np.uint8]) -> None:
    before = frame.copy()
    picture = recipe.draw(frame, recipe.decode(NETWORKS[name](0)))
    assert picture.shape == frame.shape
    assert picture.dtype == np.uint8
    assert picture is not frame
    np.testing.assert_array_equal(frame, before)


def test_a_plane_over_the_input_lies_over_the_frame(recipe: Recipe) -> None:
    plane = np.zeros(SIZE, np.float32)
    plane[: SIZE[0] // 4] = 1  # the top quarter of the input
    laid = recipe.on_frame(plane)
    assert laid.shape == FRAME_SHAPE
    scale = recipe.letterbox.ratio
    assert laid[: int(SIZE[0] // 4 / scale) - 1].all()
    assert not laid[int(SIZE[0] // 4 / scale) + 2 :].any()


def test_other_frames_are_refused(name: str, recipe: Recipe, frame: NDArray[np.uint8]) -> None:
    with pytest.raises(InputError, match=rf"recipe {name} was made for frames of uint8 \(60, 100, 3\)"):
        recipe.preprocess(frame[:-1])
    with pytest.raises(InputError, match="got float32"):
        recipe.preprocess(frame.astype(np.float32))


def test_other_inputs_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"recipe {name} needs an input of 4 dimensions"):
        RECIPES[name](TensorInfo("audio", np.dtype(np.float32), (1, "samples")), FRAME_SHAPE, None)
    with pytest.raises(InputError, match="3 channels"):
        RECIPES[name](TensorInfo("x", np.dtype(np.float32), (1, 1, 64, 96)), FRAME_SHAPE, None)
    fixed = TensorInfo("x", np.dtype(np.float32), (1, 3, 64, 96))
    assert RECIPES[name](fixed, FRAME_SHAPE, None).size == (64, 96)
    with pytest.raises(InputError, match="fixed height of 64, --size asks for 128"):
        RECIPES[name](fixed, FRAME_SHAPE, (128, 96))
