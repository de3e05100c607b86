"""Check what the user hands to a model, once, at the edge: names, types, shapes.

As with ONNX Runtime, arrays must already have the type that the model declares: nothing is converted silently, since
a uint8 frame where a float32 one is expected is more often a forgotten normalisation than a wish. Arrays need not be
contiguous.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, TypeAlias

import numpy as np

from reconv.engine.pixels import Feed, Picture, PixelArithmetic, as_picture, in_floats, takes_picture
from reconv.errors import InputError, one_line
from reconv.graph import TensorInfo

__all__ = ["Form", "Inputs", "check", "check_feeds", "check_shapes", "declared_shapes"]

Array = np.ndarray[Any, Any]
Inputs: TypeAlias = Mapping[str, Array] | Array


def check(infos: Sequence[TensorInfo], inputs: Inputs) -> dict[str, Array]:
    """The inputs by name, in the model's order.

    Args:
        infos: the model's inputs.
        inputs: name -> array, or one array when the model has one input.

    Raises:
        InputError: a name is missing or unknown, or an array has the wrong type or shape.
    """
    return {name: in_floats(feed) for name, feed in check_feeds(infos, inputs, None).items()}


def check_feeds(infos: Sequence[TensorInfo], inputs: Inputs, pixels: PixelArithmetic | None) -> dict[str, Feed]:
    """As `check`; with `pixels`, an input of floats may be a frame of bytes (H, W, C) that they make floats."""
    names = ", ".join(repr(info.name) for info in infos)
    if not isinstance(inputs, Mapping):
        if len(infos) != 1:
            raise InputError(f"the model has {len(infos)} inputs: pass a mapping of {names} to arrays")
        inputs = {infos[0].name: inputs}
    for name in inputs:
        if all(name != info.name for info in infos):
            raise InputError(f"the model has no input {name!r}; its inputs are {names}")
    arrays: dict[str, Feed] = {}
    for info in infos:
        if info.name not in inputs:
            raise InputError(f"input {info.name!r} is missing; the model's inputs are {names}")
        try:
            array = np.asarray(inputs[info.name])
        except (ValueError, TypeError) as error:
            raise InputError(f"input {info.name!r} is no array: {one_line(error)}") from error
        if pixels is not None and takes_picture(info, array):
            arrays[info.name] = as_picture(info, array, pixels)
            continue
        if array.dtype != info.dtype and not (info.dtype == object and array.dtype.kind in "US"):
            raise InputError(
                f"input {info.name!r} has type {array.dtype}, expected {info.dtype}; "
                f"convert it with .astype(numpy.{info.dtype}), after the scaling that the model was trained with"
                + (", or say what makes frames of bytes inputs with pixels=" if takes_picture(info, array) else "")
            )
        arrays[info.name] = array
    check_shapes(infos, {name: array.shape for name, array in arrays.items()})
    return arrays


class Form:
    """What inputs looked like that were found right: others that look the same need no second check.

    Args:
        feeds: these inputs, as `check_feeds` gave them.
    """

    def __init__(self, feeds: Mapping[str, Feed]) -> None:
        self._parts = [
            (name, feed.bytes.shape, feed.bytes.dtype, (feed.pixels, feed.dtype))
            if isinstance(feed, Picture)
            else (name, feed.shape, feed.dtype, None)
            for name, feed in feeds.items()
        ]

    def feeds(self, inputs: Inputs) -> dict[str, Feed] | None:
        """These inputs as `check_feeds` would give them; None: they look different."""
        if type(inputs) is not dict or len(inputs) != len(self._parts):
            return None
        feeds: dict[str, Feed] = {}
        for name, shape, dtype, picture in self._parts:
            array = inputs.get(name)
            if type(array) is not np.ndarray or array.shape != shape or array.dtype != dtype:
                return None
            feeds[name] = array if picture is None else Picture(array, *picture)
        return feeds


def check_shapes(infos: Sequence[TensorInfo], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Compare shapes with what the model declares.

    A declared shape of no axes may be a scalar or unknown: anything is let through there. Named sizes need not agree
    with one another: exporters give the same name to unrelated ones, and ONNX Runtime lets that pass too.

    Raises:
        InputError: says which input, and which shape was expected.
    """
    for info in infos:
        shape = shapes[info.name]
        expected = "(" + ", ".join("?" if size is None else str(size) for size in info.shape) + ")"
        wrong = f"input {info.name!r} has shape {tuple(shape)}, expected {expected}"
        if not all(isinstance(size, Integral) for size in shape):
            raise InputError(f"{wrong}; every size has to be a number")
        if any(size < 1 for size in shape):
            raise InputError(f"{wrong}; an array without elements cannot be run")
        if not info.shape:
            continue
        if len(shape) != len(info.shape):
            raise InputError(f"{wrong}; add or drop axes, for one image with x[numpy.newaxis]")
        for got, size in zip(shape, info.shape, strict=True):
            if isinstance(size, int) and got != size:
                raise InputError(f"{wrong}; resize it, or load the model with shapes={{{info.name!r}: {tuple(shape)}}}")


def declared_shapes(infos: Sequence[TensorInfo]) -> dict[str, tuple[int, ...]]:
    """The shapes that the model itself declares, with 1 item where it leaves the number of items free.

    Raises:
        InputError: another size is free, or the file does not tell the shape at all.
    """
    shapes = {}
    for info in infos:
        sizes = (1, *info.shape[1:]) if info.shape and not isinstance(info.shape[0], int) else info.shape
        if not info.has_rank or not all(isinstance(size, int) for size in sizes):
            raise InputError(f"input {info} has free sizes: pass shapes={{{info.name!r}: (1, 3, 480, 640)}}, say")
        shapes[info.name] = tuple(size for size in sizes if isinstance(size, int))
    return shapes
