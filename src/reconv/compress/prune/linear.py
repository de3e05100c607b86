"""How layers with weights carry channels: ONNX's Conv, ConvTranspose, Gemm and MatMul.

What a layer reads is summed over, so a channel that is zero can be cut out of the weights without a trace; what it
makes has atoms of its own. Grouped convolutions keep groups of equal size, in one of two ways: where there are more
groups than channels in each of them, as in a depthwise convolution, whole groups go, with all they read and make;
else every group loses the channels at the same places.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from reconv.compress.prune.channels import Carried, Change, Layer, PinnedError
from reconv.compress.prune.walk import Rule, Walk
from reconv.graph import Node

__all__ = ["SOURCES"]

Array = np.ndarray[Any, Any]


def _weight(walk: Walk, node: Node) -> Array:
    found = walk.constant(node.inputs[1])
    if found is None:
        raise PinnedError("its weights are computed while the model runs")
    return found


def _bias(walk: Walk, node: Node, outs: Array) -> Array:
    """The bias of each output channel (float64) of a convolution, and its site."""
    if len(node.inputs) < 3 or not node.inputs[2]:
        return np.zeros(len(outs))
    walk.site(node, 2, 0, outs, "bias")
    return np.asarray(walk.constant(node.inputs[2]), np.float64)


def _joined(walk: Walk, x: Carried | None, name: str, axis: int, of: Array) -> None:
    """The weights' axis goes with what is read; it stays where that is not carried."""
    weights = walk.weight_atoms(name, axis, len(of))
    if x is None:
        walk.atoms.pin(weights, "the channels that it reads are not carried")
    else:
        walk.atoms.join(weights, of)


def _still(products: Array, sizes: Array, ins: Array, bias: Array, exact: bool) -> Array:
    """Of each output channel the value that it has everywhere, NaN where it depends on what is read.

    products: as in `Layer`; sizes: the same of the absolute weights; ins: (groups, channels in of a group), NaN where
    not constant. Where a layer is not exact, a constant other than zero comes out differently at the border.
    """
    unknown = np.isnan(ins) if exact else ins != 0
    depends = (sizes * unknown[:, :, None]).sum(axis=1) > 0
    known = (products * np.where(np.isnan(ins), 0.0, ins)[:, :, None]).sum(axis=1)
    return np.asarray(np.where(depends, np.nan, known).reshape(-1) + bias)


def convolution(walk: Walk, node: Node) -> None:
    """Conv: weights (Cout, Cin / groups, window). ConvTranspose: (Cin, Cout / groups, window)."""
    weight, groups = _weight(walk, node), int(node.attributes.get("group", 1))
    transposed = node.op_type == "ConvTranspose"
    if transposed:
        m, n = weight.shape[0] // groups, weight.shape[1]
        parts = weight.reshape(groups, m, n, *weight.shape[2:])
    else:
        n, m = weight.shape[0] // groups, weight.shape[1]
        parts = weight.reshape(groups, n, m, *weight.shape[2:]).swapaxes(1, 2)
    parts = parts.reshape(groups, m, n, -1).astype(np.float64)
    # of a transposed convolution each output pixel sees every so-many-th tap: on average their share
    products = parts.sum(axis=3) / (np.prod(node.attributes.get("strides", 1)) if transposed else 1)
    exact = _is_exact(node, weight.shape[2:])
    x = walk.carried.get(node.inputs[0])
    if x is not None and (x.axis != 1 or len(x.atoms) != groups * m):
        raise PinnedError("its channels are not those that are carried")
    name = node.inputs[1]
    whole = x is not None and groups > m and groups > 1
    if transposed:
        outs = walk.atoms.fresh(groups * n) if whole else np.tile(walk.weight_atoms(name, 1, n), groups)
    else:
        outs = walk.weight_atoms(name, 0, groups * n)
    rows = outs.reshape(groups, n)
    if whole and x is not None:
        ins = x.atoms.reshape(groups, m)
        for column in (*ins.T[1:], *rows.T):
            walk.atoms.join(ins[:, 0], column)
        walk.site(node, 1, 0, x.atoms if transposed else outs, "out")
        first = ins[:, 0]
        walk.adapt(node, first, lambda kept: Change({"group": int(kept(first).sum())}))
    else:
        for row in rows[1:]:
            walk.atoms.join(rows[0], row)
        within = walk.atoms.fresh(m) if x is None else x.atoms.reshape(groups, m)[0]
        if x is not None:
            for row in x.atoms.reshape(groups, m)[1:]:
                walk.atoms.join(within, row)
        if transposed:
            every = np.tile(within, groups) if x is None else x.atoms
            _joined(walk, x, name, 0, every)
            walk.site(node, 1, 1, rows[0], "out")
            walk.site(node, 1, 0, walk.weight_atoms(name, 0, groups * m), "in")
        else:
            _joined(walk, x, name, 1, within)
            walk.site(node, 1, 0, outs, "out")
            walk.site(node, 1, 1, walk.weight_atoms(name, 1, m), "in")
    bias = _bias(walk, node, outs)
    ins_still = np.full((groups, m), np.nan) if x is None else x.still.reshape(groups, m)
    still = _still(products, np.abs(parts).sum(axis=3), ins_still, bias, exact)
    walk.layers.append(Layer(node, products, (parts**2).sum(axis=(2, 3)), x, outs, whole, exact))
    walk.carry(node.outputs[0], 1, outs, still)


def _is_exact(node: Node, window: tuple[int, ...]) -> bool:
    """Whether each output pixel sees the whole window, at the border too."""
    one_tap = all(size == 1 for size in window)
    if any(node.attributes.get("pads", ())):
        return False
    if node.op_type == "ConvTranspose":
        return one_tap and all(stride == 1 for stride in node.attributes.get("strides", ()))
    return one_tap or str(node.attributes.get("auto_pad", "NOTSET")) in ("NOTSET", "VALID")


def gemm(walk: Walk, node: Node) -> None:
    """Gemm: alpha A B + beta C, with A (rows, in), B constant."""
    weight = _weight(walk, node)
    across = bool(node.attributes.get("transB", 0))
    in_axis, out_axis = (1, 0) if across else (0, 1)
    x, name = walk.carried.get(node.inputs[0]), node.inputs[1]
    if node.attributes.get("transA", 0) or (x is not None and x.axis != 1):
        raise PinnedError("its rows are not those that are carried")
    outs = walk.weight_atoms(name, out_axis, weight.shape[out_axis])
    walk.site(node, 1, out_axis, outs, "out")
    bias = np.zeros(len(outs))
    if len(node.inputs) > 2 and node.inputs[2]:
        c = walk.constant(node.inputs[2])
        if c is None:
            raise PinnedError("its bias is computed while the model runs")
        if c.ndim and c.shape[-1] == len(outs) and len(outs) > 1:
            walk.site(node, 2, c.ndim - 1, outs, "bias")
        rows = c.size == c.shape[-1] if c.ndim else True
        bias = np.broadcast_to(c.reshape(-1), (len(outs),)) if rows else np.full(len(outs), np.nan)
        bias = bias.astype(np.float64) * float(node.attributes.get("beta", 1.0))
    factor = float(node.attributes.get("alpha", 1.0))
    _product(
        walk, node, factor * (weight.T if across else weight).astype(np.float64), (in_axis, out_axis), bias=bias, axis=1
    )


def matmul(walk: Walk, node: Node) -> None:
    """MatMul with a constant matrix on its right: the last axis is summed over."""
    weight = walk.constant(node.inputs[1])
    x = walk.carried.get(node.inputs[0])
    if weight is None or weight.ndim != 2:
        raise PinnedError("it is not a product with a constant matrix on its right")
    rank = len(walk.shape(node.inputs[0]))
    if x is not None and x.axis != rank - 1:
        walk.carry(node.outputs[0], x.axis, x.atoms, np.where(x.still == 0, 0.0, np.nan))
        return
    walk.site(node, 1, 1, walk.weight_atoms(node.inputs[1], 1, weight.shape[1]), "out")
    _product(walk, node, weight.astype(np.float64), (0, 1), bias=np.zeros(weight.shape[1]), axis=rank - 1)


def _product(walk: Walk, node: Node, matrix: Array, axes: tuple[int, int], *, bias: Array, axis: int) -> None:
    """matrix: (in, out) float64; axes: of the inputs and the outputs in the constant as it is stored."""
    x, name = walk.carried.get(node.inputs[0]), node.inputs[1]
    count, _ = matrix.shape
    if x is not None and len(x.atoms) != count:
        raise PinnedError("its channels are not those that are carried")
    ins = walk.weight_atoms(name, axes[0], count)
    _joined(walk, x, name, axes[0], ins if x is None else x.atoms)
    walk.site(node, 1, axes[0], ins, "in")
    outs = walk.weight_atoms(name, axes[1], matrix.shape[1])
    still = np.full((1, count), np.nan) if x is None else x.still[None]
    walk.layers.append(Layer(node, matrix[None], (matrix**2).sum(axis=1)[None], x, outs, False, True))
    walk.carry(node.outputs[0], axis, outs, _still(matrix[None], np.abs(matrix[None]), still, bias, True))


SOURCES: Mapping[str, Rule] = {"Conv": convolution, "ConvTranspose": convolution, "Gemm": gemm, "MatMul": matmul}
"""Layers: they make channels also from an input that carries none."""
