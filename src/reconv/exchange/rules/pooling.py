"""How rules read pooling: the windows of AveragePool and MaxPool, the global ones, and ReduceMean over all of space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

from reconv.exchange.rule import Refusal
from reconv.exchange.rules.draft import attribute
from reconv.exchange.view import View
from reconv.graph import Node

__all__ = ["Pool", "read_pool"]

_WINDOWED = ("AveragePool", "MaxPool")


@dataclass(frozen=True)
class Pool:
    """A pooling over space.

    strides, kernel: one size per axis of space, empty for a pooling over all of space. shrinks: whether the result has
    far fewer pixels: one of the strides is above 1, or what is known of the shapes says at most half.
    """

    node: Node
    kind: Literal["average", "max"]
    kernel: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    shrinks: bool = True

    @property
    def x(self) -> str:
        return self.node.inputs[0]

    @property
    def y(self) -> str:
        return self.node.outputs[0]

    @property
    def over_all(self) -> bool:
        """Whether the window is all of space, whatever its size."""
        return not self.strides

    @property
    def pads(self) -> bool:
        """Whether windows may reach beyond the map: padding, or a last window that ceil_mode adds."""
        auto = attribute(self.node, "auto_pad", "NOTSET")
        explicit = auto == "NOTSET" and any(attribute(self.node, "pads", ()))
        return bool(explicit or auto.startswith("SAME") or attribute(self.node, "ceil_mode", 0))

    @property
    def averages_everywhere(self) -> bool:
        """Whether the weights of an average sum to 1 in every window: padding, if any, is left out of the count."""
        return not (self.pads and self.node.attributes.get("count_include_pad", 0))

    @property
    def empty_window(self) -> bool:
        """Whether some size of map may have a window with no pixel in it, whose result is -inf (MaxPool) or undefined.

        Between taps one apart, a window that begins at most kernel - 1 before the map, and ends at most that far
        behind it, holds a pixel. ceil_mode lets it begin up to stride - 1 later.
        """
        if not self.pads:
            return False
        attributes, space = self.node.attributes, len(self.kernel)
        if any(int(d) != 1 for d in attributes.get("dilations", ())):
            return True
        pads: Sequence[int] = attributes.get("pads", ())
        if attribute(self.node, "auto_pad", "NOTSET") != "NOTSET" or not pads:
            pads = (0,) * (2 * space)  # SAME: never more than kernel - 1 in all, and the last window begins on the map
        late = [stride - 1 if attributes.get("ceil_mode", 0) else 0 for stride in self.strides]
        begins = any(pads[a] >= self.kernel[a] for a in range(space))
        return begins or any(pads[space + a] + late[a] >= self.kernel[a] for a in range(space))


def read_pool(view: View, node: Node) -> Pool | Refusal | None:
    """What a node is as a pooling over space; None when it is not one."""
    if node.domain:
        return None
    if node.op_type == "GlobalAveragePool":
        return Pool(node, "average")
    if node.op_type == "GlobalMaxPool":
        return Pool(node, "max")
    if node.op_type == "ReduceMean":
        return _reduce_mean(view, node)
    if node.op_type not in _WINDOWED:
        return None
    if any(node.outputs[1:]):
        return Refusal("the pooling also gives the places of its maxima")
    kernel = tuple(int(size) for size in node.attributes["kernel_shape"])
    strides = tuple(int(size) for size in node.attributes.get("strides", (1,) * len(kernel)))
    shrinks = any(stride > 1 for stride in strides) or _halves(view, node)
    return Pool(node, "average" if node.op_type == "AveragePool" else "max", kernel, strides, shrinks)


def _halves(view: View, node: Node) -> bool:
    before, after = ((view.shape(name) or (None,))[2:] for name in (node.inputs[0], node.outputs[0]))
    sizes = [size for size in (*before, *after) if size is not None]
    known = bool(before) and len(sizes) == len(before) + len(after)
    return known and 2 * prod(sizes[len(before) :]) <= prod(sizes[: len(before)])


def _reduce_mean(view: View, node: Node) -> Pool | None:
    shape = view.shape(node.inputs[0])
    axes = node.attributes.get("axes")  # an input since opset 18
    if view.opset >= 18:
        axes = view.constant(node.inputs[1]) if len(node.inputs) > 1 else None
    if axes is None or shape is None or len(shape) < 3:
        return None
    over = sorted(int(axis) % len(shape) for axis in axes)
    return Pool(node, "average") if over == list(range(2, len(shape))) else None
