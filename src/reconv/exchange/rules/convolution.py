"""How rules read and write convolutions: attributes with their defaults filled in, weights and biases as constants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from reconv.exchange.rule import Refusal
from reconv.exchange.view import View
from reconv.graph import Node

__all__ = ["Convolution", "ints", "read_convolution"]

Array = np.ndarray[Any, Any]
Ints = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Convolution:
    """A Conv with constant weights.

    weight: (Cout, Cin / groups, k...), float32; bias: (Cout,), zeros where there is none; ``pads`` as in ONNX, all
    begins before all ends.
    """

    node: Node
    weight: Array
    bias: Array
    strides: Ints
    pads: Ints
    dilations: Ints
    groups: int

    @property
    def x(self) -> str:
        return self.node.inputs[0]

    @property
    def y(self) -> str:
        return self.node.outputs[0]

    @property
    def kernel(self) -> Ints:
        return tuple(int(size) for size in self.weight.shape[2:])

    @property
    def has_bias(self) -> bool:
        return bool(self.bias.any())

    @property
    def padded(self) -> bool:
        return any(self.pads)

    @property
    def reads_one_pixel(self) -> bool:
        """A 1x1 window without padding: every output pixel depends on the channels of one input pixel."""
        return set(self.kernel) == {1} and not self.padded

    @property
    def pointwise(self) -> bool:
        """A 1x1 window at stride 1 over all channels: a matrix product at every pixel."""
        return self.reads_one_pixel and set(self.strides) == {1} and self.groups == 1


def read_convolution(view: View, node: Node | None) -> Convolution | Refusal | None:
    """What a node is as a convolution; None when it is not a Conv, a refusal when it cannot be read as one.

    ``auto_pad`` is read where it does not depend on the size of the input.
    """
    if node is None or node.op_type != "Conv" or node.domain:
        return None
    weight = view.constant(node.inputs[1])
    bias_name = node.inputs[2] if len(node.inputs) > 2 else ""
    bias = view.constant(bias_name) if bias_name else None
    if weight is None or (bias_name and bias is None):
        return Refusal("its weights are computed while the model runs")
    if weight.dtype != np.float32 or not view.is_float(node.inputs[0]):
        return Refusal(f"weights of type {weight.dtype}; rules are proved for float32")
    space = weight.ndim - 2
    get = node.attributes.get
    strides = ints(get("strides"), 1, space)
    pads = _pads(view, node, weight.shape[2:], strides)
    if isinstance(pads, Refusal):
        return pads
    return Convolution(
        node,
        weight,
        np.zeros(weight.shape[0], np.float32) if bias is None else bias,
        strides,
        pads,
        ints(get("dilations"), 1, space),
        int(get("group", 1)),
    )


def _pads(view: View, node: Node, kernel: tuple[int, ...], strides: Ints) -> Ints | Refusal:
    auto = node.attributes.get("auto_pad", "NOTSET")
    auto = auto.decode() if isinstance(auto, bytes) else str(auto)
    dilations = ints(node.attributes.get("dilations"), 1, len(kernel))
    if auto == "NOTSET":
        return ints(node.attributes.get("pads"), 0, 2 * len(kernel))
    if auto == "VALID":
        return (0,) * (2 * len(kernel))
    sizes = (view.shape(node.inputs[0]) or ())[2:]
    begins, ends = [], []
    for axis, (k, stride, dilation) in enumerate(zip(kernel, strides, dilations, strict=True)):
        reach = (k - 1) * dilation + 1
        size = sizes[axis] if axis < len(sizes) else None
        if stride == 1:
            total = reach - 1
        elif size is None:
            return Refusal(f"auto_pad {auto} with stride {stride} at a free size")
        else:
            total = max((-(-size // stride) - 1) * stride + reach - size, 0)
        less, more = total // 2, total - total // 2
        begins.append(less if auto == "SAME_UPPER" else more)
        ends.append(more if auto == "SAME_UPPER" else less)
    return (*begins, *ends)


def ints(values: Any, default: int, count: int) -> Ints:
    """An attribute that is a list of integers, or so many times its default."""
    return (default,) * count if values is None else tuple(int(value) for value in values)
