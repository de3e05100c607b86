"""Opening a model and the recipe around it as the command line asks for them."""

from __future__ import annotations

from reconv.engine.model import Model, load
from reconv.errors import InputError
from reconv.recipes import RECIPES, Recipe

__all__ = ["open_model", "open_recipe"]


def open_model(path: str, threads: int | None, size: tuple[int, int] | None) -> Model:
    """The model, at `size` (height, width) also where its file declares another one. Raises ModelError, InputError."""
    model = load(path, threads=threads)
    if size is None or not model.inputs or len(model.inputs[0].shape) != 4:
        return model
    info = model.inputs[0]
    last = info.shape[3] == 3 and info.shape[1] != 3
    axes = (1, 2) if last else (2, 3)
    declared = [info.shape[axis] for axis in axes]
    if all(not isinstance(own, int) or own == extent for own, extent in zip(declared, size, strict=True)):
        return model
    shape = list(info.shape)
    for axis, extent in zip(axes, size, strict=True):
        shape[axis] = extent
    return load(path, threads=threads, shapes={info.name: shape})


def open_recipe(name: str, model: Model, frame_shape: tuple[int, int] | None, size: tuple[int, int] | None) -> Recipe:
    """The recipe called `name` for the model's first input. Raises InputError."""
    if name not in RECIPES:
        raise InputError(f"no recipe is called {name!r}; there are {', '.join(RECIPES)}")
    if not model.inputs:
        raise InputError("the model has no input")
    return RECIPES[name](model.inputs[0], frame_shape, size)
