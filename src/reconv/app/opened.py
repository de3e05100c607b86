"""Opening a model and what belongs to it as the command line asks: sizes, the recipe around it, files to write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from reconv.app.console import parse_shapes
from reconv.engine.model import Model, load
from reconv.errors import InputError
from reconv.graph import Graph
from reconv.recipes import Recipe, recipe_class
from reconv.recipes.others import input_of_frames, recipe_around
from reconv.recipes.pixels import channels_last

__all__ = ["check_targets", "known_shapes", "open_model", "open_recipe"]


def check_targets(targets: Mapping[str, str | None], sources: Iterable[str | None]) -> None:
    """Before any work: files to write (option -> path) whose folder is there, and which are neither each other nor one
    that is read. Raises InputError."""
    read = [Path(source) for source in sources if source is not None]
    written: dict[Path, str] = {}
    for option, text in targets.items():
        if text is None:
            continue
        path = Path(text).resolve()
        if any(path == each.resolve() or (path.exists() and each.exists() and path.samefile(each)) for each in read):
            raise InputError(f"{option} {text} would overwrite what is read; give another file")
        if path in written:
            raise InputError(f"{option} and {written[path]} both name {text}")
        if path.is_dir():
            raise InputError(f"{option} {text} is a folder; name a file")
        if not path.parent.is_dir():
            raise InputError(f"{option} {text} cannot be written: the folder {Path(text).parent} does not exist")
        written[path] = option


def open_model(path: str, threads: int | None, size: tuple[int, int] | None, kernels: str = "default") -> Model:
    """The model, at `size` (height, width) also where its file declares another one; `kernels` as `load` takes them.

    Raises:
        ModelError, InputError, ProfileError: as `load`.
    """
    model = load(path, threads=threads, kernels=kernels)
    info = input_of_frames(model.inputs) if model.inputs else None
    if size is None or info is None or len(info.shape) != 4:
        return model
    axes = (1, 2) if channels_last(info.shape) else (2, 3)
    declared = [info.shape[axis] for axis in axes]
    if all(not isinstance(own, int) or own == extent for own, extent in zip(declared, size, strict=True)):
        return model
    shape = list(info.shape)
    for axis, extent in zip(axes, size, strict=True):
        shape[axis] = extent
    return load(path, threads=threads, shapes={info.name: shape}, kernels=kernels)


def open_recipe(
    name: str,
    model: Model | Graph,
    frame_shape: tuple[int, int] | None,
    size: tuple[int, int] | None,
    given: Mapping[str, NDArray[Any]] | None = None,
) -> Recipe:
    """The recipe called `name`, or one's own as module:Class, around the model; `given` are arrays for inputs beside
    that of the frames. Raises InputError."""
    kind = recipe_class(name)
    if not model.inputs:
        raise InputError("the model has no input")
    return recipe_around(kind, model, frame_shape, size, given)


def known_shapes(
    model: Model | Graph, size: tuple[int, int] | None, texts: list[str]
) -> dict[str, tuple[int, ...]] | None:
    """Shapes of all inputs: as asked for, the rest as declared with a batch of 1; None when all are declared."""
    shapes = dict(parse_shapes(texts))
    known = [info.name for info in model.inputs]
    if unknown := [name for name in shapes if name not in known]:
        raise InputError(f"the model has no input {unknown[0]!r}; its inputs are {', '.join(known)}")
    if size is None and not shapes:
        sizes = [(info, [extent for extent in info.shape[1:] if not isinstance(extent, int)]) for info in model.inputs]
        if open_ones := [info for info, free in sizes if free]:
            hint = "--size" if len(open_ones[0].shape) == 4 else f"--shape {open_ones[0].name}=..."
            raise InputError(f"input {open_ones[0]} has sizes that the model leaves open: give {hint}")
        return None
    for info in model.inputs:
        if info.name in shapes:
            continue
        declared = [1 if axis == 0 and not isinstance(n, int) else n for axis, n in enumerate(info.shape)]
        if info is input_of_frames(model.inputs) and size is not None and len(declared) == 4:
            first = 1 if channels_last(declared) else 2
            declared[first : first + 2] = size
        if not all(isinstance(n, int) for n in declared):
            raise InputError(f"input {info} has sizes that the model leaves open: give --shape {info.name}=...")
        shapes[info.name] = tuple(n for n in declared if isinstance(n, int))
    return shapes
