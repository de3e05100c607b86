"""What a rewrite reads, and the sizes at which a proof compares its two sides.

Maps shrink to about 24 pixels a side, or fewer where convolutions are large, as long as no node on either side depends
on absolute sizes. A size that the model fixes keeps its remainder by the product of the strides, since a window that
sticks out at one size does so at the other; a size that the model leaves free is tried even and odd. Where something
does depend on sizes (a Reshape, a Resize to a size, a constant as large as the map) the true ones are taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import lcm
from typing import Any

import numpy as np

from reconv.errors import ModelError
from reconv.exchange.float64 import is_known
from reconv.exchange.float64.elementwise import BINARY, UNARY
from reconv.exchange.view import View
from reconv.graph import Node, Rewrite

__all__ = ["SIDE", "WORK", "Border", "Shape"]

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]

SIDE = 24  # pixels of a shrunk map, along each axis
WORK = 20e6  # multiply-adds of both sides on one input, as far as shrinking can bring them down
ELEMENTS = 1e5  # of one shrunk map
ALIGNED = 48  # strides whose product is larger than this are not shrunk around
FAR = 2**30  # an end of a Slice beyond this means the end of the axis
NEAR = 16  # starts and ends of Slices within this of the border do not depend on the size
_LOCAL = {
    *UNARY,
    *("AveragePool", "BatchNormalization", "Cast", "Clip", "Conv", "ConvTranspose", "DepthToSpace", "Dropout"),
    *("GlobalAveragePool", "GlobalMaxPool", "Identity", "MaxPool", "Pad", "SpaceToDepth"),
}
SIZES_OPSET = 11  # since then a Resize reads (x, roi, scales, sizes), before (x, scales)


@dataclass(frozen=True, eq=False)
class Border:
    """What a rewrite reads from outside that is not constant."""

    view: View
    rewrite: Rewrite

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name in self.rewrite.reads if name not in self.view.graph.constants)

    @property
    def nodes(self) -> tuple[Node, ...]:
        return (*self.rewrite.before, *self.rewrite.after)

    def constant(self, name: str) -> Array | None:
        found = self.rewrite.constants.get(name)
        return self.view.constant(name) if found is None else found

    @cached_property
    def shapes(self) -> dict[str, tuple[int | None, ...]]:
        """At the sizes that the user gave.

        Raises:
            ModelError: the number of axes of one is not known.
        """
        found = {}
        for name in self.names:
            shape = self.view.sizes.get(name, self.view.shape(name))
            if shape is None:
                raise ModelError(f"the sizes of {name!r} are not known")
            found[name] = shape
        return found

    @cached_property
    def targets(self) -> dict[str, Array]:
        """Shapes that the model computes while it runs, for a Reshape or Expand: those that come out."""
        found = {}
        for node in self.nodes:
            size = self.view.sizes.get(node.outputs[0]) if node.op_type in ("Reshape", "Expand") else None
            if size is not None and None not in size:
                found[node.inputs[1]] = np.array(size, np.int64)
        return {name: size for name, size in found.items() if name in self.names}

    def is_free(self, axis: int) -> bool:
        """Whether the model takes other sizes along an axis."""
        return any(
            axis < len(shape) and self.view.shapes.get(name, shape)[axis] is None for name, shape in self.shapes.items()
        )

    @cached_property
    def work(self) -> int:
        """Multiply-adds of both sides per pixel, if all maps were of one size."""
        weights = [self.constant(n.inputs[1]) for n in self.nodes if n.op_type in ("Conv", "ConvTranspose")]
        return sum(weight.size for weight in weights if weight is not None)

    @cached_property
    def multiple(self) -> int:
        """A size's remainder by this decides which windows stick out of a map."""
        found = 1
        for part in (self.rewrite.before, self.rewrite.after):
            divided: dict[str, int] = {}
            for node in part:
                factor = lcm(*(divided.get(name, 1) for name in node.reads)) * _stride(self, node)
                divided |= dict.fromkeys(node.outputs, factor)
                found = lcm(found, factor)
        return found

    @cached_property
    def reach(self) -> int:
        """Pixels that one pixel of a result looks at, along its longest axis, strides left out."""
        found = 1
        for part in (self.rewrite.before, self.rewrite.after):
            seen: dict[str, int] = {}
            for node in part:
                pixels = max((seen.get(name, 1) for name in node.reads), default=1) + _reach(self, node) - 1
                seen |= dict.fromkeys(node.outputs, pixels)
                found = max(found, pixels)
        return found

    @cached_property
    def side(self) -> int:
        """Pixels along each axis of a shrunk map: some of them see nothing of the padding."""
        widest = max((_reach(self, node) for node in self.nodes), default=1)
        channels = max((shape[1] or 1 for shape in self.shapes.values()), default=1)
        pixels = min(WORK / max(self.work, 1), ELEMENTS / channels)
        affordable = int(pixels ** (1 / max(len(self.smallest), 1)))
        return max(3 + max(widest, min(self.reach, SIDE - 3)), min(affordable, SIDE))

    @cached_property
    def shrinks(self) -> bool:
        """Whether no node depends on absolute sizes, and all maps are of one size or multiples of the smallest."""
        ranks = {len(shape) for shape in self.shapes.values()}
        if len(ranks) != 1 or min(ranks) < 3 or self.multiple > ALIGNED:
            return False
        return all(_is_local(self, node) for node in self.nodes) and self.ratios is not None

    @cached_property
    def ratios(self) -> dict[str, Shape] | None:
        """Sizes of each map as multiples of the smallest; 0 where it has a single pixel for all of another's."""
        least = self.smallest
        found = {}
        for name, shape in self.shapes.items():
            known = [n or k for n, k in zip(shape[2:], least, strict=True)]
            if any(n % k and n > 1 for n, k in zip(known, least, strict=True)):
                return None
            found[name] = tuple(n // k if n > 1 or k == 1 else 0 for n, k in zip(known, least, strict=True))
        return found

    @cached_property
    def smallest(self) -> Shape:
        """The smallest size along each axis of space, maps of one pixel left out where there are others."""
        spaces = zip(*(shape[2:] for shape in self.shapes.values()), strict=True)
        known = [[n for n in axis if n] for axis in spaces]
        return tuple(min([n for n in axis if n > 1] or axis, default=SIDE) for axis in known)

    def sizes(self) -> Iterator[dict[str, Shape]]:
        """Shapes of all inputs, one set of sizes after the other."""
        if not self.shrinks or self.ratios is None:
            yield from self.true_sizes()
            return
        free = [self.is_free(axis) for axis in range(2, 2 + len(self.smallest))]
        for more in (0, 1, 2) if any(free) else (0,):
            base = [
                self._shrunk(size, at) + (more if loose else 0)
                for at, (size, loose) in enumerate(zip(self.smallest, free, strict=True))
            ]
            yield {
                name: (
                    min(shape[0] or 2, 2),
                    shape[1] or 3,
                    *(max(n * ratio, 1) for n, ratio in zip(base, self.ratios[name], strict=True)),
                )
                for name, shape in self.shapes.items()
            }

    def true_sizes(self) -> Iterator[dict[str, Shape]]:
        """The shapes as they are, with some numbers for sizes that are free."""
        for more in (0, 1) if any(None in shape for shape in self.shapes.values()) else (0,):
            yield {
                name: tuple((2 if axis == 0 else 12 + axis + more) if n is None else n for axis, n in enumerate(s))
                for name, s in self.shapes.items()
            }

    def _shrunk(self, size: int, at: int) -> int:
        """The size itself, or a smaller one with the same remainder; axes differ where they can."""
        least = self.side - (at % 2) * min(self.multiple, self.side // 4)
        shrunk = least + (size - least) % self.multiple
        return min(size, shrunk)

    def cropped(self, feed: Mapping[str, Array], random: np.random.Generator) -> Mapping[str, Array]:
        """A window of real activations, where maps may shrink."""
        if not self.shrinks or self.ratios is None or set(self.names) - feed.keys():
            return feed
        if any(feed[name].shape[2:] != self.shapes[name][2:] for name in self.names):
            return feed
        sizes = [self._shrunk(size, at) for at, size in enumerate(self.smallest)]
        starts = [int(random.integers(0, n - k + 1)) for n, k in zip(self.smallest, sizes, strict=True)]
        found = {}
        for name in self.names:
            window = (
                slice(start * r, max((start + k) * r, 1))
                for start, k, r in zip(starts, sizes, self.ratios[name], strict=True)
            )
            found[name] = feed[name][(slice(0, 2), slice(None), *window)]
        return found


def _is_local(border: Border, node: Node) -> bool:
    """Whether a node does the same whatever the size of its maps."""
    kind, get = node.op_type, node.attributes.get
    constants = [border.constant(name) for name in node.inputs]
    if not is_known(node):  # its results are not computed; a node that reads one would need its true size
        return not any(name in other.inputs for other in border.nodes for name in node.outputs)
    if kind in _LOCAL:
        return get("output_shape") is None
    if kind in BINARY:
        space = len(border.smallest)
        return all(c is None or all(n == 1 for n in c.shape[-space:]) for c in constants)
    if kind in ("Concat", "Split", "Softmax"):
        return int(get("axis", 0)) == 1
    if kind in ("Resize", "Upsample"):
        scales = _scales(border, node)
        by_scales = bool(scales) and not any(node.inputs[3:4])
        return by_scales and all(s > 0 and (s.is_integer() or (1 / s).is_integer()) for s in scales)
    if kind == "Slice":
        return _is_local_slice(node, constants)
    return False


def _scales(border: Border, node: Node) -> list[float]:
    """Of a Resize or Upsample; empty where they are not constant."""
    at = 1 if border.view.opset < SIZES_OPSET else 2
    scales = border.constant(node.inputs[at]) if len(node.inputs) > at else None
    return [] if scales is None else [float(scale) for scale in scales.ravel()]


def _is_local_slice(node: Node, constants: list[Array | None]) -> bool:
    if len(constants) > 1:
        given = [*constants[1:4], *[None] * (4 - len(constants))][:3]
    else:
        keys = ("starts", "ends", "axes")
        given = [None if node.attributes.get(k) is None else np.asarray(node.attributes[k]) for k in keys]
    starts, ends, axes = given
    if starts is None or ends is None or axes is None:
        return False
    return all(
        axis == 1 or (0 <= start <= NEAR and (end > FAR or -NEAR <= end < 0))
        for start, end, axis in zip(starts.ravel(), ends.ravel(), axes.ravel(), strict=True)
    )


def _stride(border: Border, node: Node) -> int:
    """By how much a node divides sizes."""
    strides = [int(n) for n in node.attributes.get("strides", ())]
    if node.op_type in ("Resize", "Upsample"):
        strides = [round(1 / scale) for scale in _scales(border, node) if 0 < scale < 1]
    if node.op_type == "ConvTranspose":
        return 1
    if node.op_type == "SpaceToDepth":
        strides = [int(node.attributes.get("blocksize", 1))]
    if node.op_type == "Slice":
        steps = border.constant(node.inputs[4]) if len(node.inputs) > 4 else None
        strides = [abs(int(n)) for n in np.ravel(steps)] if steps is not None else []
    return lcm(*(max(n, 1) for n in strides))


def _reach(border: Border, node: Node) -> int:
    """Pixels from one end of a node's window to the other, along its longest axis."""
    kernel = node.attributes.get("kernel_shape")
    if kernel is None and node.op_type in ("Conv", "ConvTranspose"):
        weight = border.constant(node.inputs[1])
        kernel = weight.shape[2:] if weight is not None else None
    if not kernel:
        return 1
    dilations = node.attributes.get("dilations") or (1,) * len(kernel)
    return max((int(k) - 1) * int(d) + 1 for k, d in zip(kernel, dilations, strict=True))
