"""What moves values without computing: errors move with them."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from reconv.exchange.float64.call import Call, Op, text
from reconv.exchange.float64.value import Array, Value, exact, known, noise_like

__all__ = ["MOVEMENTS"]


def _moved(x: Value, move: Callable[[Array], Array]) -> Value:
    noise = move(noise_like(x)) if x.noise.any() else np.zeros(())
    return Value(move(x.array), None if x.error2 is None else move(x.error2), noise)


def concat(call: Call) -> tuple[Value, ...]:
    values = call.values()
    axis = int(call.get("axis", 1))
    array = np.concatenate([v.array for v in values], axis)
    error2 = None
    if any(v.error2 is not None for v in values):
        error2 = np.concatenate([known(v) for v in values], axis)
    return (Value(array, error2, np.concatenate([noise_like(v) for v in values], axis)),)


def split(call: Call) -> tuple[Value, ...]:
    x = call.value(0)
    axis = int(call.get("axis", 0)) % x.array.ndim
    size, count = x.array.shape[axis], len(call.node.outputs)
    lengths = call.ints("split", 1 if call.opset >= 13 else None)
    if lengths is None:
        each = -(-size // count)
        lengths = tuple(min(each, size - at * each) for at in range(count))
    if sum(lengths) != size or min(lengths) < 0 or len(lengths) != count:
        raise call.unknown(f"parts {lengths} of {size}")
    ends = np.cumsum(lengths)
    whole = (slice(None),) * axis
    return tuple(
        _moved(x, lambda a, s=slice(end - n, end): a[(*whole, s)])  # type: ignore[misc]  # s is bound now, not late
        for n, end in zip(lengths, ends, strict=True)
    )


def slice_(call: Call) -> tuple[Value, ...]:
    x = call.value(0)
    rank = x.array.ndim
    inputs = call.opset >= 10
    starts = call.ints("starts", 1 if inputs else None) or ()
    ends = call.ints("ends", 2 if inputs else None) or ()
    axes = call.ints("axes", 3 if inputs else None) or tuple(range(len(starts)))
    steps = call.ints("steps", 4 if inputs else None) or (1,) * len(starts)
    index = [slice(None)] * rank
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        n = x.array.shape[axis % rank]
        if step < 0 and end < -n:  # before the first element, which python writes as None
            index[axis % rank] = slice(start, None, step)
        else:
            index[axis % rank] = slice(start, end, step)
    return (_moved(x, lambda a: a[tuple(index)]),)


def pad(call: Call) -> tuple[Value, ...]:
    x = call.value(0)
    rank = x.array.ndim
    mode = text(call.get("mode", "constant"))
    pads = call.ints("pads", 1 if call.opset >= 11 else None) or ()
    fill = call.array(2) if call.opset >= 11 else np.asarray(call.get("value", 0.0))
    axes = call.ints("axes", 3 if call.opset >= 18 else None) or tuple(range(rank))
    widths = [(0, 0)] * rank
    for at, axis in enumerate(axes):
        widths[axis % rank] = (pads[at], pads[at + len(axes)])
    if mode not in ("constant", "edge", "reflect", "wrap"):
        raise call.unknown(f"mode {mode}")
    cut = tuple(slice(max(-b, 0), n - max(-e, 0)) for (b, e), n in zip(widths, x.array.shape, strict=True))
    out = [(max(b, 0), max(e, 0)) for b, e in widths]
    if mode == "constant":
        value = x.array.dtype.type(0) if fill is None or not fill.size else fill.ravel()[0]
        array = np.pad(x.array[cut], out, constant_values=value)
    else:
        array = np.pad(x.array[cut], out, mode=mode)  # type: ignore[call-overload]  # one of four words

    def around(a: Array) -> Array:  # zeros are sure
        padded = np.pad(a[cut], out, **({} if mode == "constant" else {"mode": mode}))  # type: ignore[call-overload]
        return np.asarray(padded)

    error2 = None if x.error2 is None else around(x.error2)
    return (Value(array, error2, around(noise_like(x))),)


def transpose(call: Call) -> tuple[Value, ...]:
    return (_moved(call.value(0), lambda a: a.transpose(call.ints("perm"))),)


def reshape(call: Call) -> tuple[Value, ...]:
    x = call.value(0)
    shape = call.ints("shape", 1) or ()
    if not call.get("allowzero", 0):
        shape = tuple(x.array.shape[at] if n == 0 else n for at, n in enumerate(shape))
    return (_moved(x, lambda a: a.reshape(shape)),)


def flatten(call: Call) -> tuple[Value, ...]:
    x = call.value(0)
    axis = int(call.get("axis", 1))
    axis += x.array.ndim if axis < 0 else 0
    return (_moved(x, lambda a: a.reshape(prod(a.shape[:axis]), prod(a.shape[axis:]))),)


def squeeze(call: Call) -> tuple[Value, ...]:
    axes = call.ints("axes", 1 if call.opset >= 13 else None)
    return (_moved(call.value(0), lambda a: np.squeeze(a, axes)),)


def unsqueeze(call: Call) -> tuple[Value, ...]:
    axes = call.ints("axes", 1 if call.opset >= 13 else None) or ()
    return (_moved(call.value(0), lambda a: np.expand_dims(a, axes)),)


def depth_to_space(call: Call) -> tuple[Value, ...]:
    b = int(call.get("blocksize", 1))
    depth_first = text(call.get("mode", "DCR")) == "DCR"

    def move(a: Array) -> Array:
        n, c, h, w = a.shape
        if depth_first:
            blocks = a.reshape(n, b, b, c // (b * b), h, w).transpose(0, 3, 4, 1, 5, 2)
        else:
            blocks = a.reshape(n, c // (b * b), b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
        return blocks.reshape(n, c // (b * b), h * b, w * b)

    return (_moved(call.value(0), move),)


def space_to_depth(call: Call) -> tuple[Value, ...]:
    b = int(call.get("blocksize", 1))
    order = (0, 3, 5, 1, 2, 4) if text(call.get("mode", "DCR")) == "DCR" else (0, 1, 3, 5, 2, 4)

    def move(a: Array) -> Array:
        n, c, h, w = a.shape
        blocks = a.reshape(n, c, h // b, b, w // b, b).transpose(order)
        return blocks.reshape(n, c * b * b, h // b, w // b)

    return (_moved(call.value(0), move),)


def gather(call: Call) -> tuple[Value, ...]:
    indices = call.value(1).array
    return (_moved(call.value(0), lambda a: np.take(a, indices, int(call.get("axis", 0)))),)


def expand(call: Call) -> tuple[Value, ...]:
    x = call.value(0)
    shape = np.broadcast_shapes(x.array.shape, call.ints("shape", 1) or ())
    return (_moved(x, lambda a: np.broadcast_to(a, shape)),)


def tile(call: Call) -> tuple[Value, ...]:
    return (_moved(call.value(0), lambda a: np.tile(a, call.ints("repeats", 1) or ())),)


def shape(call: Call) -> tuple[Value, ...]:
    sizes = np.asarray(call.value(0).array.shape, np.int64)
    return (Value(sizes[slice(int(call.get("start", 0)), call.get("end"))]),)


def constant(call: Call) -> tuple[Value, ...]:
    for key in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        given = call.get(key)
        if given is not None:
            kind = np.int64 if "int" in key else np.float32 if "float" in key else None
            return (exact(np.asarray(given, kind)),)
    raise call.unknown("a sparse or text value")


def constant_of_shape(call: Call) -> tuple[Value, ...]:
    value = np.asarray(call.get("value", np.zeros(1, np.float32)))
    return (exact(np.full(call.ints("shape", 0) or (), value.ravel()[0])),)


MOVEMENTS: dict[str, Op] = {
    "Concat": concat,
    "Constant": constant,
    "ConstantOfShape": constant_of_shape,
    "DepthToSpace": depth_to_space,
    "Expand": expand,
    "Flatten": flatten,
    "Gather": gather,
    "Pad": pad,
    "Reshape": reshape,
    "Shape": shape,
    "Slice": slice_,
    "SpaceToDepth": space_to_depth,
    "Split": split,
    "Squeeze": squeeze,
    "Tile": tile,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
}
