"""Receptive field of every value: how many input pixels one of its pixels depends on, along the deepest path.

With the stride j of a value (input pixels between two of its neighbours) and its field r, a window of k taps with
dilation d and stride s gives (Dumoulin and Visin 2016; Araujo, Norris and Sim 2019)::

    r' = r + (k - 1) d j        j' = j s

Upsampling by s divides j by s; where branches meet, the larger of each counts. What reads a whole map (global
pooling, a matrix product over flattened pixels) reaches everything. Padding and the size of the image are not taken
into account, so a field may be larger than the input: that means the whole input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any

from reconv.errors import ModelError, one_line
from reconv.graph.graph import Graph, Node

__all__ = ["Reach", "reaches"]

Pair = tuple[Fraction, Fraction]
Shapes = Mapping[str, tuple[int | None, ...]]
ONE = Fraction(1)


@dataclass(frozen=True)
class Reach:
    """Receptive field and stride in input pixels, (vertical, horizontal); ``whole`` when it is the whole input."""

    height: Fraction = ONE
    width: Fraction = ONE
    stride: Pair = (ONE, ONE)
    whole: bool = False

    def __str__(self) -> str:
        if self.whole:
            return "whole input"
        down, across = (f"{float(s):g}" for s in self.stride)
        return f"{ceil(self.height)}x{ceil(self.width)}/{down if down == across else f'{down}x{across}'}"


WHOLE = Reach(whole=True)


def reaches(graph: Graph, shapes: Shapes) -> dict[str, Reach]:
    """Reach of every value that depends on an input. Values on constants only are left out.

    Args:
        graph: the model.
        shapes: shapes of its values; where a shape is missing, a resize counts as by 1 and a matrix product as over
            channels.

    Raises:
        ModelError: a node's window, step or block is none: a number below 1, or no number.
    """
    found = {info.name: Reach() for info in graph.inputs}
    constants = graph.constants
    for node in graph.nodes:
        before = [found[name] for name in node.reads if name in found]
        if not before or node.op_type in ("Shape", "Size"):  # depend on sizes, not on pixels
            continue
        weights: Shapes = {n: constants[n].shape for n in node.inputs if n in constants}
        try:
            after = _through(node, _union(before), shapes, weights)
        except (ArithmeticError, IndexError, TypeError, ValueError) as error:
            raise ModelError(
                f"node {node.name!r} ({node.op_type}) has attributes that make no sense: {one_line(error)}"
            ) from error
        found.update((name, after) for name in node.outputs if name)
    return found


def _union(reaches: list[Reach]) -> Reach:
    if any(r.whole for r in reaches):
        return WHOLE
    stride = (max(r.stride[0] for r in reaches), max(r.stride[1] for r in reaches))
    return Reach(max(r.height for r in reaches), max(r.width for r in reaches), stride)


def _through(node: Node, before: Reach, shapes: Shapes, weights: Shapes) -> Reach:
    if before.whole or node.op_type in GLOBAL:
        return WHOLE
    if node.op_type in ("MatMul", "Gemm"):
        return WHOLE if _summed_over_pixels(node, shapes) else before
    if node.op_type.startswith("Reduce"):
        return WHOLE  # over channels alone it is not; those are rare, and too much is the safe side
    step = STEPS.get(node.op_type)
    return before if step is None else step(node, before, shapes, weights)


def _two(values: object, default: int) -> tuple[int, int]:
    """The spatial numbers of an attribute as (vertical, horizontal); 1-D is a map of height 1.

    Raises ValueError when one is below 1: a window, a step and a dilation are at least that.
    """
    numbers = tuple(_one(v) for v in values) if isinstance(values, tuple) else ()
    if len(numbers) == 1:
        return (1, numbers[0])
    return (numbers[-2], numbers[-1]) if len(numbers) >= 2 else (default, default)


def _one(value: Any) -> int:
    number = int(value)
    if number < 1:
        raise ValueError(f"expected a number from 1 up, got {number}")
    return number


def _window(before: Reach, kernel: tuple[int, int], strides: tuple[int, int], dilations: tuple[int, int]) -> Reach:
    down, across = before.stride
    return Reach(
        before.height + (kernel[0] - 1) * dilations[0] * down,
        before.width + (kernel[1] - 1) * dilations[1] * across,
        (down * strides[0], across * strides[1]),
    )


def _slide(node: Node, before: Reach, _shapes: Shapes, weights: Shapes) -> Reach:
    get = node.attributes.get
    kernel = get("kernel_shape")
    if kernel is None and len(node.inputs) > 1 and node.inputs[1] in weights:
        kernel = tuple(size or 1 for size in weights[node.inputs[1]][2:])
    return _window(before, _two(kernel, 1), _two(get("strides"), 1), _two(get("dilations"), 1))


def _transposed(node: Node, before: Reach, _shapes: Shapes, weights: Shapes) -> Reach:
    get = node.attributes.get
    kernel = get("kernel_shape")
    if kernel is None and len(node.inputs) > 1 and node.inputs[1] in weights:
        kernel = tuple(size or 1 for size in weights[node.inputs[1]][2:])
    k, s, d = _two(kernel, 1), _two(get("strides"), 1), _two(get("dilations"), 1)
    taps = (ceil(((k[0] - 1) * d[0] + 1) / s[0]), ceil(((k[1] - 1) * d[1] + 1) / s[1]))
    down, across = before.stride
    return Reach(
        before.height + (taps[0] - 1) * down, before.width + (taps[1] - 1) * across, (down / s[0], across / s[1])
    )


def _resize(node: Node, before: Reach, shapes: Shapes, _weights: Shapes) -> Reach:
    source, result = shapes.get(node.inputs[0], ()), shapes.get(node.outputs[0], ())
    scales = [
        Fraction(b, a) if a and b else ONE for a, b in zip(source[-2:], result[-2:], strict=len(source) == len(result))
    ]
    if len(scales) != 2:
        return before
    taps = {"linear": 2, "cubic": 4}.get(str(node.attributes.get("mode", "nearest")), 1)
    down, across = before.stride
    more = [(taps - 1) * j if scale != 1 else Fraction(0) for scale, j in zip(scales, (down, across), strict=True)]
    return Reach(before.height + more[0], before.width + more[1], (down / scales[0], across / scales[1]))


def _blocks(node: Node, before: Reach, _shapes: Shapes, _weights: Shapes) -> Reach:
    block = _one(node.attributes.get("blocksize", 1))
    if node.op_type == "SpaceToDepth":
        return _window(before, (block, block), (block, block), (1, 1))
    return Reach(before.height, before.width, (before.stride[0] / block, before.stride[1] / block))


def _softmax(node: Node, before: Reach, shapes: Shapes, _weights: Shapes) -> Reach:
    rank = len(shapes.get(node.inputs[0], (0,) * 4))
    axis = int(node.attributes.get("axis", -1)) % max(rank, 1)
    return before if axis == 1 or rank < 4 else WHOLE


def _slice(node: Node, before: Reach, shapes: Shapes, _weights: Shapes) -> Reach:
    """Steps of 2 and more, as in a focus layer, show in the sizes: a crop is not told from a stride above 1.5."""
    source, result = shapes.get(node.inputs[0], ()), shapes.get(node.outputs[0], ())
    if len(source) != 4 or len(result) != 4:
        return before
    steps = [max(1, round(a / b)) if a and b else 1 for a, b in zip(source[-2:], result[-2:], strict=True)]
    return _window(before, (1, 1), (steps[0], steps[1]), (1, 1))


def _summed_over_pixels(node: Node, shapes: Shapes) -> bool:
    """Channels come last in a matrix product over pixels; a flattened map (rank 2) has everything there."""
    return node.op_type == "Gemm" or len(shapes.get(node.inputs[0], (0, 0, 0))) < 3


GLOBAL = frozenset(
    {"GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", "InstanceNormalization", "LSTM", "GRU", "RNN", "NonZero"}
    | {"TopK", "NonMaxSuppression", "Loop", "If", "Scan", "Einsum", "LayerNormalization", "GroupNormalization"}
)
STEPS: Mapping[str, Callable[[Node, Reach, Shapes, Shapes], Reach]] = {
    "Conv": _slide,
    "MaxPool": _slide,
    "AveragePool": _slide,
    "LpPool": _slide,
    "ConvTranspose": _transposed,
    "Resize": _resize,
    "Upsample": _resize,
    "SpaceToDepth": _blocks,
    "DepthToSpace": _blocks,
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
    "Slice": _slice,
}
