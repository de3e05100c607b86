"""How rules write convolutions of both kinds, and read transposed ones: attributes with their defaults filled in.

A transposed convolution puts every input pixel, times the kernel, on the output::

    y[s i + d t - p] += x[i] w[t]        (per axis; stride s, dilation d, padding p cuts the border off)

See https://onnx.ai/onnx/operators/onnx__ConvTranspose.html.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reconv.exchange.rule import Refusal
from reconv.exchange.rules.convolution import Convolution, ints
from reconv.exchange.rules.draft import SLICE_BY_INPUTS, Draft, attribute, is_op
from reconv.exchange.view import View
from reconv.graph import Node

__all__ = [
    "COARSE",
    "ROUNDING",
    "Transposed",
    "cut",
    "read_transposed",
    "surely_above",
    "swapped",
    "write",
    "write_along",
]

Array = np.ndarray[Any, Any]
Ints = tuple[int, ...]

LAST = np.iinfo(np.int64).max
ROUNDING = 2.0**-24
"""What rounding its entries to float32 may add to a kernel, in relation to its Frobenius norm."""
COARSE = 1e-6
"""Of the Frobenius norm: products in float64 tell 1e-8 of it from 0, and what is above it is no rounding."""


@dataclass(frozen=True, eq=False)
class Transposed:
    """A ConvTranspose with constant weights.

    weight: (Cin, Cout / groups, k...), float32; bias: (Cout,), zeros where there is none; ``pads`` as in ONNX, all
    begins before all ends.
    """

    node: Node
    weight: Array
    bias: Array
    strides: Ints
    pads: Ints
    dilations: Ints
    output_padding: Ints
    groups: int

    @property
    def kernel(self) -> Ints:
        return tuple(int(size) for size in self.weight.shape[2:])


def read_transposed(view: View, node: Node | None) -> Transposed | Refusal | None:
    """What a node is as a transposed convolution; None when it is none, a refusal when it cannot be read as one."""
    if node is None or not is_op(node, "ConvTranspose"):
        return None
    weight = view.constant(node.inputs[1]) if len(node.inputs) > 1 else None
    bias_name = node.inputs[2] if len(node.inputs) > 2 else ""
    bias = view.constant(bias_name) if bias_name else None
    if weight is None or (bias_name and bias is None):
        return Refusal("its weights are computed while the model runs")
    if weight.dtype != np.float32 or not view.is_float(node.inputs[0]):
        return Refusal(f"weights of type {weight.dtype}; rules are proved for float32")
    if "output_shape" in node.attributes:
        return Refusal("output_shape leaves the padding to the runtime")
    auto = attribute(node, "auto_pad", "NOTSET")
    if auto not in ("NOTSET", "VALID"):
        return Refusal(f"auto_pad {auto} of a transposed convolution")
    space, get = weight.ndim - 2, node.attributes.get
    groups = int(get("group", 1))
    read = Transposed(
        node,
        weight,
        np.zeros(weight.shape[1] * groups, np.float32) if bias is None else bias,
        ints(get("strides"), 1, space),
        ints(None if auto == "VALID" else get("pads"), 0, 2 * space),
        ints(get("dilations"), 1, space),
        ints(get("output_padding"), 0, space),
        groups,
    )
    lengths = (read.strides, read.pads[:space], read.pads[space:], read.dilations, read.output_padding)
    if any(len(values) != space for values in lengths) or weight.shape[0] % groups:
        return Refusal("its attributes do not fit its weights")
    return read


def swapped(weight: Array, groups: int) -> Array:
    """The kernel with input and output exchanged, within each group, and turned around in space.

    From (groups · A, B, k...) to (groups · B, A, k...). Doing it twice gives back what it was.
    """
    rows, columns, kernel = weight.shape[0] // groups, weight.shape[1], weight.shape[2:]
    split = weight.reshape(groups, rows, columns, *kernel)
    turned = np.flip(np.swapaxes(split, 1, 2), axis=tuple(range(3, 3 + len(kernel))))
    return np.ascontiguousarray(turned.reshape(groups * columns, rows, *kernel))


def write(
    draft: Draft,
    op_type: str,
    x: str,
    y: str,
    weight: Array,
    *,
    bias: Array | None,
    strides: Ints,
    pads: Ints,
    dilations: Ints | None = None,
    groups: int = 1,
) -> str:
    """A Conv or ConvTranspose with weights of its own; ``bias`` is left out when it is None or zero.

    Weights are float64, or float32 that were only moved about.
    """
    inputs = [x, draft.constant(f"{y}/weight", np.ascontiguousarray(weight))]
    if bias is not None and bias.any():
        inputs.append(draft.constant(f"{y}/bias", bias))
    kernel = tuple(int(size) for size in weight.shape[2:])
    return draft.node(
        op_type,
        inputs,
        y,
        kernel_shape=kernel,
        strides=strides,
        pads=pads,
        dilations=dilations or (1,) * len(kernel),
        group=groups,
    )


def write_along(
    draft: Draft, like: Convolution, axis: int, weight: Array, *, x: str, y: str, bias: Array | None, groups: int
) -> str:
    """A Conv along one of two axes, with stride, padding and dilation that ``like`` has there.

    weight: (Cout, Cin / groups, k of that axis).
    """

    def only(values: Ints, other: int) -> Ints:
        return tuple(value if place % 2 == axis else other for place, value in enumerate(values))

    return write(
        draft,
        "Conv",
        x,
        y,
        np.expand_dims(weight, 3 - axis),
        bias=bias,
        strides=only(like.strides, 1),
        pads=only(like.pads, 0),
        dilations=only(like.dilations, 1),
        groups=groups,
    )


def cut(draft: Draft, x: str, y: str, begins: Sequence[int], ends: Sequence[int]) -> str:
    """A Slice that takes so many pixels off the begin and the end of each axis of space."""
    lasts = [-end if end else LAST for end in ends]
    axes = range(2, 2 + len(lasts))
    if draft.view.opset < SLICE_BY_INPUTS:
        return draft.node("Slice", (x,), y, starts=tuple(begins), ends=tuple(lasts), axes=tuple(axes))
    parts = {"starts": begins, "ends": lasts, "axes": axes}
    return draft.node("Slice", (x, *(draft.constant(f"{y}/{k}", np.array(v, np.int64)) for k, v in parts.items())), y)


def surely_above(matrix: Array, limit: int) -> bool:
    """Whether a float64 matrix surely has a rank above ``limit`` up to rounding: a cheap look at a part of it.

    For limit + 1 columns and twice as many rows C, CᵀC - (COARSE |matrix|)² I has a Cholesky decomposition only if the
    smallest singular value of C is at least about COARSE |matrix|; and then so many of the whole matrix are. A
    decomposition into singular values or eigenvalues of every large kernel of a model would take minutes.
    """
    if min(matrix.shape) <= limit:
        return False
    wanted = (min(2 * (limit + 1), matrix.shape[0]), limit + 1)
    picked = (np.linspace(0, size - 1, count, dtype=int) for size, count in zip(matrix.shape, wanted, strict=True))
    part = matrix[np.ix_(*picked)]
    products = part.T @ part
    products.flat[:: limit + 2] -= (COARSE * float(np.linalg.norm(matrix))) ** 2
    try:
        return bool(np.isfinite(np.linalg.cholesky(products)).all())
    except np.linalg.LinAlgError:
        return False
