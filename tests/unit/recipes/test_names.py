"""Names of classes in what a model's file says of itself, whatever it says."""

from __future__ import annotations

import pytest

import reconv
from reconv.graph import TensorInfo, load
from reconv.recipes.boxes import BoxRecipe
from reconv.recipes.names import names_in, names_of
from reconv.recipes.others import recipe_around
from reconv.recipes.yolov8 import Yolov8
from tests.unit.small import cnn


def test_dicts_and_lists_are_names() -> None:
    assert names_in("{0: 'cat', 1: 'dog'}") == ("cat", "dog")
    assert names_in("{1: 'dog', 0: 'cat'}") == ("cat", "dog")
    assert names_in("['cat', 'dog']") == ("cat", "dog")


NO_NAMES = {
    "nothing": "",
    "plain words": "cat, dog",
    "a gap": "{0: 'cat', 2: 'dog'}",
    "other keys": "{'a': 'cat'}",
    "a number": "3",
    "half a dict": "{0: 'cat'",
    "a call": "{0: 'cat', 1: f()}",
    "an import": "__import__('os')",
    "no key": "{[]: 1}",
    "no text": "\0",
    "depth": "[" * 100_000,
    "length": "[" + "0, " * 400_000 + "]",
}


@pytest.mark.parametrize("text", NO_NAMES.values(), ids=NO_NAMES)
def test_anything_else_is_none(text: str) -> None:
    assert names_in(text) == ()


def test_a_models_own_names_are_used() -> None:
    proto = cnn()
    assert names_of(load(proto)) == ()
    entry = proto.metadata_props.add()
    entry.key, entry.value = "names", "{0: 'cat', 1: 'dog'}"
    assert names_of(load(proto)) == ("cat", "dog")
    for model in (load(proto), reconv.load(proto)):
        assert names_of(model) == ("cat", "dog")
        recipe = recipe_around(Yolov8, model, (64, 96), (64, 96))
        assert isinstance(recipe, Yolov8)
        assert [recipe.class_name(k, 3) for k in range(3)] == ["cat", "dog", "2"]


def test_80_classes_without_names_are_cocos_and_others_have_numbers() -> None:
    recipe: BoxRecipe = Yolov8(TensorInfo("x", load(cnn()).inputs[0].dtype, (1, 3, "h", "w")), (64, 96), None)
    assert recipe.class_name(16, 80) == "dog"
    assert recipe.class_name(16, 18) == "16"
    assert recipe.class_name(0, 0) == "0"
