"""Recipes: what one model family needs around the network, one file each.

To add one: write the file after `recipe.Recipe`, add a line to `RECIPES`, and give `tests/contract/test_recipes.py` a
stand-in for its network; the contract then tests it.
"""

from __future__ import annotations

from reconv.recipes.dbnet import DbNet
from reconv.recipes.pixels import PixelArithmetic
from reconv.recipes.raw import Raw
from reconv.recipes.recipe import Recipe
from reconv.recipes.yolox import Yolox

__all__ = ["RECIPES", "PixelArithmetic", "Recipe"]

RECIPES: dict[str, type[Recipe]] = {
    "raw": Raw,
    "yolox": Yolox,
    "dbnet": DbNet,
}
