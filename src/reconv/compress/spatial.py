"""Spatial compression: a smaller picture for the layers. The weights stay.

It is made smaller before the first layer, inside of the model (``inside``: a Resize, bilinear, which at a scale of 1/2
is the mean of 2x2 pixels), so that the model takes what it took before; or the model declares the smaller input, and
whoever feeds it resizes. `stride` makes maps smaller further inside.

This changes what the network computes and costs accuracy that only training gives back (`reconv.distill`); what it
costs is measured, not promised. A model whose outputs would get other shapes is refused, or told so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from reconv.compress.forward import values_of
from reconv.compress.result import Compressed, Entry, LayerReport, Report
from reconv.errors import InputError, ModelError
from reconv.graph import Graph, Names, Node, TensorInfo, remade, shapes_of
from reconv.graph.declare import declared
from reconv.graph.opset import at_least_opset

if TYPE_CHECKING:
    from reconv.compress.forward import Feeds, Forward

__all__ = ["SHRINK_INPUT", "changed_outputs", "shrink_input"]

Array = np.ndarray[Any, Any]
Shapes = Mapping[str, tuple[int | None, ...]]
OPSET = 13  # of Resize as it is written here


def shrink_input(
    graph: Graph,
    *,
    scale: float = 0.5,
    multiple: int = 1,
    inside: bool = True,
    may_change: bool = False,
    samples: Sequence[Feeds] = (),
    forward: Forward | None = None,
) -> Compressed:
    """Let the model work on a smaller picture.

    Args:
        graph: a model whose first input is a picture: 4 axes, channels first, or last where there are 3 of them.
        scale: of height and width, between 0 and 1.
        multiple: that the smaller height and width are rounded to, where the model or a sample tells the size: 32 for
            most detectors.
        inside: the model resizes its input itself and takes what it took before; else it declares a smaller input.
        may_change: outputs may get other shapes, as those of a detector's maps do.
        samples, forward: one sample is run, to see that the model takes the smaller size (with ``inside``).

    Raises:
        InputError: a scale that makes no sense.
        ModelError: the first input is no picture, an output would change its shape, or the model is tied to its size.
    """
    if not 0 < scale < 1:
        raise InputError(f"scale is between 0 and 1; got {scale}")
    info = graph.inputs[0] if graph.inputs else None
    if info is None or len(info.shape) != 4 or info.dtype != np.float32:
        raise ModelError(f"the first input is no picture of float32 with 4 axes: {info}")
    if multiple < 1:
        raise InputError(f"multiple is a number of pixels from 1 up; got {multiple}")
    first = 1 if info.shape[3] == 3 and info.shape[1] != 3 else 2
    shape: Sequence[Any] = samples[0][info.name].shape if len(samples) and info.name in samples[0] else info.shape
    sizes = _smaller(shape, first, scale, multiple)
    factors = (scale, scale)
    if sizes is not None:  # a quarter of a pixel keeps the product from falling short of the size
        factors = (sizes[0] + 0.25) / shape[first], (sizes[1] + 0.25) / shape[first + 1]
    made = _resized_inside(graph, info, first, factors) if inside else _declared(graph, info, first, sizes)
    before, after = shapes_of(graph), shapes_of(made)
    changed = changed_outputs(graph, before, after)
    if changed and not may_change:
        raise ModelError(f"{changed[0]}: a smaller input changes it; pass may_change=True where that is wanted")
    if inside and len(samples) and forward is not None:
        names = [info.name for info in graph.outputs]
        try:
            run = next(values_of(forward, made, names, samples[:1]))
        except (InputError, ModelError, RuntimeError) as error:
            raise ModelError(f"the model does not run at {scale:g} of its size: {error}") from error
        old = next(values_of(forward, graph, names, samples[:1]))
        if not may_change and (differ := [name for name in names if run[name].shape != old[name].shape]):
            raise ModelError(f"output {differ[0]!r} has another shape with a smaller input; pass may_change=True")
    made = declared(made, {}) if changed else made
    settings = {"scale": scale, "multiple": multiple, "inside": inside, "may_change": may_change}
    layers = [LayerReport(info.name, {"before": before.get(info.name), "after": _seen(made, info, inside)})]
    return Compressed(made, Report.of("shrink_input", graph, made, settings=settings, layers=layers, notes=changed))


def _shrink(graph: Graph, samples: Sequence[Feeds], forward: Forward, **settings: Any) -> Compressed:
    return shrink_input(graph, samples=samples, forward=forward, **settings)


def _scales(graph: Graph) -> Iterator[Mapping[str, Any]]:
    if graph.inputs and len(graph.inputs[0].shape) == 4:
        sizes = [n for n in graph.inputs[0].shape[1:] if isinstance(n, int) and n > 4]
        multiple = 32 if sizes and min(sizes) >= 64 else 1
        yield from ({"scale": scale, "multiple": multiple} for scale in (0.875, 0.75, 0.625, 0.5))


SHRINK_INPUT = Entry("shrink_input", frozenset({"samples"}), _shrink, _scales)


def _smaller(shape: Sequence[Any], first: int, scale: float, multiple: int) -> tuple[int, int] | None:
    """The smaller height and width; None where the size is open.

    Raises:
        ModelError: rounded to the multiple they are no smaller.
    """
    old = shape[first], shape[first + 1]
    new = [max(multiple, int(n * scale / multiple + 0.5) * multiple) for n in old if isinstance(n, int)]
    if len(new) < 2:
        return None
    if tuple(new) == old:
        raise ModelError(f"a scale of {scale:g} does not make {old[0]}x{old[1]} smaller in multiples of {multiple}")
    return new[0], new[1]


def _resized_inside(graph: Graph, info: TensorInfo, first: int, by: tuple[float, float]) -> Graph:
    """The graph with a Resize of its input; its size known, by just what it needs, so that sizes come out exactly."""
    graph = at_least_opset(graph, OPSET)
    readers = [node for node in graph.nodes if info.name in node.reads]
    if not readers or any(info.name in node.captures for node in readers):
        raise ModelError(f"the input {info.name!r} is read in the body of an If, Loop or Scan, or not at all")
    names = Names(graph)
    small = names.fresh(f"{info.name}/small")
    if all(isinstance(n, int) for n in info.shape):
        shape = [n for n in info.shape if isinstance(n, int)]
        shape[first : first + 2] = [int(n * f) for n, f in zip(shape[first : first + 2], by, strict=True)]
        sizes = names.fresh(f"{info.name}/sizes")
        constants: dict[str, Array] = {sizes: np.array(shape, np.int64)}
        inputs = [info.name, "", "", sizes]
    else:
        factors = np.ones(4, np.float32)
        factors[first : first + 2] = by
        scales = names.fresh(f"{info.name}/scales")
        constants, inputs = {scales: factors}, [info.name, "", scales]
    attributes = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    resize = Node(names.fresh(f"{small}/Resize"), "Resize", "", tuple(inputs), (small,), attributes)
    changes: dict[str, Sequence[Node]] = {}
    for node in readers:
        new = replace(node, inputs=tuple(small if name == info.name else name for name in node.inputs))
        changes[node.name] = [new] if changes else [resize, new]
    return remade(graph, changes, constants)


def _declared(graph: Graph, info: TensorInfo, first: int, sizes: tuple[int, int] | None) -> Graph:
    if sizes is None:
        raise ModelError(f"input {info} leaves its size open: feed it smaller pictures, nothing is to be declared")
    shape = [*info.shape[:first], *sizes, *info.shape[first + 2 :]]
    return declared(graph, {info.name: shape})


def _seen(made: Graph, info: TensorInfo, inside: bool) -> tuple[int | None, ...] | None:
    """The shape of the picture that the layers see."""
    if not inside:
        return shapes_of(made).get(info.name)
    small = next(node.outputs[0] for node in made.nodes if node.op_type == "Resize" and node.inputs[0] == info.name)
    return shapes_of(made).get(small)


def changed_outputs(graph: Graph, before: Shapes, after: Shapes) -> list[str]:
    """The outputs whose shapes are known to differ, in words."""
    found = []
    for info in graph.outputs:
        old, new = before.get(info.name), after.get(info.name)
        if old is None or new is None:
            continue
        differ = len(old) != len(new) or any(None not in (a, b) and a != b for a, b in zip(old, new, strict=True))
        if differ:
            found.append(f"output {info.name!r} has shape {new} instead of {old}")
    return found
