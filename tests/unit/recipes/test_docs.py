"""The manual of recipes: its table is the table, what it names is there, and its snippet is a recipe."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

import reconv
from reconv.graph import TensorInfo
from reconv.recipes import RECIPES

PAGE = (Path(__file__).parents[3] / "docs" / "recipes.md").read_text(encoding="utf-8")


def _table(heading: str) -> list[list[str]]:
    """The first column's names in backticks, row by row, of the first table behind a line."""
    rows = PAGE[PAGE.index(heading) :].partition("| --- ")[2].split("\n\n")[0].splitlines()[1:]
    return [re.findall(r"`(?:self\.)?([\w.]+)", row.split("|")[1]) for row in rows]


def test_the_table_is_that_of_the_code() -> None:
    assert [name for row in _table("# Recipes") for name in row] == list(dict.fromkeys(RECIPES))


def test_agreements_are_called_so() -> None:
    rows = [row.split("|") for row in PAGE.splitlines() if re.match(r"\| `(yolox|imagenet|super_resolution)` ", row)]
    told = {row[1].strip(" `"): re.findall(r"`([^`]+)`", row[-2]) for row in rows}
    boxes = RECIPES["yolox"](TensorInfo("x", np.dtype(np.float32), (1, 3, 64, 64)), (64, 64), None).agreement([], [])
    assert told == {
        "yolox": list(boxes),
        "imagenet": ["top1", "top5"],
        "super_resolution": ["close_pixels", "equal_pixels", "psnr_db"],
    }


def test_what_the_base_class_brings_is_there() -> None:
    recipe = RECIPES["raw"](TensorInfo("x", np.dtype(np.float32), (1, 3, 64, 64)), (64, 64), None)
    names = [name for row in _table("What the base class brings") for name in row]
    assert {"size", "on_frame", "letterbox.to_frame", "for_model", "brief"} <= set(names)
    for name in names:
        found: Any = recipe
        for part in name.split("."):
            found = getattr(found, part)


def test_the_snippet_is_a_recipe() -> None:
    (snippet,) = (code for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "class Mine" in code)
    space: dict[str, Any] = {"reconv": reconv}
    exec(snippet, space)
    recipe = space["Mine"](TensorInfo("x", np.dtype(np.float32), (1, 3, 64, 64)), (100, 200), None)
    assert recipe.letterbox.seen == (100, 200)
    x = recipe.preprocess(np.full((100, 200, 3), 255, np.uint8))
    np.testing.assert_allclose(x, 1.0, atol=1e-6)
