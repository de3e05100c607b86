"""Recipes: what one model family needs around the network, one file each.

To add one: write the file after `recipe.Recipe`, add a line to `RECIPES`, and give `tests/contract/test_recipes.py` a
stand-in for its network; the contract then tests it.
"""

from __future__ import annotations

from reconv.errors import InputError
from reconv.recipes.audio import Audio
from reconv.recipes.centerface import CenterFace
from reconv.recipes.dbnet import DbNet
from reconv.recipes.imagenet import Imagenet, ImagenetCaffe, ImagenetTf
from reconv.recipes.own import own_recipe
from reconv.recipes.pixels import PixelArithmetic
from reconv.recipes.raw import Raw
from reconv.recipes.recipe import Recipe
from reconv.recipes.super_resolution import SuperResolution
from reconv.recipes.yolov8 import Yolov8
from reconv.recipes.yolox import Yolox

__all__ = ["RECIPES", "PixelArithmetic", "Recipe", "recipe_class"]

RECIPES: dict[str, type[Recipe]] = {
    "raw": Raw,
    "yolox": Yolox,
    "dbnet": DbNet,
    "yolov8": Yolov8,
    "centerface": CenterFace,
    "imagenet": Imagenet,
    "imagenet_tf": ImagenetTf,
    "imagenet_caffe": ImagenetCaffe,
    "super_resolution": SuperResolution,
    "audio": Audio,
}


def recipe_class(text: str) -> type[Recipe]:
    """The recipe of `RECIPES` that is called so, or one's own as `module:Class`. Raises InputError."""
    if text in RECIPES:
        return RECIPES[text]
    if ":" in text:
        return own_recipe(text)
    raise InputError(f"no recipe is called {text!r}; there are {', '.join(RECIPES)}, and module:Class for your own")
