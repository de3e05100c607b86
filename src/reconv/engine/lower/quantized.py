"""QuantizeLinear and DequantizeLinear of 8 bits, and the grids of quantized weights.

https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html: code = clamp(round half even(x / scale) + zero), and back
x = (code - zero) * scale. Maps hold unsigned codes: those of int8 tensors are moved up by 128. Here the nodes become
ops between maps of floats and maps of codes; which ops in between work on the codes themselves is decided by the
rules of `reconv.engine.lower.fuse`. A value of codes is read by DequantizeLinear alone; where anything else reads it,
the node is tail. An input of the model may be codes already. With a scale per channel the floats are multiplied first,
and the codes have the scale 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reconv.engine.lower import draft as d
from reconv.engine.lower import draft_codes as c
from reconv.engine.lower.builder import Array, Builder, Result, UnsupportedError, Value
from reconv.engine.lower.pointwise import affine
from reconv.graph import Node

__all__ = ["dequantize_linear", "folded", "grid_of", "quantize_linear", "readers_of", "whole"]

SMALLEST = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, eq=False)
class Steps:
    """A constant that DequantizeLinear made: whole numbers (codes minus zero) times a scale, along ``axis`` or one."""

    numbers: NDArray[np.int64]
    scale: NDArray[np.float32]
    axis: int


@dataclass(frozen=True, eq=False)
class Said:
    """What a node says of the codes of a map: one scale and zero, or one per element of an axis (unsigned codes)."""

    scales: d.Floats
    zeros: NDArray[np.int64]
    axis: int
    dtype: np.dtype[Any]

    @property
    def codes(self) -> d.Codes:
        """Of the map."""
        return d.Codes(float(self.scales[0]) if self.scales.size == 1 else 1.0, int(self.zeros[0]))

    def along(self, values: Array, rank: int) -> Array:
        """Values per element of the axis, against a tensor of this rank."""
        return values.reshape([-1 if i == self.axis % rank else 1 for i in range(rank)])


def quantize_linear(b: Builder, node: Node) -> list[Result]:
    value = b.value(node, 0)
    said = said_by(b, node, None)
    for reader in b.readers.get(node.outputs[0], ()):
        if reader.op_type != "DequantizeLinear" or reader.domain not in ("", "ai.onnx"):
            raise UnsupportedError(f"its codes are read by {reader.op_type}, expected DequantizeLinear only")
        check_axis(said_by(b, reader, said.dtype), value)
    if node.outputs[0] in b.results:
        raise UnsupportedError("its codes are an output of the model")
    check_axis(said, value)
    if said.scales.size > 1:
        rank = len(value.shape)
        factor = said.along(np.float32(1) / said.scales, rank)
        apart = said.along((said.zeros - said.zeros[0]).astype(np.float32), rank)
        value = affine(b, value, factor, apart)
    out = b.draft.map(b.geometry(value.map), said.codes)
    return [Value(b.add(c.Quantize(x=value.map, out=out)), value.layout)]


def dequantize_linear(b: Builder, node: Node) -> list[Result]:
    if node.inputs[0] in b.whole:
        said = said_by(b, node, b.whole[node.inputs[0]].dtype)
        value = _coded(b, b.value(node, 0), said)
    else:
        value = b.codes(node, 0)
        said = said_by(b, node, _dtype(b, b.makers[node.inputs[0]]))
    out = b.new(b.geometry(value.map))
    result = Value(b.add(c.Dequantize(x=value.map, x_codes=said.codes, out=out)), value.layout)
    if said.scales.size == 1:
        return [result]
    rank = len(value.shape)
    apart = (said.zeros[0] - said.zeros).astype(np.float32) * said.scales
    return [affine(b, result, said.along(said.scales, rank), said.along(apart, rank))]


def _coded(b: Builder, value: Value, said: Said) -> Value:
    """An input that is codes already and whose map holds them as floats, as a map of codes: nothing is rounded."""
    check_axis(said, value)
    codes = d.Codes(1.0, said.codes.zero)
    lowest = 128 if said.dtype == np.int8 else 0  # unsigned codes begin there
    if codes.zero != lowest:
        value = affine(b, value, np.ones(1, np.float32), np.full(1, lowest - codes.zero, np.float32))
    return Value(b.add(c.Quantize(x=value.map, out=b.draft.map(b.geometry(value.map), codes))), value.layout)


def check_axis(said: Said, value: Value) -> None:
    """Refuse scales that are not one, nor as many as the axis is long."""
    rank = len(value.shape)
    if said.scales.size > 1 and (rank == 0 or value.shape[said.axis % rank] != said.scales.size):
        raise UnsupportedError(f"{said.scales.size} scales along axis {said.axis} of a tensor {value.shape}")


def said_by(b: Builder, node: Node, dtype: np.dtype[Any] | None) -> Said:
    """Scales and zeros of a node, and its type of codes; ``dtype`` is what it reads, where that is known."""
    scale, given = b.constant(node, 1), b.optional(node, 2)
    scales = np.atleast_1d(scale)
    if scale.dtype != np.float32 or scales.ndim > 1 or not ((scales >= SMALLEST) & (scales <= 1 / SMALLEST)).all():
        raise UnsupportedError(f"scales {scale.shape} of type {scale.dtype}, expected float32 above 0")
    found = _dtype(b, node)
    if found not in (np.uint8, np.int8) or (dtype is not None and found != dtype):
        raise UnsupportedError(f"codes of type {found}, expected uint8 or int8")
    zeros = np.zeros(scales.shape, np.int64) if given is None else np.atleast_1d(given).astype(np.int64)
    if zeros.size == 1:
        zeros = np.broadcast_to(zeros.reshape(1), scales.shape)
    if zeros.shape != scales.shape:
        raise UnsupportedError(f"{zeros.size} zero points for {scales.size} scales")
    return Said(scales, zeros + (128 if found == np.int8 else 0), int(node.attributes.get("axis", 1)), found)


def _dtype(b: Builder, node: Node) -> np.dtype[Any]:
    """The type of a node's codes."""
    given = b.optional(node, 2)
    if given is not None:
        return given.dtype
    if node.op_type == "DequantizeLinear" and node.inputs[0] in b.whole:
        return b.whole[node.inputs[0]].dtype
    if node.op_type == "DequantizeLinear" and node.inputs[0] in b.makers:
        return _dtype(b, b.makers[node.inputs[0]])
    wanted = int(node.attributes.get("output_dtype", 0))
    return np.dtype({0: np.uint8, 2: np.uint8, 3: np.int8}.get(wanted, np.float32))  # TensorProto.UINT8, INT8


def folded(b: Builder, node: Node) -> list[Result] | None:
    """QuantizeLinear and DequantizeLinear of constants, per tensor or per axis; None for all other nodes and forms.

    What DequantizeLinear makes is remembered: where it becomes weights, they are on a grid.
    """
    if node.op_type not in ("QuantizeLinear", "DequantizeLinear") or node.attributes.get("block_size", 0):
        return None
    x, scale, zero = b.constant(node, 0), b.constant(node, 1), b.optional(node, 2)
    axis = int(node.attributes.get("axis", 1)) % max(x.ndim, 1)
    kinds = (np.uint8, np.int8, np.int32)
    codes = _dtype(b, node) if node.op_type == "QuantizeLinear" else x.dtype
    if scale.dtype != np.float32 or codes not in kinds or scale.ndim > 1:
        return None

    def along(values: Array) -> Array:
        return values.reshape([-1 if i == axis else 1 for i in range(x.ndim)] if values.size > 1 else [1] * x.ndim)

    below = 0 if zero is None else along(zero.astype(np.int64))
    if node.op_type == "QuantizeLinear":
        limits = np.iinfo(codes)
        with np.errstate(all="ignore"):
            steps = np.nan_to_num(np.rint(x / along(scale)), nan=-np.inf)  # the lowest code, as in the kernels
        return [np.clip(steps + below, limits.min, limits.max).astype(codes)]
    numbers = x.astype(np.int64) - below
    b.steps[node.outputs[0]] = Steps(numbers, scale.reshape(-1), axis)
    return [numbers.astype(np.float32) * along(scale)]


def grid_of(b: Builder, node: Node, axis: int, outputs: int, *, factor: float = 1.0, groups: int = 1) -> d.Grid | None:
    """The grid of the weights (input 1) of a node whose outputs lie along ``axis``, and of its bias (input 2).

    Args:
        factor: what the weights were multiplied with.
        groups: how often the axis is repeated for all outputs.
    """
    weight = next((b.steps[name] for name in node.inputs[:2] if name in b.steps), None)
    if weight is None or (weight.scale.size > 1 and (weight.axis != axis or weight.scale.size * groups != outputs)):
        return None
    each = np.broadcast_to(weight.scale, (outputs // groups,))
    scale = np.abs(np.tile(each, groups) * np.float32(factor))
    bias = b.steps.get(node.inputs[2]) if len(node.inputs) > 2 else None
    if bias is None or bias.scale.size not in (1, outputs) or bias.numbers.shape != (outputs,):
        return d.Grid(scale)
    if np.abs(bias.numbers).max() >= 2**31:
        return d.Grid(scale)
    return d.Grid(scale, bias.numbers.astype(np.int32), np.broadcast_to(bias.scale, (outputs,)))


def readers_of(nodes: Sequence[Node]) -> dict[str, list[Node]]:
    """Who reads each value."""
    found: dict[str, list[Node]] = {}
    for node in nodes:
        for name in node.reads:
            found.setdefault(name, []).append(node)
    return found


def whole(weight: Array, scale: d.Floats) -> NDArray[np.float64] | None:
    """The whole numbers that weights (Cout, ...) are of their steps (Cout,), or None where they are none."""
    steps = scale.astype(np.float64).reshape(-1, *(1,) * (weight.ndim - 1))
    with np.errstate(all="ignore"):
        numbers = np.where(steps > 0, weight / steps, 0.0)
    rounded = np.rint(numbers)
    near = np.abs(numbers - rounded) <= 1e-3
    return rounded if near.all() and not weight[np.broadcast_to(steps, weight.shape) == 0].any() else None
