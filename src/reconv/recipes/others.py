"""Models with several inputs: which of them takes the frames, and what the others are given.

Frames go to the input of four axes where there is one such input, else to the first. The others are given by whoever
runs the model, the same at every frame, as text ("name=1,0.5", "name=values.npy") or as arrays. Two that PaddlePaddle's
detectors list are known: ``im_shape`` is the network's (height, width), and ``scale_factor`` is 1 by 1, so that boxes
come in pixels of the network's input, as a recipe's own arithmetic expects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reconv.errors import InputError, one_line
from reconv.graph import TensorInfo
from reconv.recipes.recipe import Ends, Recipe

__all__ = ["input_of_frames", "parse_inputs", "recipe_around"]

Array = NDArray[Any]


@dataclass(frozen=True)
class FramesFirst:
    """The inputs and outputs of a model, that of the frames before the other inputs; `graph` is the model's, or it."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    graph: Any


def recipe_around(
    kind: type[Recipe],
    model: Ends,
    frame_shape: tuple[int, int] | None,
    size: tuple[int, int] | None,
    given: Mapping[str, Array] | None = None,
) -> Recipe:
    """A recipe whose `others` are what the model's inputs beside that of the frames take.

    Args:
        kind: the recipe's class.
        model: what it is for; it has an input at least.
        frame_shape, size: as the class takes them.
        given: arrays by the name of an input.

    Raises:
        InputError: as the class; the model has no input of a name, an array does not fit its input, or nothing is known
            of an input of a model that takes pictures.
    """
    first = input_of_frames(model.inputs)
    rest = tuple(info for info in model.inputs if info is not first)
    ends = FramesFirst((first, *rest), model.outputs, getattr(model, "graph", model))
    recipe = kind.for_model(ends, frame_shape, size)
    if not rest and not given:
        return recipe
    known = others_known(rest, recipe.size) if recipe.pictures and frame_shape is not None else {}
    recipe.others = {**known, **others_given(model.inputs, given or {})}
    missing = [info for info in rest if info.name not in recipe.others]
    if missing and frame_shape is not None and kind.inputs is Recipe.inputs:
        raise InputError(f"input {missing[0]} is not the one of the frames: give it with --input {missing[0].name}=...")
    return recipe


def input_of_frames(inputs: Sequence[TensorInfo]) -> TensorInfo:
    """The input that frames go to."""
    pictures = [info for info in inputs if len(info.shape) == 4]
    return pictures[0] if len(pictures) == 1 else inputs[0]


def others_known(inputs: Sequence[TensorInfo], size: tuple[int, int]) -> dict[str, Array]:
    """What inputs that go by a known name are given, for a network's input of ``size`` (height, width)."""
    values = {"im_shape": size, "scale_factor": (1, 1)}
    return {i.name: _shaped(i, np.asarray(values[i.name])) for i in inputs if i.name in values and len(i.shape) == 2}


def parse_inputs(texts: Sequence[str]) -> dict[str, Array]:
    """["k=1,0.5", "mask=mask.npy"] as arrays by name, the numbers as float64 of one axis.

    Raises:
        InputError: a text is no name with numbers or a file of an array.
    """
    found = {}
    for text in texts:
        name, _, value = text.partition("=")
        if not name or not value:
            raise InputError(f"--input is name=value, as in scale_factor=1,1 or mask=mask.npy; got {text!r}")
        found[name] = _read(text, value)
    return found


def others_given(inputs: Sequence[TensorInfo], given: Mapping[str, Array]) -> dict[str, Array]:
    """Arrays by name in the types and shapes that the model declares; a free size is what is left of the numbers.

    Raises:
        InputError: the model has no such input, or an array does not fit it.
    """
    known = {info.name: info for info in inputs}
    if unknown := [name for name in given if name not in known]:
        raise InputError(f"the model has no input {unknown[0]!r}; its inputs are {', '.join(known)}")
    return {name: _shaped(known[name], np.asarray(array)) for name, array in given.items()}


def _read(text: str, value: str) -> Array:
    try:
        if Path(value).suffix.lower() == ".npy":
            return np.asarray(np.load(value, allow_pickle=False))
        return np.array([float(part) for part in value.split(",")])
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"--input {text}: neither numbers nor an array file: {one_line(error)}") from error


def _shaped(info: TensorInfo, array: Array) -> Array:
    if array.dtype.kind not in "biuf":
        raise InputError(f"input {info} cannot be given as an array of {array.dtype}")
    typed = array.astype(info.dtype)
    if not np.array_equal(typed, array) and info.dtype.kind in "biu":
        raise InputError(f"input {info} takes no fractions and nothing beyond its range, got {array.tolist()}")
    if not info.has_rank:
        return typed
    fixed = prod(size for size in info.shape if isinstance(size, int))
    free = [axis for axis, size in enumerate(info.shape) if not isinstance(size, int)]
    if array.ndim == len(info.shape):
        shape: tuple[int, ...] = array.shape
    else:  # numbers in a row: of one item, the rest of them along the last free size
        rest = array.size // fixed if fixed and free else 1
        shape = tuple(
            size if isinstance(size, int) else rest if axis == free[-1] else 1 for axis, size in enumerate(info.shape)
        )
    fits = all(not isinstance(own, int) or own == got for own, got in zip(info.shape, shape, strict=True))
    if not fits or prod(shape) != array.size:
        raise InputError(f"input {info} cannot be given {array.size} numbers of shape {array.shape}")
    return typed.reshape(shape)
