"""Put an affine map per channel into the weights of the layer before it or after it.

With W a convolution's weights of output channel o and input channel i:

    scale (W x + b) + shift = W' x + b'     W'[o, i] = scale[o] W[o, i],   b' = scale b + shift
    W (scale x + shift) + b = W' x + b'     W'[o, i] = W[o, i] scale[i],   b' = b + sum over i and the window of W shift

The second holds at the border only where nothing is padded, or the shift is zero: the padding's zeros come after the
shift. The same holds for matrix products. Weights that another node reads too stay as they are, since folding would
store them twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from reconv.exchange.rule import Refusal
from reconv.exchange.rules.affine import Made, rounded
from reconv.exchange.rules.convolution import read_convolution
from reconv.exchange.view import View
from reconv.graph import Node

__all__ = ["after", "before", "is_linear"]

Array = np.ndarray[Any, Any]

_SPACE = ("Conv", "ConvTranspose")
_PRODUCTS = ("Gemm", "MatMul")


@dataclass(frozen=True, eq=False)
class _Layer:
    """weight: float64, as the operator has it; bias: float64, None where there is none; groups: 1 for a product."""

    node: Node
    weight: Array
    bias: Array | None

    @property
    def groups(self) -> int:
        return int(self.node.attributes.get("group", 1))

    @property
    def out_axis(self) -> int:
        """Of the weights; within a group for ConvTranspose."""
        if self.node.op_type in _PRODUCTS:
            return 0 if self.node.attributes.get("transB", 0) else 1
        return int(self.node.op_type == "ConvTranspose")

    @property
    def outs(self) -> int:
        size = int(self.weight.shape[self.out_axis])
        return size * self.groups if self.node.op_type == "ConvTranspose" else size

    @property
    def ins(self) -> int:
        size = int(self.weight.shape[1 - self.out_axis])
        return size * self.groups if self.node.op_type == "Conv" else size

    def scaled(self, factor: Array, axis: int) -> Array:
        """The weights times a factor for each channel of an axis, all groups' channels in a row."""
        weight = self.weight
        grouped = self.node.op_type in _SPACE and axis == 1  # the axis that holds the channels of one group
        if not grouped:
            return weight * factor.reshape([-1 if a == axis else 1 for a in range(weight.ndim)])
        parts = weight.reshape(self.groups, -1, *weight.shape[1:])
        return np.asarray((parts * factor.reshape(self.groups, 1, -1, *(1,) * (weight.ndim - 2))).reshape(weight.shape))


def is_linear(node: Node | None) -> bool:
    """Whether the node is a layer that this module folds into."""
    return node is not None and not node.domain and node.op_type in (*_SPACE, *_PRODUCTS)


def after(view: View, node: Node, scale: Array, shift: Array, y: str) -> Made | Refusal:
    """The layer ``node`` with ``scale * result + shift`` folded in, giving y. scale, shift: (1,) or (channels out,)."""
    layer = _read(view, node)
    if isinstance(layer, Refusal):
        return layer
    if any(values.size not in (1, layer.outs) for values in (scale, shift)):
        return Refusal("the affine map has another number of channels than the layer")
    scale, shift = (np.broadcast_to(values, (layer.outs,)) for values in (scale, shift))
    weight = layer.scaled(scale, layer.out_axis)
    bias = scale * (0.0 if layer.bias is None else layer.bias) + shift
    return _made(view, layer, weight, bias, x=node.inputs[0], y=y)


def before(view: View, node: Node, scale: Array, shift: Array, x: str) -> Made | Refusal:
    """The layer ``node`` reading x in the place of ``scale * x + shift``, which have (1,) or (channels in,) values."""
    layer = _read(view, node)
    if isinstance(layer, Refusal):
        return layer
    if any(values.size not in (1, layer.ins) for values in (scale, shift)):
        return Refusal("the affine map has another number of channels than the layer")
    scale, shift = (np.broadcast_to(values, (layer.ins,)) for values in (scale, shift))
    bias = layer.bias
    if shift.any():
        if node.op_type == "ConvTranspose":
            return Refusal("a shift would spread unevenly through the transposed convolution")
        if node.op_type == "Conv":
            conv = read_convolution(view, node)
            if isinstance(conv, Refusal):
                return conv
            if conv is None or conv.padded:
                return Refusal("the convolution pads with zeros, which the shift does not reach")
        moved = layer.scaled(shift, 1 - layer.out_axis)
        bias = moved.sum(axis=tuple(a for a in range(moved.ndim) if a != layer.out_axis))
        bias = bias * float(node.attributes.get("alpha", 1.0)) + (0.0 if layer.bias is None else layer.bias)
    return _made(view, layer, layer.scaled(scale, 1 - layer.out_axis), bias, x=x, y=node.outputs[0])


def _read(view: View, node: Node) -> _Layer | Refusal:
    names = [node.inputs[1], node.inputs[2] if len(node.inputs) > 2 else ""]
    weight, bias = (view.constant(name) for name in names)
    if weight is None or (names[1] and bias is None):
        return Refusal("its weights are computed while the model runs")
    if weight.dtype != np.float32 or not view.is_float(node.inputs[0]):
        return Refusal(f"weights of type {weight.dtype}; rules are proved for float32")
    if len(view.readers(names[0])) > 1 or view.is_output(names[0]):
        return Refusal("its weights are shared, and folding would store them twice")
    if node.op_type in _PRODUCTS and not (
        weight.ndim == 2 and len(view.shape(node.inputs[0]) or ()) == 2 and not node.attributes.get("transA", 0)
    ):
        return Refusal("a matrix product whose columns are not its channels")
    layer = _Layer(node, weight.astype(np.float64), None)
    if bias is None:
        return layer
    beta = float(node.attributes.get("beta", 1.0)) if node.op_type == "Gemm" else 1.0
    if any(size != 1 for size in bias.shape[:-1]) or bias.shape[-1:] not in ((), (1,), (layer.outs,)):
        return Refusal("a bias that differs from row to row")
    return _Layer(node, layer.weight, np.broadcast_to(beta * bias.astype(np.float64).reshape(-1), (layer.outs,)))


def _made(view: View, layer: _Layer, weight: Array, bias: Array | None, *, x: str, y: str) -> Made | Refusal:
    node = layer.node
    op, attributes = node.op_type, dict(node.attributes)
    constants: dict[str, Array] = {}
    arrays = {"weight": weight}
    if bias is not None and (layer.bias is not None or bias.any()):
        arrays["bias"] = bias
    for hint, values in arrays.items():
        single = rounded(values)
        if isinstance(single, Refusal):
            return single
        constants[view.fresh(f"{y}/{hint}")] = single
    if op == "MatMul" and len(constants) > 1:  # a MatMul has no place for a bias
        op = "Gemm"
    if op == "Gemm":
        attributes["beta"] = 1.0
    return view.node(op, (x, *constants), y, **attributes), constants
