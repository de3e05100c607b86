"""Classifiers: what is seen of a frame, probabilities, agreement, and labelled pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import reconv
from reconv.errors import InputError
from reconv.graph import TensorInfo
from reconv.recipes import RECIPES
from reconv.recipes.imagenet import Imagenet, Ranked

cv2 = pytest.importorskip("cv2")
INPUT = TensorInfo("x", np.dtype(np.float32), ("batch", 3, "height", "width"))


def _ranked(*classes: int) -> Ranked:
    return Ranked(np.array(classes), np.linspace(0.5, 0.1, len(classes)))


def test_a_model_that_leaves_its_size_open_runs_at_224() -> None:
    assert Imagenet(INPUT, (300, 400), None).size == (224, 224)
    assert Imagenet(INPUT, (300, 400), (192, 160)).size == (192, 160)
    fixed = TensorInfo("x", np.dtype(np.float32), (1, 299, 299, 3))
    assert Imagenet(fixed, (300, 400), None).size == (299, 299)
    assert Imagenet(fixed, (300, 400), None).pixels.layout == "NHWC"


def test_logits_become_probabilities_and_probabilities_stay() -> None:
    recipe = Imagenet(INPUT, (224, 224), None)
    logits = np.random.default_rng(0).normal(0, 3, (1, 1000)).astype(np.float32)
    weights = np.exp(logits[0].astype(np.float64))
    found = recipe.decode({"y": logits})
    np.testing.assert_array_equal(found.classes, np.argsort(-logits[0], kind="stable")[:5])
    np.testing.assert_allclose(found.probabilities, np.sort(weights / weights.sum())[::-1][:5])
    same = recipe.decode({"y": (weights / weights.sum()).astype(np.float32)[None, :, None, None]})
    np.testing.assert_array_equal(same.classes, found.classes)
    np.testing.assert_allclose(same.probabilities, found.probabilities, rtol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_still_gives_json(value: float) -> None:
    recipe = Imagenet(INPUT, (224, 224), None)
    for output in (np.full((1, 8), value, np.float32), np.array([[value, *range(7)]], np.float32)):
        shown = recipe.to_json(recipe.decode({"y": output}))
        assert np.isfinite([one["probability"] for one in shown]).all()
    assert shown[0]["class"] == (0 if value == np.inf else 7)


def test_agreement_is_of_the_best_and_of_the_best_five() -> None:
    recipe = Imagenet(INPUT, (224, 224), None)
    dense = [_ranked(1, 2, 3, 4, 5), _ranked(6, 7, 8, 9, 10)]
    ours = [_ranked(2, 1, 3, 4, 5), _ranked(6, 7, 8, 11, 12)]
    assert recipe.agreement(ours, dense) == {"top1": 0.5, "top5": 0.8}
    assert recipe.agreement([], []) == {"top1": 0.0, "top5": 1.0} or recipe.agreement(dense, dense)["top1"] == 1


@pytest.mark.parametrize("shape", [(1,), (1, 1), (2, 10), (1, 3, 4, 4), (10, 1)])
def test_an_output_of_another_family_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"recipe imagenet expects one output \(1, classes\)"):
        Imagenet(INPUT, (224, 224), None).decode({"y": np.zeros(shape, np.float32)})


@pytest.mark.parametrize(("model", "name"), [("mobilenet_v2", "imagenet"), ("efficientnet_lite0", "imagenet_tf")])
def test_labelled_pictures_are_told(asset: Callable[[str], Path], model: str, name: str) -> None:
    network = reconv.load(asset(model))
    right = 0
    files = sorted(asset("foolbox").glob("imagenet_*"))
    for file in files:
        picture = cv2.imread(str(file))
        recipe = RECIPES[name].for_model(network, picture.shape[:2], None)
        found = recipe.decode(network.run(recipe.inputs(picture)))
        right += int(found.classes[0]) == int(file.stem.split("_")[-1])
    assert len(files) == 20
    assert right >= 16


def test_blue_green_red_less_a_mean_of_its_own(asset: Callable[[str], Path]) -> None:
    """The classifier of the package tells a webcam's picture from what it warns of when it is fed as it wants."""
    network = reconv.load(asset("open_nsfw"))
    capture = cv2.VideoCapture(str(asset("cap12")))
    frame = capture.read()[1]
    recipe = RECIPES["imagenet_caffe"].for_model(network, frame.shape[:2], None)
    shown = recipe.to_json(recipe.decode(network.run(recipe.inputs(frame))))
    assert [one["class"] for one in shown] == [0, 1]
    assert shown[0]["probability"] > 0.9
