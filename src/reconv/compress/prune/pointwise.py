"""How operators carry channels that keep them apart: arithmetic, activations, norms, pools, resizing, padding.

A constant with one value per channel is cut along with them. Additions and products of two maps join their channels.
Statistics over channels (a Softmax over them, LayerNormalization, LRN) pin.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from reconv.compress.prune.channels import Carried, Change, Kept, PinnedError
from reconv.compress.prune.moving import only_first
from reconv.compress.prune.walk import Rule, Walk
from reconv.errors import ModelError
from reconv.graph import Node, evaluate

__all__ = ["POINTWISE"]

Array = np.ndarray[Any, Any]


def elementwise(walk: Walk, node: Node) -> None:
    """Any operator that works on each element, with inputs that are broadcast."""
    names = [name for name in node.inputs if name]
    rank = max(len(walk.shape(name)) for name in names)
    mine = max((name for name in names if name in walk.carried), key=lambda name: len(walk.carried[name].atoms))
    first = walk.carried[mine]
    axis = first.axis + rank - len(walk.shape(mine))
    for place, name in enumerate(node.inputs):
        if not name:
            continue
        shape = walk.shape(name)
        at = axis - (rank - len(shape))
        if (other := walk.carried.get(name)) is not None:
            if len(other.atoms) == 1 < len(first.atoms):  # one map for all channels, as in spatial attention
                walk.atoms.pin(other.atoms, f"{node.name} ({node.op_type}): it is shared by all channels")
                continue
            if other.axis != at or len(other.atoms) != len(first.atoms):
                raise PinnedError("its inputs carry different channels")
            walk.atoms.join(first.atoms, other.atoms)
        elif at >= 0 and shape[at] != 1:
            if walk.constant(name) is None:
                raise PinnedError(f"{name!r} does not carry channels")
            walk.site(node, place, at, first.atoms)
    still = _still(walk, node, axis, rank, len(first.atoms))
    for place, name in enumerate(node.outputs):
        walk.carry(name, axis, first.atoms, still if place == 0 else None)


def _still(walk: Walk, node: Node, axis: int, rank: int, count: int) -> Array | None:
    """The constant channels of an elementwise result, by computing it on one element of each."""
    arrays: list[Array | None] = []
    known = np.ones(count, bool)
    zero = np.zeros(count, bool)
    for name in node.inputs:
        values = _per_channel(walk, name, axis, rank, count) if name else None
        if name and values is None:
            values = np.full((1,) * rank, np.nan)
        arrays.append(values)
        if values is not None:
            row = np.broadcast_to(values.reshape(-1), (count,))
            known &= ~np.isnan(row.astype(np.float64))
            zero |= row == 0
    if node.op_type == "Mul" and zero.any():
        found = np.where(zero, 0.0, np.nan)
    elif not known.any():
        return None
    else:
        found = np.full(count, np.nan)
    if known.any():
        # 1 in the place of what is not known: it is thrown away below
        inputs = [None if a is None else np.where(np.isnan(a.astype(np.float64)), 1, a).astype(a.dtype) for a in arrays]
        try:
            computed = evaluate(node, inputs, walk.graph.opset)[0].astype(np.float64)
        except (ModelError, TypeError, ValueError):
            return None
        found = np.where(known, np.broadcast_to(computed.reshape(-1), (count,)), found)
    return np.where(np.isfinite(found), found, np.nan)


def _per_channel(walk: Walk, name: str, axis: int, rank: int, count: int) -> Array | None:
    """The values of an input, one or one per channel, with ``rank`` axes; None where other axes matter too."""
    if (carried := walk.carried.get(name)) is not None:
        if len(carried.atoms) != count:
            return None
        row = carried.still.astype(np.float32)
    elif (array := walk.constant(name)) is not None and array.dtype.kind in "fiub":
        if array.size == 0:
            return None
        padded = array.reshape((1,) * (rank - array.ndim) + array.shape)
        if any(size != 1 for at, size in enumerate(padded.shape) if at != axis):
            return None
        if array.ndim == 0:  # Clip wants its borders so
            return array
        row = padded.reshape(-1)
    else:
        return None
    return row.reshape([-1 if at == axis else 1 for at in range(rank)])


def _on_axis_one(walk: Walk, node: Node) -> Carried:
    x = only_first(walk, node)
    if x.axis != 1:
        raise PinnedError("its channels are not those that are carried")
    if any(walk.is_used(name) for name in node.outputs[1:]):
        raise PinnedError("it has results besides the first")
    return x


def batch_normalization(walk: Walk, node: Node) -> None:
    """BatchNormalization of known statistics: one scale, shift, mean and variance per channel."""
    x = _on_axis_one(walk, node)
    if node.attributes.get("training_mode", 0):
        raise PinnedError("it is in training mode")
    for place, role in enumerate(("scale", "shift", "mean", "variance"), start=1):
        walk.site(node, place, 0, x.atoms, role)
    scale, shift, mean, variance = (np.asarray(walk.constant(name), np.float64) for name in node.inputs[1:5])
    spread = np.sqrt(variance + float(node.attributes.get("epsilon", 1e-5)))
    still = np.where(scale == 0, 0.0, (x.still - mean) / spread * scale) + shift
    walk.carry(node.outputs[0], 1, x.atoms, still)


def instance_normalization(walk: Walk, node: Node) -> None:
    """InstanceNormalization: a channel that is constant comes out as its shift."""
    x = _on_axis_one(walk, node)
    walk.site(node, 1, 0, x.atoms, "scale")
    walk.site(node, 2, 0, x.atoms, "shift")
    scale, shift = (np.asarray(walk.constant(name), np.float64) for name in node.inputs[1:3])
    walk.carry(node.outputs[0], 1, x.atoms, np.where(np.isnan(x.still) & (scale != 0), np.nan, shift))


def same(walk: Walk, node: Node) -> None:
    """Pools that give a constant back: MaxPool, GlobalAveragePool, GlobalMaxPool."""
    x = _on_axis_one(walk, node)
    walk.carry(node.outputs[0], 1, x.atoms, x.still)


def zero_stays(walk: Walk, node: Node) -> None:
    """Per channel, and of a constant only zero is known to stay."""
    x = _on_axis_one(walk, node)
    walk.carry(node.outputs[0], 1, x.atoms, np.where(x.still == 0, 0.0, np.nan))


def average_pool(walk: Walk, node: Node) -> None:
    """AveragePool: a constant stays one unless the padding's zeros count."""
    padded = any(node.attributes.get("pads", ())) or str(node.attributes.get("auto_pad", "NOTSET")).startswith("SAME")
    counted = bool(node.attributes.get("count_include_pad", 0)) and padded
    (zero_stays if counted else same)(walk, node)


def resize(walk: Walk, node: Node) -> None:
    """Resize and Upsample, where the channels keep their number."""
    x = walk.carried[node.inputs[0]]
    before, after = walk.shape(node.inputs[0]), walk.shape(node.outputs[0])
    axes = [int(a) % len(before) for a in node.attributes.get("axes", range(len(before)))]
    if x.axis in axes:
        at = axes.index(x.axis)
        if len(node.inputs) > 3 and node.inputs[3]:
            _sizes_follow(walk, node, x.atoms, at)
        elif after[x.axis] != len(x.atoms):
            scales = next((walk.constant(name) for name in reversed(node.inputs[1:]) if name), None)
            scales = np.asarray(node.attributes.get("scales", ())) if scales is None else scales
            if len(scales) <= at or scales[at] != 1:
                raise PinnedError("it may resize channels")
    cropped = node.attributes.get("coordinate_transformation_mode") == "tf_crop_and_resize"
    walk.carry(node.outputs[0], x.axis, x.atoms, None if cropped else x.still)


def _sizes_follow(walk: Walk, node: Node, atoms: Array, at: int) -> None:
    """The sizes that a Resize is given hold the number of channels."""
    sizes = walk.constant(node.inputs[3])
    if sizes is None:
        raise PinnedError("its sizes are computed while the model runs")
    if sizes[at] != len(atoms):
        raise PinnedError("it resizes channels")

    def adapt(kept: Kept) -> Change:
        new = np.array(sizes)
        new[at] = kept(atoms).sum()
        return Change(constants={3: new})

    walk.adapt(node, atoms, adapt)


def pad(walk: Walk, node: Node) -> None:
    """Pad, where no channels are added."""
    x = only_first(walk, node)
    rank = len(walk.shape(node.inputs[0]))
    amounts = walk.numbers(node, 1, "pads") or []
    axes = walk.numbers(node, 3) if len(node.inputs) > 3 else None
    axes = list(range(rank)) if axes is None else [a % rank for a in axes]
    if x.axis in axes and any(amounts[at] for at in (axes.index(x.axis), axes.index(x.axis) + len(axes))):
        raise PinnedError("it adds channels")
    filled = str(node.attributes.get("mode", "constant")) == "constant" and any(amounts)
    value = walk.constant(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
    fill = float(node.attributes.get("value", 0.0)) if value is None else float(value.reshape(-1)[0])
    walk.carry(node.outputs[0], x.axis, x.atoms, np.where(x.still == fill, fill, np.nan) if filled else x.still)


def reduction(walk: Walk, node: Node) -> None:
    """ReduceMean, ReduceMax and the like over other axes than the channels."""
    x = only_first(walk, node)
    rank = len(walk.shape(node.inputs[0]))
    axes = walk.numbers(node, 1, "axes")
    if not axes:
        if node.attributes.get("noop_with_empty_axes", 0):
            walk.carry(node.outputs[0], x.axis, x.atoms)
            return
        raise PinnedError("it reduces channels")
    gone = {axis % rank for axis in axes}
    if x.axis in gone:
        raise PinnedError("it reduces channels")
    axis = x.axis if node.attributes.get("keepdims", 1) else x.axis - sum(a < x.axis for a in gone)
    keeps = node.op_type in ("ReduceMean", "ReduceMax", "ReduceMin")
    walk.carry(node.outputs[0], axis, x.atoms, x.still if keeps else None)


def along_an_axis(walk: Walk, node: Node) -> None:
    """Softmax and its kind, along another axis than the channels."""
    x = only_first(walk, node)
    rank = len(walk.shape(node.inputs[0]))
    flat = walk.graph.opset < 13 and node.op_type != "LpNormalization"
    axis = int(node.attributes.get("axis", 1 if flat else -1)) % rank
    if x.axis == axis or (flat and x.axis > axis):
        raise PinnedError("it works across channels")
    size = None if flat else walk.shape(node.inputs[0])[axis]
    even = 1 / size if node.op_type == "Softmax" and size else np.nan
    walk.carry(node.outputs[0], x.axis, x.atoms, np.where(np.isnan(x.still), np.nan, even))


_ELEMENTWISE = (
    *("Abs", "Acos", "Acosh", "Add", "And", "Asin", "Asinh", "Atan", "Atanh", "Cast", "Ceil", "Celu", "Clip", "Cos"),
    *("Cosh", "Div", "Dropout", "Elu", "Equal", "Erf", "Exp", "Floor", "Gelu", "Greater", "GreaterOrEqual"),
    *("HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max"),
    *("Mean", "Min", "Mish", "Mod", "Mul", "Neg", "Not", "Or", "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu"),
    *("Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Swish", "Tan", "Tanh"),
    *("ThresholdedRelu", "Where", "Xor"),
)
_REDUCTIONS = ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare")

POINTWISE: Mapping[str, Rule] = {
    **dict.fromkeys(_ELEMENTWISE, elementwise),
    **dict.fromkeys(("MaxPool", "GlobalAveragePool", "GlobalMaxPool"), same),
    **dict.fromkeys(("LpPool", "GlobalLpPool", "GridSample"), zero_stays),
    **dict.fromkeys(_REDUCTIONS, reduction),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax", "LpNormalization"), along_an_axis),
    **dict.fromkeys(("Resize", "Upsample"), resize),
    "AveragePool": average_pool,
    "BatchNormalization": batch_normalization,
    "InstanceNormalization": instance_normalization,
    "Pad": pad,
}
