"""One strided convolution for a space-to-depth and the convolution after it.

The parts x[ry::s, rx::s] of a map, stacked as channels (the Focus layer of YOLOv5 and YOLOX, or SpaceToDepth), and a
convolution with kernel w of k taps and padding p over them: with r the offset of part c (one axis; the others alike),

    y[o] = Σ_c Σ_t w[c, t] x[s (o - p + t) + r_c] = Σ_u W[u] x[s o - s p + u],   W[s t + r_c] = w[c, t]

which is a convolution with s·k taps, stride s and padding s·p. The multiply-adds are the same where every offset comes
once, and none of the copies is made. Every axis must have the offsets 0 and s - 1 among its parts: only then is its
size known to be a multiple of s.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules.convolution import Array, Convolution, Ints, read_convolution
from reconv.exchange.rules.draft import SLICE_BY_INPUTS, Draft, Weights, attribute, is_op, needed_beside
from reconv.exchange.view import View
from reconv.graph import Node

__all__ = ["RULE"]

END = np.iinfo(np.int32).max


@dataclass(frozen=True, eq=False)
class Stack:
    """Every s-th pixel of a map, from several offsets: ``offsets`` by part, each with the map's channels."""

    nodes: tuple[Node, ...]
    x: str
    steps: Ints
    offsets: tuple[Ints, ...]


def match(view: View, node: Node) -> Answer:
    above = view.producer(node.inputs[0]) if is_op(node, "Conv") else None
    if above is None or not is_op(above, "Concat", "SpaceToDepth"):
        return None
    stack = _blocks(view, above) if above.op_type == "SpaceToDepth" else _slices(view, above)
    if stack is None:
        return None
    conv = read_convolution(view, node)
    if not isinstance(conv, Convolution):
        return conv
    if conv.groups != 1 or set(conv.dilations) != {1} or set(conv.strides) != {1}:
        return Refusal("the convolution is grouped, dilated or strides")
    if any({o[axis] for o in stack.offsets} < {0, s - 1} for axis, s in enumerate(stack.steps)):
        return Refusal("the parts do not show that the size is a multiple of the step")
    channels = conv.weight.shape[1] // len(stack.offsets)
    known = (view.shape(stack.x) or (None, None))[1]
    if known != channels or channels * len(stack.offsets) != conv.weight.shape[1]:
        return Refusal("the number of channels of the map is not known")
    if channels * prod(stack.steps) > conv.weight.shape[1]:
        return Refusal("some offsets are left out: their taps would be multiplied by zero")
    draft = Draft(view)
    pads = tuple(p * s for p, s in zip(conv.pads, stack.steps * 2, strict=True))
    weight = _spread(conv, stack, channels)
    draft.convolution(stack.x, weight, conv.bias, conv.y, conv, strides=stack.steps, pads=pads)
    kept = _kept(view, stack, node)
    return draft.rewrite((*stack.nodes, node), kept)


def _kept(view: View, stack: Stack, node: Node) -> list[Node]:
    """Nodes of the stack that something else needs, and those that these read."""
    kept: list[Node] = []
    for each in reversed(stack.nodes):
        gone = [other for other in (*stack.nodes, node) if other not in kept]
        if any(needed_beside(view, name, *gone) for name in each.outputs):
            kept.insert(0, each)
    return kept


def _spread(conv: Convolution, stack: Stack, channels: int) -> Array:
    """The kernel W: (Cout, channels, s·k, ...)."""
    kernel = tuple(k * s for k, s in zip(conv.kernel, stack.steps, strict=True))
    whole = np.zeros((conv.weight.shape[0], channels, *kernel))
    for part, offset in enumerate(stack.offsets):
        every = tuple(slice(r, None, s) for r, s in zip(offset, stack.steps, strict=True))
        whole[(slice(None), slice(None), *every)] += conv.weight[:, part * channels : (part + 1) * channels]
    return whole


def _blocks(view: View, node: Node) -> Stack | None:
    if len(view.shape(node.inputs[0]) or ()) != 4:
        return None
    size = int(attribute(node, "blocksize", 1))
    return Stack((node,), node.inputs[0], (size, size), tuple(product(range(size), repeat=2)))


def _slices(view: View, concat: Node) -> Stack | None:
    """A Concat of parts that are all sliced, in one Slice or in one for each axis, from one map."""
    rank = len(view.shape(concat.outputs[0]) or ())
    if rank < 3 or int(attribute(concat, "axis", 1)) % rank != 1 or view.opset < SLICE_BY_INPUTS:
        return None
    nodes: dict[str, Node] = {}
    parts: list[tuple[str, dict[int, tuple[int, int]]]] = []
    for name in concat.inputs:
        every: dict[int, tuple[int, int]] = {}
        value, node = name, view.producer(name)
        while node is not None and is_op(node, "Slice"):
            read = _every(view, node, rank)
            if read is None or set(read) & set(every):
                break
            nodes[node.name] = node
            every |= read
            value, node = node.inputs[0], view.producer(node.inputs[0])
        parts.append((value, every))
    maps = {value for value, _ in parts}
    steps = {tuple(every.get(axis, (0, 1))[1] for axis in range(2, rank)) for _, every in parts}
    if len(maps) != 1 or len(steps) != 1 or set(next(iter(steps))) == {1}:
        return None
    offsets = tuple(tuple(every.get(axis, (0, 1))[0] for axis in range(2, rank)) for _, every in parts)
    order = tuple(node for node in view.graph.nodes if node.name in nodes)
    return Stack((*order, concat), maps.pop(), next(iter(steps)), offsets)


def _every(view: View, node: Node, rank: int) -> dict[int, tuple[int, int]] | None:
    """Offset and step by axis of a Slice to the end; None for another one."""
    read = [view.constant(name) for name in node.inputs[1:]]
    if len(read) < 3 or any(values is None for values in read):
        return None
    starts, ends, axes = (list(map(int, values)) for values in read[:3] if values is not None)
    steps = list(map(int, read[3])) if len(read) > 3 and read[3] is not None else [1] * len(starts)
    found = {axis % rank: (start, step) for axis, start, step in zip(axes, starts, steps, strict=True)}
    fine = all(axis >= 2 and 0 <= start < step for axis, (start, step) in found.items())
    return found if fine and all(end >= END for end in ends) else None


_TEXT = """g (float[1, 3, 8, 6] x) => (float[n, c, h, w] y) {{
    t = Slice (x, zero, end, high, two)
    b = Slice (x, one, end, high, two)
    tl = Slice (t, zero, end, wide, two)
    bl = Slice (b, zero, end, wide, two)
    tr = Slice (t, one, end, wide, two)
    br = Slice (b, one, end, wide, two)
    j = Concat <axis = 1> ({parts})
    y = Conv <pads = [1, 1, 1, 1]{more}> (j, w, k)
}}"""
_WEIGHTS: Weights = {
    "w": (4, 12, 3, 3),
    "k": (4,),
    **{name: np.array([value]) for name, value in (("zero", 0), ("one", 1), ("two", 2), ("high", 2), ("wide", -1))},
    "end": np.array([np.iinfo(np.int64).max]),
}

RULE = Rule(
    name="conv for slices and conv",
    family="layer",
    swap="space to depth → conv ⇒ strided conv",
    match=match,
    example=Example(_TEXT.format(parts="tl, bl, tr, br", more=""), _WEIGHTS),
    refused={
        "strides": Example(_TEXT.format(parts="tl, bl, tr, br", more=", strides = [2, 2]"), _WEIGHTS),
        "multiple of the step": Example(_TEXT.format(parts="tl, bl, bl, tl", more=""), _WEIGHTS),
        "left out": Example(_TEXT.format(parts="tl, br", more=""), {**_WEIGHTS, "w": (4, 6, 3, 3)}),
    },
)
