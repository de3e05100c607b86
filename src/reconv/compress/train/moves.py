"""Operators that move, cut and join values, and Resize."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch.nn import functional as F

from reconv.compress.train.call import Array, Call
from reconv.errors import ModelError
from reconv.graph import Node, evaluate

__all__ = [
    "cast", "concat", "depth_to_space", "expand", "flatten", "gather", "gather_elements", "gather_nd", "pad", "reshape",
    "resize", "slices", "space_to_depth", "split", "squeeze", "tile", "transpose", "unsqueeze",
]  # fmt: skip

Tensor = torch.Tensor
_TYPES: Mapping[int, torch.dtype] = {  # onnx.TensorProto.DataType
    1: torch.float32, 2: torch.uint8, 3: torch.int8, 5: torch.int16, 6: torch.int32, 7: torch.int64, 9: torch.bool,
    10: torch.float16, 11: torch.float64, 16: torch.bfloat16,
}  # fmt: skip
_MODES = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def concat(call: Call) -> Tensor:
    return torch.cat(list(call.all()), int(call.get("axis", 1)))


def split(call: Call) -> tuple[Tensor, ...]:
    axis, x, count = int(call.get("axis", 0)), call.x, len(call.node.outputs)
    sizes = call.ints("split", 1)
    if sizes is None:
        each = -(-x.shape[axis] // count)
        sizes = [each] * (count - 1) + [x.shape[axis] - each * (count - 1)]
    return torch.split(x, sizes, axis)


def pad(call: Call) -> Tensor:
    x, pads, mode = call.x, call.ints("pads", 1) or [], call.get("mode", "constant")
    axes = call.ints("axes", 3) or list(range(x.ndim))
    begin, end = [0] * x.ndim, [0] * x.ndim
    for axis, before, after in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        begin[axis], end[axis] = before, after
    if mode == "constant":
        given = call.array(2)
        value = float(call.get("value", 0.0)) if given is None else float(given.item())
        both = [p for pair in zip(reversed(begin), reversed(end), strict=True) for p in pair]
        return F.pad(x, both, value=value)
    if mode not in _MODES:
        raise call.unknown(f"mode {mode}")
    for axis in range(x.ndim):  # numpy knows how each mode repeats lines; torch pads few ranks only
        if begin[axis] > 0 or end[axis] > 0:
            lines = np.pad(np.arange(x.shape[axis]), (max(begin[axis], 0), max(end[axis], 0)), mode)
            x = x.index_select(axis, torch.from_numpy(lines))
        x = x.narrow(axis, max(-begin[axis], 0), x.shape[axis] - max(-begin[axis], 0) - max(-end[axis], 0))
    return x


def slices(call: Call) -> Tensor:
    x = call.x
    starts, ends = call.ints("starts", 1) or [], call.ints("ends", 2) or []
    axes = call.ints("axes", 3) or list(range(len(starts)))
    steps = call.ints("steps", 4) or [1] * len(starts)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        lines = range(x.shape[axis])[slice(start, None if step < 0 and end < -x.shape[axis] else end, step)]
        if step > 0:
            index = [slice(None)] * x.ndim
            index[axis] = slice(lines.start, lines.stop, step)
            x = x[tuple(index)]
        else:
            x = x.index_select(axis, torch.tensor(list(lines), dtype=torch.int64))
    return x


def gather(call: Call) -> Tensor:
    x, places, axis = call.x, call.tensor(1).to(torch.int64), int(call.get("axis", 0))
    axis %= x.ndim
    places = torch.where(places < 0, places + x.shape[axis], places)
    taken = x.index_select(axis, places.reshape(-1))
    return taken.reshape(*x.shape[:axis], *places.shape, *x.shape[axis + 1 :])


def gather_elements(call: Call) -> Tensor:
    x, places, axis = call.x, call.tensor(1).to(torch.int64), int(call.get("axis", 0))
    return torch.gather(x, axis, torch.where(places < 0, places + x.shape[axis], places))


def gather_nd(call: Call) -> Tensor:
    if call.get("batch_dims", 0):
        raise call.unknown("batch_dims")
    return call.x[tuple(call.tensor(1).to(torch.int64).unbind(-1))]


def tile(call: Call) -> Tensor:
    return call.x.repeat(call.ints("repeats", 1) or [])


def expand(call: Call) -> Tensor:
    return call.x.expand(np.broadcast_shapes(tuple(call.x.shape), tuple(call.ints("shape", 1) or [])))


def reshape(call: Call) -> Tensor:
    x, shape = call.x, call.ints("shape", 1) or []
    if not call.get("allowzero", 0):
        shape = [x.shape[axis] if size == 0 else size for axis, size in enumerate(shape)]
    return x.reshape(shape)


def flatten(call: Call) -> Tensor:
    axis = int(call.get("axis", 1))
    rows = int(np.prod(call.x.shape[: axis if axis >= 0 else axis + call.x.ndim]))
    return call.x.reshape(rows, -1)


def transpose(call: Call) -> Tensor:
    return call.x.permute(call.ints("perm") or list(reversed(range(call.x.ndim))))


def squeeze(call: Call) -> Tensor:
    axes = call.ints("axes", 1)
    return call.x.squeeze() if axes is None else call.x.squeeze(tuple(axes))


def unsqueeze(call: Call) -> Tensor:
    x, axes = call.x, call.ints("axes", 1) or []
    rank = x.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


def cast(call: Call) -> Tensor:
    if int(call.get("to", 1)) not in _TYPES:
        raise call.unknown(f"a cast to type {call.get('to', 1)}")
    return call.x.to(_TYPES[int(call.get("to", 1))])


def depth_to_space(call: Call) -> Tensor:
    n, c, h, w = call.x.shape
    b = int(call.get("blocksize", 1))
    if call.get("mode", "DCR") == "CRD":
        return F.pixel_shuffle(call.x, b)
    x = call.x.reshape(n, b, b, c // (b * b), h, w).permute(0, 3, 4, 1, 5, 2)
    return x.reshape(n, c // (b * b), h * b, w * b)


def space_to_depth(call: Call) -> Tensor:
    n, c, h, w = call.x.shape
    b = int(call.get("blocksize", 1))
    if call.get("mode", "DCR") == "CRD":
        return F.pixel_unshuffle(call.x, b)
    x = call.x.reshape(n, c, h // b, b, w // b, b).permute(0, 3, 5, 1, 2, 4)
    return x.reshape(n, c * b * b, h // b, w // b)


def resize(call: Call) -> Tensor:
    """Each axis by itself: lines picked or mixed as ONNX's reference resizes a ramp, or, for cubic, unit lines."""
    x, old = call.x, call.node.op_type == "Upsample" or call.opset < 11
    if call.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise call.unknown("keep_aspect_ratio_policy")
    scales = call.node.attributes.get("scales")
    if scales is None:
        scales = call.array(1 if old else 2)
    sizes = None if old else call.array(3)
    axes = call.ints("axes") or list(range(x.ndim))
    mode = call.get("mode", "nearest")
    for place, axis in enumerate(axes):
        by_scale = scales is not None and len(scales) > 0
        if not by_scale and (sizes is None or not len(sizes)):
            raise call.unknown("neither scales nor sizes")
        how: dict[str, Array] = {}
        if by_scale and scales is not None:
            how["scales"] = np.array([scales[place]], np.float32)
            unchanged = float(scales[place]) == 1.0
        else:
            assert sizes is not None
            how["sizes"] = np.array([sizes[place]], np.int64)
            unchanged = int(sizes[place]) == x.shape[axis]
        if unchanged:
            continue
        if mode == "nearest":
            lines = _reference(call, old, np.arange(x.shape[axis], dtype=np.float32), how)
            x = x.index_select(axis, torch.tensor(lines.astype(np.int64)))
        elif mode == "linear" and not call.get("antialias", 0):
            at = torch.tensor(_reference(call, old, np.arange(x.shape[axis], dtype=np.float32), how))
            first = at.floor().to(torch.int64)
            share = (at - first).reshape(-1, *(1,) * (x.ndim - 1 - axis)).to(x.dtype)
            second = (first + 1).clamp_max(x.shape[axis] - 1)
            x = x.index_select(axis, first) * (1 - share) + x.index_select(axis, second) * share
        else:
            units = np.eye(x.shape[axis], dtype=np.float32)
            weights = torch.tensor(np.stack([_reference(call, old, unit, how) for unit in units], 1)).to(x.dtype)
            x = torch.tensordot(x, weights, ([axis], [1])).movedim(-1, axis)
    return x


def _reference(call: Call, old: bool, line: Array, how: Mapping[str, Array]) -> Array:
    """What ONNX's reference makes of one line. Opset 9 and 10 did not say how they round: ONNX Runtime takes floor."""
    attributes = {k: v for k, v in call.node.attributes.items() if k not in ("scales", "axes")}
    if old:
        attributes |= {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        if call.get("mode", "nearest") == "nearest" and how.get("scales", np.ones(1))[0] < 1:
            attributes["nearest_mode"] = "ceil"
    names = ("x", "", "scales" if "scales" in how else "", "sizes" if "sizes" in how else "")
    node = Node("resize", "Resize", "", tuple(names), ("y",), attributes)
    try:
        return evaluate(node, [line, None, how.get("scales"), how.get("sizes")], max(call.opset, 13))[0]
    except ModelError as error:
        raise call.unknown(str(error)) from error
