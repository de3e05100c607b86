"""Recipe raw: arrays pass, and its agreement for classifiers and for maps."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from reconv.errors import InputError, MissingError
from reconv.graph import TensorInfo
from reconv.recipes import RECIPES, pixels
from reconv.recipes.agree import LOUDEST_DB, QUIETEST_DB, psnr_db
from reconv.recipes.raw import Raw

AUDIO = TensorInfo("audio", np.dtype(np.float32), (1, "samples"))


def test_arrays_pass_with_the_batch_they_lack() -> None:
    recipe = Raw(AUDIO, None, None)
    x = np.arange(5, dtype=np.float64)
    np.testing.assert_array_equal(recipe.preprocess(x), x[None])
    assert recipe.preprocess(x[None]).shape == (1, 5)
    assert recipe.preprocess(x).dtype == np.float32
    with pytest.raises(InputError, match=r"the model takes audio: float32 \(1, samples\), got an array of float64"):
        recipe.preprocess(np.zeros((1, 1, 5)))


@pytest.mark.parametrize("kind", [np.uint8, np.int64])
def test_arrays_of_whole_numbers_keep_them(kind: type[np.generic]) -> None:
    recipe = Raw(TensorInfo("x", np.dtype(kind), (1, "h", "w", 3)), None, None)
    x = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    for given in (x, x[None], x.astype(np.float64)):
        found = recipe.inputs(given)["x"]
        assert found.dtype == kind
        np.testing.assert_array_equal(found, x[None])
    with pytest.raises(InputError, match="with fractions, or numbers beyond its range"):
        recipe.preprocess(x + 0.5)


@pytest.mark.parametrize(("shape", "axes"), [((1, 1, "h", "w"), (1, 1, 4, 5)), ((1, "h", "w", 1), (1, 4, 5, 1))])
def test_a_grey_array_goes_to_a_network_of_one_channel(shape: tuple[int | str, ...], axes: tuple[int, ...]) -> None:
    recipe = Raw(TensorInfo("x", np.dtype(np.float32), shape), None, None)
    grey = np.arange(20, dtype=np.uint8).reshape(4, 5)
    for given in (grey, grey[..., None], grey.reshape(axes[1:]), grey.reshape(axes)):
        found = recipe.preprocess(given)
        assert found.shape == axes
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found.reshape(4, 5), grey)


def test_channels_last_is_seen_from_the_input() -> None:
    recipe = RECIPES["raw"](TensorInfo("x", np.dtype(np.float32), (None, 8, 6, 3)), (8, 6), None)
    frame = np.zeros((8, 6, 3), np.uint8)
    frame[2, 3] = (0, 0, 255)  # red
    x = recipe.preprocess(frame)
    assert x.shape == (1, 8, 6, 3)
    np.testing.assert_allclose(x[0, 2, 3], [1, 0, 0])


def test_a_classifier_agrees_by_its_best_class() -> None:
    recipe = Raw(AUDIO, None, None)
    dense = [{"y": np.array([[0.1, 0.9]])}, {"y": np.array([[0.8, 0.2]])}]
    ours = [{"y": np.array([[0.2, 0.7]])}, {"y": np.array([[0.4, 0.6]])}]
    assert recipe.agreement(ours, dense)["top1"] == 0.5
    assert recipe.agreement(dense, dense) == {"top1": 1.0, "psnr_db": LOUDEST_DB}


def test_maps_agree_by_thresholded_elements() -> None:
    recipe = Raw(AUDIO, None, None)
    dense, ours = {"y": np.array([0.0, 1.0, 1.0, 0.0])}, {"y": np.array([0.0, 0.9, 0.1, 0.0])}
    found = recipe.agreement([ours], [dense])
    assert found["equal"] == 0.75
    assert found["psnr_db"] == pytest.approx(10 * np.log10(4 / (0.1**2 + 0.9**2)))


def test_what_is_not_a_number_agrees_with_its_like_only() -> None:
    recipe = Raw(AUDIO, None, None)
    nan, inf = np.nan, np.inf
    dense, ours = {"y": np.array([nan, inf, 1.0, 0.0])}, {"y": np.array([0.0, inf, 1.0, nan])}
    assert recipe.agreement([dense], [dense]) == {"equal": 1.0, "psnr_db": LOUDEST_DB}
    assert recipe.agreement([ours], [dense]) == {"equal": 0.5, "psnr_db": QUIETEST_DB}
    assert psnr_db([np.array([inf])], [np.array([-inf])]) == QUIETEST_DB
    assert psnr_db([np.array([0.0, nan])], [np.array([0.5, nan])]) < LOUDEST_DB


def test_a_missing_opencv_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", gone)
    with pytest.raises(MissingError, match=r"pip install 'reconv\[video\]'"):
        pixels.opencv()
