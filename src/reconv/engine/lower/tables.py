"""Functions of one code as tables: what lies between dequantize and quantize, worked out for all 256 codes.

The ops in between are run by the core itself, in its baseline kernels, so that a table holds what the float ops would
have given, the same on every machine.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from reconv import _core
from reconv.engine.lower import draft as d
from reconv.engine.lower import draft_codes as c
from reconv.engine.lower.emit import Emitter
from reconv.engine.lower.layout import Geometry

__all__ = ["dequantized", "origin", "quantized", "worked_out"]

CODES = Geometry(1, 256, 1)
Bytes = NDArray[np.uint8]


def quantized(reals: d.Floats, codes: d.Codes) -> Bytes:
    """The codes of floats, as the core rounds them."""
    with np.errstate(all="ignore"):
        steps = np.rint(reals * (np.float32(1) / np.float32(codes.scale)))
    codes_of_it: Bytes = np.clip(np.nan_to_num(steps, nan=-codes.zero) + codes.zero, 0, 255).astype(np.uint8)
    return codes_of_it


def dequantized(numbers: Bytes, codes: d.Codes) -> d.Floats:
    """The floats of codes."""
    return (numbers.astype(np.float32) - np.float32(codes.zero)) * np.float32(codes.scale)


def origin(draft: d.Draft, op: c.Quantize) -> tuple[int, list[d.Op]] | None:
    """The one map of codes that a quantized map is a function of, element by element, and the ops that make it so.

    The ops are in order, from the dequantizations to what is quantized. A table that only gives another operand of the
    same function is seen through.
    """
    geometry = draft.maps[op.out]
    gone: list[d.Op] = []
    stack, seen = [op.x], set()
    while stack:
        x = stack.pop()
        below = draft.producer.get(x)
        if x in seen:
            continue
        seen.add(x)
        if below is None or draft.maps[x] != geometry or not _elementwise(below):
            return None
        gone.append(below)
        if not isinstance(below, c.Dequantize):
            stack += below.reads
    leaves = [below for below in gone if isinstance(below, c.Dequantize)]
    if len(leaves) == len(gone):  # nothing in between
        return None
    roots = {leaf.x for leaf in leaves}
    if len(roots) > 1:
        tables = {x: draft.producer.get(x) for x in roots}
        through = {made.x if isinstance(made, c.Table8) else x for x, made in tables.items()}
        if len(through) > 1:
            return None
        gone += [made for made in tables.values() if isinstance(made, c.Table8) and made.x in through]
        roots = through
    order = {id(below): i for i, below in enumerate(draft.ops)}
    return roots.pop(), sorted(gone, key=lambda below: order[id(below)])


def _elementwise(op: d.Op) -> bool:
    """Whether every element of the result is the same function of the same element of the inputs."""
    match op:
        case c.Dequantize():
            return True
        case d.Binary() | d.Unary():
            return _plain(op.activation)
        case d.Affine():
            return bool(np.ptp(op.scale) == 0 and np.ptp(op.shift) == 0) and _plain(op.activation)
        case d.BinaryConstant():
            return op.constant.size == 1 and _plain(op.activation)
    return False


def _plain(activation: d.Activation) -> bool:
    return bool(activation[0] != "prelu")


def worked_out(draft: d.Draft, out: int, x: int, ops: list[d.Op]) -> Bytes:
    """The codes of map ``out`` for codes 0 to 255 of map ``x``, through ops that `origin` has found."""
    small = d.Draft()
    codes: dict[int, Bytes] = {x: np.arange(256, dtype=np.uint8)}
    maps: dict[int, int] = {}  # of the draft to the small one's
    given: list[tuple[int, d.Floats]] = []
    for op in ops:
        if isinstance(op, c.Table8):
            codes[op.out] = op.table[codes[op.x]]
            continue
        maps[op.out] = small.map(CODES)
        if isinstance(op, c.Dequantize):
            given.append((maps[op.out], dequantized(codes[op.x], op.x_codes)))
            continue
        new = replace(op, out=maps[op.out])
        new.rewire(maps)
        if isinstance(new, d.Affine):
            new.scale, new.shift = new.scale[:1], new.shift[:1]
        small.add(new)
    last = small.ops[-1].out
    reals = _run(small, given, last)
    return quantized(reals, draft.codes[out])


def _run(small: d.Draft, given: list[tuple[int, d.Floats]], last: int) -> d.Floats:
    plan = _core.Plan("baseline")
    emitter = Emitter(small, {}, plan)
    for x, _ in given:
        plan.input(emitter.map(x), (256, 1, 256))
    for op in small.ops:
        emitter.op(op)
    plan.output(emitter.map(last), (256, 1, 256))
    plan.seal()
    state = _core.State(plan, _core.Threads(1), True, 0.0)
    state.step([np.ascontiguousarray(values) for _, values in given])
    result = np.empty(256, np.float32)
    state.read(0, result)
    return result
