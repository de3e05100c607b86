"""`reconv.tune`: `Model.tune` for models, clips and recipes by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

from reconv.engine.model import Model, load
from reconv.engine.tuning.stretches import REFRESH
from reconv.engine.tuning.tune import FRAMES, Tuned, picture_shape
from reconv.errors import InputError
from reconv.graph import Source as ModelSource
from reconv.recipes import Recipe, recipe_class
from reconv.recipes.others import recipe_around
from reconv.recipes.sources import Source, open_source

__all__ = ["tune"]


def tune(
    model: Model | ModelSource,
    frames: str | os.PathLike[str] | Source | Iterable[Any],
    recipe: str | Recipe | type[Recipe] = "raw",
    *,
    agreement: float,
    size: tuple[int, int] | None = None,
    factors: bool = True,
    refresh_every: int | None = REFRESH,
    most_frames: int = FRAMES,
    seconds: float | None = None,
    say: Callable[[str], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> Tuned:
    """The profile with which streams of a model recompute least and agree with dense runs as asked.

        found = reconv.tune("detector.onnx", "clip.mp4", "yolox", agreement=0.98)
        found.profile.save("profile.json")          # for stream(profile=...), run --profile, bench --profile

    Args:
        model: opened, or what `reconv.load` takes.
        frames: a clip as `reconv run` takes it (a file, a folder of pictures), or frames: pictures uint8 (H, W, 3) in
            BGR, or what the recipe takes.
        recipe: a name, a recipe, or the class of one.
        size: (height, width) of the network's input, where the recipe is made here; None as `Recipe` says.
        agreement, factors, refresh_every, most_frames, seconds, say, stop: see `Model.tune`.

    Raises:
        InputError: too few frames, no recipe of that name, or as `Model.tune`.
        ModelError: the model cannot be read.
        SourceError: the clip cannot be read.
    """
    network = model if isinstance(model, Model) else load(model)
    source = open_source(os.fspath(frames)) if isinstance(frames, (str, os.PathLike)) else frames
    coming: Iterable[Any]
    if isinstance(source, Source):
        made = _made(recipe, network, source.shape, size)
        source = made.framed(source)
        coming, count = source.frames(), source.count
    else:
        coming, count = source, None
        if isinstance(source, Iterator):
            first = next(source, None)
            coming = source if first is None else chain([first], source)
        else:
            first = next(iter(source), None)
        made = _made(recipe, network, picture_shape(first), size)
    return network.tune(
        coming,
        made,
        agreement=agreement,
        factors=factors,
        refresh_every=refresh_every,
        count=count,
        most_frames=most_frames,
        seconds=seconds,
        say=say,
        stop=stop,
    )


def _made(
    recipe: str | Recipe | type[Recipe], model: Model, shape: tuple[int, int] | None, size: tuple[int, int] | None
) -> Recipe:
    if isinstance(recipe, Recipe):
        return recipe
    if not model.inputs:
        raise InputError("the model has no input")
    return recipe_around(recipe_class(recipe) if isinstance(recipe, str) else recipe, model, shape, size)
