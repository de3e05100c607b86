"""The contract of recipes of sounds: every line of RECIPES whose frames are not pictures, with a stand-in network."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from reconv.errors import InputError
from reconv.graph import TensorInfo
from reconv.recipes import RECIPES, Recipe

WINDOW = 64
INPUT = TensorInfo("x", np.dtype(np.float32), ("batch", "samples"))
Outputs = dict[str, NDArray[Any]]


def _audio(shift: int) -> Outputs:
    return {"y": np.roll(np.linspace(0, 1, 48, dtype=np.float32).reshape(1, 3, 16), 24 * shift)}


NETWORKS: dict[str, Callable[[int], Outputs]] = {"audio": _audio}
SOUNDS = sorted(name for name, made in RECIPES.items() if not made.pictures)


@pytest.fixture(params=SOUNDS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def recipe(name: str) -> Recipe:
    return RECIPES[name](INPUT, None, (1, WINDOW))


@pytest.fixture
def window() -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(-1, 1, WINDOW).astype(np.float32)


def test_there_are_some() -> None:
    assert NETWORKS.keys() == set(SOUNDS)


def test_it_is_registered_under_its_name(name: str, recipe: Recipe) -> None:
    assert recipe.name == name
    assert recipe.size == (1, WINDOW)
    assert not recipe.takes_bytes


def test_preprocess_makes_the_networks_input(recipe: Recipe, window: NDArray[np.float32]) -> None:
    before = window.copy()
    x = recipe.preprocess(window)
    assert x.shape == (1, WINDOW)
    assert x.dtype == np.float32
    assert x.flags.c_contiguous
    np.testing.assert_array_equal(window, before)
    np.testing.assert_array_equal(recipe.inputs(window)["x"], x)


def test_equal_samples_stay_equal_bit_for_bit(recipe: Recipe, window: NDArray[np.float32]) -> None:
    other = window.copy()
    other[10:20] += 0.25
    moved = (recipe.preprocess(window) != recipe.preprocess(other))[0]
    np.testing.assert_array_equal(np.flatnonzero(moved), np.arange(10, 20))


def test_a_result_is_json(name: str, recipe: Recipe) -> None:
    found = recipe.to_json(recipe.decode(NETWORKS[name](0)))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found


def test_a_run_agrees_with_itself_and_not_with_another(name: str, recipe: Recipe) -> None:
    dense = [recipe.decode(NETWORKS[name](k)) for k in (0, 1)]
    same, other = recipe.agreement(dense, dense), recipe.agreement(dense[::-1], dense)
    headline = next(iter(same))
    assert same[headline] == pytest.approx(1.0)
    assert other[headline] < 0.8
    assert list(same) == list(other)
    assert recipe.drift(dense[0], dense[0]) == 0 < recipe.drift(dense[0], dense[1])
    assert np.isfinite([*same.values(), *other.values()]).all()


def test_there_is_nothing_to_draw_on(recipe: Recipe, window: NDArray[np.float32]) -> None:
    with pytest.raises(InputError, match="has no pictures to draw on"):
        recipe.draw(window, None)
    with pytest.raises(InputError, match="has no pictures"):
        recipe.on_frame(window)


def test_pictures_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="the source is made of pictures"):
        RECIPES[name](INPUT, (480, 640), (1, WINDOW))
    with pytest.raises(InputError, match="needs an input of samples"):
        RECIPES[name](TensorInfo("x", np.dtype(np.float32), (1, 3, 64, 96)), None, None)
