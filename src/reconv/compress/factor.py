"""One layer's factors: which directions of its channels are kept, and the thin layers that this makes.

A layer is read as a kernel (outs, ins, taps): a convolution that is not grouped, or a fully connected layer, which has
one tap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from reconv.graph import Graph, Node

__all__ = ["Factors", "Layer", "Part", "factorized", "layer_of"]

Array = np.ndarray[Any, Any]
ROUNDS = 4  # of orthogonal iteration


@dataclass(frozen=True, eq=False)
class Moments:
    """Of a layer's activations.

    inputs: second moment (ins, ins), about the mean for a flat layer, from so many pixels; power: their mean square;
    mean: of the outputs (outs,); outputs: their covariance (outs, outs), None for a flat layer, where it follows from
    that of the inputs.
    """

    inputs: Array
    in_pixels: int
    power: float
    mean: Array
    outputs: Array | None
    out_pixels: int


@dataclass(frozen=True, eq=False)
class Layer:
    """kernel: (outs, ins, taps) in float64; space: the sizes of its taps. axis: of the channels in its maps. pixels:
    inputs per output, the product of its strides."""

    node: Node
    weight_name: str
    kernel: Array
    space: tuple[int, ...]
    bias: Array | None
    axis: int
    pixels: int

    @property
    def flat(self) -> bool:
        """It has one tap of stride 1, so that one axis of channels is all there is to cut."""
        return self.kernel.shape[2] == 1 and self.pixels == 1

    @property
    def cost(self) -> float:
        """Multiply-adds per output pixel."""
        return float(self.kernel.size)


@dataclass(frozen=True, eq=False)
class Part:
    """A thin layer. role: "in", "core" or "out"."""

    role: str
    op_type: str
    weight: Array
    attributes: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Factors:
    """ranks: channels between the parts; whole: the kernel that they make; cost: multiply-adds per output pixel,
    borders aside."""

    parts: tuple[Part, ...]
    bias: Array | None
    ranks: tuple[int, ...]
    whole: Array
    cost: float


def layer_of(graph: Graph, node: Node) -> Layer | None:
    """The node as a layer; None where it is none that can be factorized."""
    weight = graph.constants.get(node.inputs[1]) if len(node.inputs) > 1 else None
    if weight is None or weight.ndim < 2 or not np.isfinite(weight).all():
        return None
    name = node.inputs[2] if len(node.inputs) > 2 else ""
    bias = graph.constants.get(name) if name else None
    if name and bias is None:
        return None
    get = node.attributes.get
    exact = weight.astype(np.float64)
    if node.op_type == "Conv":
        if get("group", 1) != 1:
            return None
        kernel = exact.reshape(*exact.shape[:2], -1)
        return Layer(node, node.inputs[1], kernel, exact.shape[2:], bias, 1, prod(get("strides", ()) or (1,)))
    if node.op_type == "Gemm":
        plain = get("alpha", 1.0) == 1.0 and get("beta", 1.0) == 1.0 and not get("transA", 0)
        if not plain or (bias is not None and bias.shape != (exact.shape[0 if get("transB", 0) else 1],)):
            return None
        return Layer(node, node.inputs[1], (exact if get("transB", 0) else exact.T)[:, :, None], (), bias, 1, 1)
    if node.op_type == "MatMul" and weight.ndim == 2:
        return Layer(node, node.inputs[1], exact.T[:, :, None], (), None, -1, 1)
    return None


def factorized(
    layer: Layer, *, ratio: float | None, energy: float | None, multiple: int, moments: Moments | None = None
) -> Factors | None:
    """The factors of a layer, None where they would not be cheaper than it.

    Args:
        layer: as `layer_of` reads it.
        ratio: the share of the multiply-adds that they may take; or
        energy: the share of the squares that each axis keeps.
        multiple: of kept channels.
        moments: of its activations; None: the weights alone decide.
    """
    outs, ins, _ = layer.kernel.shape
    root = None if moments is None or layer.flat else _root(_trusted(moments))
    output, input_ = _outputs(layer, moments), None if layer.flat else _inputs(layer, root)

    def ranks(share: float) -> tuple[int, int]:
        """The ranks that keep the share, without factors that cost more than they save."""
        r_in = ins if input_ is None else _enough(input_.values, share, multiple)
        return _paying(layer, _enough(output.values, share, multiple), r_in)

    if energy is not None:
        found = ranks(energy)
    else:
        found = outs, ins
        levels = np.unique(np.concatenate([_kept(basis.values) for basis in (output, input_) if basis is not None]))
        low, high = 0, len(levels) - 1
        while low <= high:  # the largest energy that is cheap enough: costs grow with it
            middle = (low + high) // 2
            tried = ranks(float(levels[middle]))
            if _cost(layer, *tried) <= (ratio or 0) * layer.cost:
                found, low = tried, middle + 1
            else:
                high = middle - 1
    r_out, r_in = found
    cost = _cost(layer, r_out, r_in)
    if cost >= layer.cost:
        return None
    u = output.vectors[:, :r_out] if r_out < outs else None
    v = input_.vectors[:, :r_in] if input_ is not None and r_in < ins else None
    if moments is None and u is not None and v is not None:
        u, v = _iterated(layer.kernel, u, v)
    return _assembled(layer, (u, v), root, moments, cost)


@dataclass(frozen=True, eq=False)
class _Basis:
    """Orthonormal columns, most important first, and the squares that each takes."""

    vectors: Array
    values: Array


def _outputs(layer: Layer, moments: Moments | None) -> _Basis:
    """Directions of the output channels, by what comes out, or by the weights alone."""
    outs, ins, _ = layer.kernel.shape
    rows = layer.kernel.reshape(outs, -1)
    if layer.flat:
        inner = np.eye(ins) if moments is None else _trusted(moments)
        if outs <= ins:
            return _basis(rows @ inner @ rows.T)
        q, r = np.linalg.qr(rows)  # the outputs fill no more than so many directions
        small = _basis(r @ inner @ r.T)
        return _Basis(q @ small.vectors, small.values)
    if moments is None or moments.outputs is None:
        return _basis(rows @ rows.T)
    doubt = outs / (outs + moments.out_pixels)
    return _basis((1 - doubt) * moments.outputs + doubt * moments.power * rows @ rows.T)


def _inputs(layer: Layer, root: Array | None) -> _Basis:
    """Directions of the input channels, in the metric whose root this is, or by the weights alone."""
    columns = np.moveaxis(layer.kernel, 1, 0).reshape(layer.kernel.shape[1], -1)
    columns = columns if root is None else root @ columns
    return _basis(columns @ columns.T)


def _trusted(moments: Moments) -> Array:
    """The second moment of the inputs, drawn towards channels that are independent and alike where pixels were few."""
    ins = len(moments.inputs)
    doubt = ins / (ins + moments.in_pixels)
    return np.asarray((1 - doubt) * moments.inputs + doubt * moments.power * np.eye(ins))


def _basis(matrix: Array) -> _Basis:
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return _Basis(vectors[:, ::-1], np.maximum(values[::-1], 0))


def _root(matrix: Array) -> Array:
    """The symmetric square root of a covariance, made a little positive so that it has an inverse."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    floor = max(float(values[-1]), 0.0) * 1e-10 + 1e-30
    return np.asarray((vectors * np.sqrt(np.maximum(values, floor))) @ vectors.T)


def _kept(values: Array) -> Array:
    """Share of the squares that the first 1, 2, ... directions keep."""
    total = float(values.sum())
    return np.cumsum(values) / total if total else np.ones_like(values)


def _enough(values: Array, energy: float, multiple: int) -> int:
    """How many directions keep that share, up to a multiple."""
    rank = int(np.searchsorted(_kept(values), energy - 1e-12) + 1)
    return min(-(-rank // multiple) * multiple, values.size)


def _cost(layer: Layer, r_out: int, r_in: int) -> float:
    """Multiply-adds per output pixel of the parts with these ranks; a full rank means that there is no such part."""
    outs, ins, taps = layer.kernel.shape
    cost = float(r_in * r_out * taps)
    cost += ins * r_in * layer.pixels if r_in < ins else 0
    return cost + (outs * r_out if r_out < outs else 0)


def _paying(layer: Layer, r_out: int, r_in: int) -> tuple[int, int]:
    """The ranks, without factors that cost more than they save."""
    outs, ins, _ = layer.kernel.shape
    choices = [(r_out, ins), (outs, r_in), (outs, ins)]
    if not layer.flat:
        choices.append((r_out, r_in))
    return min(choices, key=lambda ranks: _cost(layer, *ranks))


def _iterated(kernel: Array, u: Array, v: Array) -> tuple[Array, Array]:
    """Both bases by higher-order orthogonal iteration: each the best for the other."""
    for _ in range(ROUNDS):
        seen = np.einsum("oit,ir->ort", kernel, v).reshape(kernel.shape[0], -1)
        u = _basis(seen @ seen.T).vectors[:, : u.shape[1]]
        seen = np.einsum("oit,or->irt", kernel, u).reshape(kernel.shape[1], -1)
        v = _basis(seen @ seen.T).vectors[:, : v.shape[1]]
    return u, v


def _assembled(
    layer: Layer, bases: tuple[Array | None, Array | None], root: Array | None, moments: Moments | None, cost: float
) -> Factors:
    """The parts for these directions of outputs and inputs (None: the axis stays whole)."""
    u, v = bases
    narrow, core, bias = None, layer.kernel, layer.bias
    if v is not None:
        narrow = v.T if root is None else np.linalg.solve(root, v).T
        core = np.einsum("oit,ir->ort", layer.kernel, v if root is None else root @ v)
    if u is not None:
        core = np.einsum("oit,or->rit", core, u)
    whole = core if u is None else np.einsum("rit,or->oit", core, u)
    whole = whole if narrow is None else np.einsum("ort,ri->oit", whole, narrow)
    if moments is not None and u is not None and moments.mean.any():
        start = np.zeros(len(u)) if bias is None else bias.astype(np.float64)
        doubt = len(u) / (len(u) + moments.out_pixels)
        mean = (1 - doubt) * moments.mean + doubt * start
        bias = u @ (u.T @ (start - mean)) + mean
    wide = None if u is None else u[:, :, None]
    matrices = {"in": None if narrow is None else narrow[:, :, None], "core": core, "out": wide}
    parts = tuple(_part(layer, role, matrix) for role, matrix in matrices.items() if matrix is not None)
    ranks = tuple(basis.shape[1] for basis in (v, u) if basis is not None)
    return Factors(parts, bias, ranks, whole, cost)


def _part(layer: Layer, role: str, matrix: Array) -> Part:
    """A thin layer of the kernel (outs, ins, taps). Strides, padding and dilations stay with the core."""
    node = layer.node
    if node.op_type == "Conv":
        space = layer.space if role == "core" else (1,) * len(layer.space)
        attributes = dict(node.attributes) if role == "core" else {}
        return Part(role, "Conv", matrix.reshape(*matrix.shape[:2], *space), {**attributes, "kernel_shape": space})
    flat = matrix.reshape(matrix.shape[:2])
    return Part(role, "Gemm", flat, {"transB": 1}) if node.op_type == "Gemm" else Part(role, "MatMul", flat.T, {})
