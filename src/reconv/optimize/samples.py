"""Samples: what a compression is calibrated on and judged by, as inputs of one model.

    samples = open_samples("pictures/", graph, recipe="yolox")      # also .npz, .npy, a video, or any Python iterable
    samples[0]                                                      # {"images": float32 (1, 3, 416, 416)}

A folder holds pictures, or one sub-folder of pictures for every class: then the labels are the places of the
sub-folders in the order of their names, or the names themselves where all are whole numbers. An .npz may bring
``labels`` beside the inputs. Items of an iterable are what the model takes (an array, or a dict of them by input, with
or without the batch axis), pictures where a recipe is named, or pairs (item, label). Nothing is converted silently:
pictures go through the recipe that was named, everything else has to have the type and the shape that the model takes.

Pictures are read from their files each time they are asked for; frames of a video are kept as they are, 8 bits a
colour, and made into inputs when they are asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from numbers import Integral
from pathlib import Path
from typing import Any, TypeAlias, overload

import numpy as np

from reconv.engine.inputs import check
from reconv.engine.pixels import in_floats
from reconv.errors import InputError, SourceError
from reconv.graph import Graph, TensorInfo
from reconv.recipes import Recipe, recipe_class
from reconv.recipes.others import recipe_around
from reconv.recipes.sources import PICTURES, open_source, picture_files, read_picture

__all__ = ["VIDEO_FRAMES", "Feeds", "Samples", "Source", "open_samples", "spread"]

Array = np.ndarray[Any, Any]
Feeds: TypeAlias = Mapping[str, Array]
Source: TypeAlias = str | os.PathLike[str] | Iterable[Any]
VIDEO_FRAMES = 256  # of a video, evenly spread, where nobody says how many
LABELS = ("labels", "label", "y")  # names in an .npz that are labels where the model has no such input


@dataclass(frozen=True, eq=False)
class Samples(Sequence[Feeds]):
    """Inputs of one model, all of one shape. labels: the class of each, None where nobody told; classes: their names,
    where they have any; ordered: frames of one clip, which are alike where they are near."""

    name: str
    labels: tuple[int, ...] | None
    ordered: bool
    _items: tuple[Any, ...] = field(repr=False)
    _open: _Opener = field(repr=False)
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> Feeds: ...
    @overload
    def __getitem__(self, index: slice) -> Samples: ...
    def __getitem__(self, index: int | slice) -> Feeds | Samples:
        if isinstance(index, slice):
            return self.take(range(*index.indices(len(self))))
        return self._open.feeds(self._items[index])

    def take(self, places: Iterable[int]) -> Samples:
        """Those at these places."""
        chosen = list(places)
        labels = None if self.labels is None else tuple(self.labels[i] for i in chosen)
        return replace(self, labels=labels, _items=tuple(self._items[i] for i in chosen))

    def most(self, count: int) -> Samples:
        """At most so many, evenly spread."""
        return self if len(self) <= count else self.take(int(i * len(self) / count) for i in range(count))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Input name -> the shape that all samples have."""
        return {name: array.shape for name, array in self[0].items()}

    def decoder(self, index: int) -> Recipe | None:
        """The recipe that reads the outputs of this sample; None where no recipe was named."""
        return self._open.recipe(_opened(self._items[index])) if self._open.name else None

    @property
    def input(self) -> TensorInfo:
        """The model's first input, which pictures go to."""
        return self._open.input

    @property
    def recipe(self) -> str:
        """Name of the recipe, "" for none."""
        return self._open.name or ""

    def split(self, *shares: float, seed: int = 0) -> list[Samples]:
        """Parts that share no sample, of about these shares: stretches of a clip, and of anything else every so many,
        class by class where there are labels. Every part has a sample; with fewer samples than parts, all have all."""
        if len(self) < len(shares):
            return [self for _ in shares]
        if self.ordered:
            ends = [round(float(end)) for end in np.cumsum(np.array(shares)) / sum(shares) * len(self)]
            bounds = [0]
            for place, end in enumerate(ends, 1):
                bounds.append(min(max(end, bounds[-1] + 1), len(self) - (len(ends) - place)))
            return [self.take(range(first, last)) for first, last in pairwise(bounds)]
        order = [int(i) for i in np.random.default_rng(seed).permutation(len(self))]
        kinds = self.labels or (0,) * len(self)
        parts: list[list[int]] = [[] for _ in shares]
        dealt = {kind: [0] * len(shares) for kind in kinds}
        for i in sorted(order, key=lambda i: kinds[i]):  # to the part that is furthest behind its share of the class
            counts = dealt[kinds[i]]
            place = min(
                range(len(shares)), key=lambda p: tuple((n + 0.5) / shares[p] for n in (counts[p], len(parts[p])))
            )
            counts[place] += 1
            parts[place].append(i)
        for part in parts:
            if not part:
                part.append(max(parts, key=len).pop())
        return [self.take(sorted(part)) for part in parts]


class _Opener:
    """How an item becomes feeds; what all have in common is fixed by the first."""

    def __init__(self, graph: Graph, recipe: str | None, size: tuple[int, int] | None) -> None:
        self._kind = recipe_class(recipe or "raw")
        if not graph.inputs:
            raise InputError("the model has no input")
        self.name = recipe
        self.input = graph.inputs[0]
        self._graph = graph
        self._size = size
        self._recipes: dict[tuple[int, int] | None, Recipe] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}

    def recipe(self, frame: Any) -> Recipe:
        """The named recipe, or the one for whatever comes, for frames of this shape."""
        shape = (int(frame.shape[0]), int(frame.shape[1])) if _is_picture(frame) else None
        if shape not in self._recipes:
            made = recipe_around(self._kind, self._graph, shape, self._size)
            self._recipes[shape] = made
            if shape is not None and self._size is None:
                self._size = made.size  # samples have one shape, that of the first
        return self._recipes[shape]

    def feeds(self, item: Any) -> dict[str, Array]:
        """Raises InputError where it does not fit the model."""
        frame = _opened(item)
        inputs = self._graph.inputs
        if isinstance(frame, Mapping):
            ranks = {info.name: len(info.shape) for info in inputs if info.has_rank}
            arrays = {name: _batched(np.asarray(array), ranks.get(name)) for name, array in frame.items()}
        elif _is_picture(frame) and (self.name is not None or isinstance(item, (Path, _Frame))):
            arrays = self.recipe(frame).inputs(frame)
        else:
            arrays = {inputs[0].name: _batched(frame, len(inputs[0].shape) if inputs[0].has_rank else None)}
        found = {name: in_floats(feed) for name, feed in check(inputs, arrays).items()}
        for name, array in found.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise InputError(f"{name!r} holds values that are not finite; leave such samples out")
            if self.shapes.setdefault(name, array.shape) != array.shape:
                raise InputError(f"samples have different shapes: {name!r} {self.shapes[name]} and {array.shape}")
        return found


@dataclass(frozen=True, eq=False)
class _Frame:
    """A picture that came out of a video or a file of pictures."""

    pixels: Array


def open_samples(
    source: Source,
    graph: Graph,
    *,
    recipe: str | None = None,
    size: tuple[int, int] | None = None,
    labels: Sequence[int] | None = None,
    limit: int | None = None,
) -> Samples:
    """Samples for a model, checked: at least one, all of the type and shape that the model takes.

    Args:
        source: a folder, an .npz or .npy, a video, a Python iterable, or what this has made.
        graph: the model.
        recipe: what makes inputs of pictures; None: "raw", for pictures of folders and videos only.
        size: (height, width) of the model's input where it leaves that open.
        labels: the class of each sample, in place of what the source tells.
        limit: take so many at most, evenly spread; None: all, of a video `VIDEO_FRAMES`.

    Raises:
        InputError: no samples, samples of the wrong type or shape, an unknown recipe, labels that do not fit.
        SourceError: a file or folder that is not there or cannot be read.
        MissingError: pictures or video without OpenCV.
    """
    if limit is not None and limit < 1:
        raise InputError(f"limit is {limit}, expected a number of samples from 1 up")
    opener = _Opener(graph, recipe, size)
    if isinstance(source, Samples):
        if recipe is not None or size is not None:
            raise InputError(
                f"{source.name}: these samples are open already; recipe and size are told when they are opened"
            )
        found = source
    elif isinstance(source, (str, os.PathLike)):
        found = _from_path(Path(source), opener, graph, limit)
    else:
        found = _from_items(source, opener)
    if labels is not None:
        found = replace(found, labels=_whole(labels, "labels"))
    if not len(found):
        raise InputError(f"{found.name}: no samples; a compression needs some to be calibrated on and judged by")
    if found.labels is not None and len(found.labels) != len(found):
        raise InputError(f"{found.name}: {len(found)} samples, but {len(found.labels)} labels")
    found = found if limit is None else found.most(limit)
    for index in range(len(found)) if not isinstance(found._items[0], Path) else (0, len(found) - 1):
        try:
            found[index]
        except InputError as error:
            raise InputError(f"{found.name}, sample {index}: {error}") from error
    return found


def _from_path(path: Path, opener: _Opener, graph: Graph, limit: int | None) -> Samples:
    if path.is_dir():
        return _from_folder(path, opener)
    text = str(path)
    if text.isdecimal() and not path.exists():
        raise SourceError(f"samples cannot come from a camera ({text}): name a folder, an .npz or a video")
    source = open_source(text)
    if path.suffix.lower() in (".npy", ".npz"):
        return _from_items(source.frames(), opener, str(path), _names(graph), pictures=source.shape is not None)
    frames = spread(source.frames(), source.count, limit or VIDEO_FRAMES)
    return Samples(text, None, True, tuple(_Frame(np.asarray(frame)) for frame in frames), opener)


def spread(frames: Iterable[Any], count: int | None, most: int) -> list[Any]:
    """At most so many of the frames, evenly spread; of an unknown number never more than twice as many are held."""
    if count:
        wanted = {i * count // most for i in range(most)} if count > most else set(range(count))
        return [frame for i, frame in enumerate(frames) if i in wanted]
    kept: list[Any] = []
    step = 1
    for i, frame in enumerate(frames):
        if i % step == 0:
            kept.append(frame)
        if len(kept) > 2 * most:
            kept, step = kept[::2], 2 * step
    return [kept[i * len(kept) // most] for i in range(most)] if len(kept) > most else kept


def _from_folder(path: Path, opener: _Opener) -> Samples:
    files = picture_files(path)
    below = sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    holding = [(folder, held) for folder in below if (held := picture_files(folder))]
    if files or not holding:
        if not files:
            raise InputError(f"{path}: no samples; it holds no pictures ({', '.join(PICTURES)}), nor do its folders")
        return Samples(str(path), None, False, tuple(files), opener)
    names = [folder.name for folder, _ in holding]
    numbers = [int(name) for name in names] if all(name.isdecimal() for name in names) else list(range(len(names)))
    labels = tuple(n for n, (_, held) in zip(numbers, holding, strict=True) for _ in held)
    items = tuple(file for _, held in holding for file in held)
    return Samples(str(path), labels, False, items, opener, tuple(names))


def _names(graph: Graph) -> tuple[str, ...]:
    return tuple(info.name for info in graph.inputs)


def _from_items(
    source: Iterable[Any], opener: _Opener, name: str = "samples", inputs: Sequence[str] = (), *, pictures: bool = False
) -> Samples:
    try:
        coming = list(source)
    except TypeError as error:
        raise InputError(f"samples are {type(source).__name__}, expected a path or an iterable of arrays") from error
    items: list[Any] = []
    labels: list[Any] = []
    for item in coming:
        if isinstance(item, tuple) and len(item) == 2 and not isinstance(item[1], Mapping) and np.ndim(item[1]) == 0:
            item, label = item
            labels.append(label)
        elif isinstance(item, Mapping) and inputs:
            item = dict(item)
            for key in [key for key in LABELS if key in item and key not in inputs][:1]:
                labels.append(item.pop(key))
            if len(item) == 1 and len(inputs) == 1:
                item = next(iter(item.values()))
        if isinstance(item, np.ndarray):
            picture = _is_picture(item)
            item = _Frame(item) if pictures and picture else item
        elif not isinstance(item, Mapping):
            try:
                item = np.asarray(item)
            except (TypeError, ValueError) as error:
                raise InputError(f"{name}: an item is {type(item).__name__}, expected an array or a dict") from error
        items.append(item)
    if labels and len(labels) != len(items):
        raise InputError(f"{name}: {len(labels)} of {len(items)} samples have a label; all must, or none")
    return Samples(name, _whole(labels, name) if labels else None, False, tuple(items), opener)


def _whole(labels: Sequence[Any], name: str) -> tuple[int, ...]:
    values = [label.item() if isinstance(label, np.ndarray) and not label.ndim else label for label in labels]
    for value in values:
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise InputError(f"{name}: a label is {value!r}, expected the number of a class")
    return tuple(int(value) for value in values)


def _opened(item: Any) -> Any:
    if isinstance(item, Path):
        return read_picture(item)
    return item.pixels if isinstance(item, _Frame) else item


def _is_picture(frame: Any) -> bool:
    return isinstance(frame, np.ndarray) and frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3


def _batched(array: Array, rank: int | None) -> Array:
    return array[None] if rank is not None and array.ndim == rank - 1 else array
