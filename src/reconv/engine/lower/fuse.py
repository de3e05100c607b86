"""Fusion on a draft: fewer ops, same function.

Every rule is one line of `RULES`, ``before -> after``; a rule gets one op and its draft, and says whether it changed
something. What it removes has no other user. The order of float operations may change, the function does not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np

from reconv.engine.lower import draft as d

__all__ = ["RULES", "fuse"]

OpT = TypeVar("OpT", bound=d.Op)
Rule = Callable[[d.Draft, d.Op], bool]


def fuse(draft: d.Draft) -> None:
    """Apply all rules until none changes anything."""
    draft.sweep()
    for group in RULES:
        changed = True
        while changed:
            changed = False
            for op in list(draft.ops):
                if draft.producer.get(op.out) is op:
                    changed |= any(rule(draft, op) for rule in group)
    draft.sweep()


def made_by(draft: d.Draft, x: int, kind: type[OpT], alone: bool = True) -> OpT | None:
    """The op that makes map x, if it is of this kind and (when ``alone``) x has no other user."""
    op = draft.producer.get(x)
    return op if isinstance(op, kind) and (not alone or draft.uses[x] == 1) else None


def scalar(op: d.BinaryConstant) -> float | None:
    """The one number of a constant that has no other."""
    return float(op.constant.flat[0]) if op.constant.size == 1 else None


def near(value: float | None, wanted: float) -> bool:
    return value is not None and abs(value - wanted) <= 1e-6 * abs(wanted)


def is_plain(op: d.Unary | d.Binary | d.BinaryConstant | d.Affine, kind: str) -> bool:
    """Whether the op is just this activation or arithmetic, nothing fused in."""
    if isinstance(op, d.Unary):
        return bool(op.activation[0] == kind)
    return not isinstance(op, d.Affine) and op.kind == kind and op.activation == d.NONE


def gated(draft: d.Draft, op: d.Op) -> bool:
    """x * sigmoid(x) -> silu(x); x * hardsigmoid(x, 1/6, 1/2) -> hardswish(x); x * tanh(softplus(x)) -> mish(x)."""
    if not (isinstance(op, d.Binary) and is_plain(op, "mul")):
        return False
    for x, gate_map in ((op.a, op.b), (op.b, op.a)):
        gate = made_by(draft, gate_map, d.Unary)
        if gate is None:
            continue
        gone: list[d.Op] = [op, gate]
        kind = gate.activation
        if kind[0] == "sigmoid" and gate.x == x:
            new = "silu"
        elif kind[0] == "hardsigmoid" and gate.x == x and near(kind[1], 1 / 6) and near(kind[2], 0.5):
            new = "hardswish"
        elif kind[0] == "tanh" and (inner := made_by(draft, gate.x, d.Unary)) and inner.activation[0] == "softplus":
            if inner.x != x:
                continue
            gone.append(inner)
            new = "mish"
        else:
            continue
        draft.swap(gone, d.Unary(x=x, out=op.out, activation=(new,)))
        return True
    return False


def hard_sigmoid(draft: d.Draft, op: d.Op) -> bool:
    """clip(x + 3, 0, 6) / 6 -> hardsigmoid(x, 1/6, 1/2), and the same with the gated product inside."""
    if not isinstance(op, d.BinaryConstant) or op.constant_first or op.activation != d.NONE:
        return False
    if not ((op.kind == "div" and near(scalar(op), 6)) or (op.kind == "mul" and near(scalar(op), 1 / 6))):
        return False
    found = shifted_clip(draft, op.x)
    if found:
        clip, shift = found
        draft.swap([op, clip, shift], d.Unary(x=shift.x, out=op.out, activation=("hardsigmoid", 1 / 6, 0.5)))
        return True
    product = made_by(draft, op.x, d.Binary)
    if product is None or not is_plain(product, "mul"):
        return False
    for x, gate in ((product.a, product.b), (product.b, product.a)):
        found = shifted_clip(draft, gate)
        if found and found[1].x == x:
            draft.swap([op, product, *found], d.Unary(x=x, out=op.out, activation=("hardswish",)))
            return True
    return False


def shifted_clip(draft: d.Draft, x: int) -> tuple[d.Unary, d.BinaryConstant] | None:
    """The ops of clip(. + 3, 0, 6), if map x is one."""
    clip = made_by(draft, x, d.Unary)
    shift = made_by(draft, clip.x, d.BinaryConstant) if clip and clip.activation == ("clip", 0.0, 6.0) else None
    fits = shift is not None and is_plain(shift, "add") and near(scalar(shift), 3)
    return (clip, shift) if clip and shift and fits else None


def gelu(draft: d.Draft, op: d.Op) -> bool:
    """x * (1 + erf(x / sqrt 2)) * 1/2 -> gelu(x), in any order of the three factors."""
    factors: list[int] = []
    gone: list[d.Op] = []
    half = 1.0
    stack = [op.out]
    while stack:  # flatten the product
        x = stack.pop()
        made = draft.producer.get(x)
        if x != op.out and draft.uses[x] != 1:
            factors.append(x)
        elif isinstance(made, d.Binary) and is_plain(made, "mul"):
            gone.append(made)
            stack += [made.a, made.b]
        elif isinstance(made, d.BinaryConstant) and is_plain(made, "mul") and (number := scalar(made)) is not None:
            gone.append(made)
            half *= number
            stack.append(made.x)
        else:
            factors.append(x)
    if len(factors) != 2 or not near(half, 0.5):
        return False
    for x, gate in (factors, factors[::-1]):
        one = made_by(draft, gate, d.BinaryConstant)
        if one is None or not is_plain(one, "add") or not near(scalar(one), 1):
            continue
        erf = made_by(draft, one.x, d.Unary)
        inner = made_by(draft, erf.x, d.BinaryConstant) if erf and is_plain(erf, "erf") else None
        if erf is None or inner is None or inner.x != x or inner.constant_first or inner.activation != d.NONE:
            continue
        root = {"div": 2**0.5, "mul": 0.5**0.5}.get(inner.kind)
        if root is not None and near(scalar(inner), root):
            draft.swap([*gone, one, erf, inner], d.Unary(x=x, out=op.out, activation=("gelu",)))
            return True
    return False


def picked_twice(draft: d.Draft, op: d.Op) -> bool:
    """x[a::s][b::t] -> x[a + s*b :: s*t]."""
    inner = made_by(draft, op.x, d.Pick, alone=False) if isinstance(op, d.Pick) else None
    if inner is None or not isinstance(op, d.Pick):
        return False
    start = tuple(a + s * o for a, s, o in zip(inner.start, inner.steps, op.start, strict=True))
    steps = tuple(s * t for s, t in zip(inner.steps, op.steps, strict=True))
    new = replace(op, x=inner.x, start=(start[0], start[1]), steps=(steps[0], steps[1]), nodes=op.nodes | inner.nodes)
    draft.swap([op], new)
    return True


def focus(draft: d.Draft, op: d.Op) -> bool:
    """conv(concat(x[0::s, 0::s], x[1::s, 0::s], ...)) -> conv of x with a kernel and strides s times as large.

    Tap (i, j) of the part that starts at (oy, ox) reads x at s*i + oy, s*j + ox; the taps of several parts never meet
    when their starts differ. Padding by p pixels of the parts is padding by s*p of x when x is a multiple of s.
    """
    if not isinstance(op, d.Conv) or op.groups != 1 or op.dilations != (1, 1):
        return False
    whole = made_by(draft, op.x, d.Assemble)
    if whole is None:
        return False
    picks = [made_by(draft, part, d.Pick) for part, _ in whole.parts]
    first = picks[0]
    if first is None or any(
        pick is None or pick.x != first.x or pick.steps != first.steps or max(pick.start) >= max(first.steps)
        for pick in picks
    ):
        return False
    chosen = [pick for pick in picks if pick is not None]
    steps, source = first.steps, draft.maps[first.x]
    starts = [pick.start for pick in chosen]
    inside = all(o < s for start in starts for o, s in zip(start, steps, strict=True))
    sizes = {draft.maps[pick.out] for pick in chosen}
    expected = (source.height // steps[0], source.width // steps[1], source.channels)
    divides = source.height % steps[0] == 0 and source.width % steps[1] == 0
    if len(set(starts)) < len(starts) or not inside or not divides or sizes != {expected}:
        return False
    out_channels, _, height, width = op.weight.shape
    weight = np.zeros((out_channels, source.channels, height * steps[0], width * steps[1]), np.float32)
    for pick, (_, place) in zip(chosen, whole.parts, strict=True):
        if not isinstance(place, d.Channels):
            return False
        part = op.weight[:, place.first : place.first + place.count]
        weight[:, :, pick.start[0] :: steps[0], pick.start[1] :: steps[1]] = part
    new = replace(
        op,
        x=first.x,
        weight=weight,
        strides=(op.strides[0] * steps[0], op.strides[1] * steps[1]),
        pads=(op.pads[0] * steps[0], op.pads[1] * steps[1]),
    )
    draft.swap([op, whole, *chosen], new)
    return True


def zero_frame(draft: d.Draft, op: d.Op) -> bool:
    """conv(pad(x, 0)) -> conv with larger pads."""
    if not isinstance(op, d.Conv):
        return False
    frame = made_by(draft, op.x, d.Pad)
    if frame is None or frame.fill != 0:
        return False
    pads = (op.pads[0] + frame.before[0], op.pads[1] + frame.before[1])
    draft.swap([op, frame], replace(op, x=frame.x, pads=pads))
    return True


def per_channel(draft: d.Draft, op: d.Op) -> bool:
    """x + c, x - c, c - x, x * c, x / c with one c per channel -> x * scale + shift."""
    if not isinstance(op, d.BinaryConstant) or op.constant.shape[:2] != (1, 1) or draft.maps[op.x] != draft.maps[op.out]:
        return False
    constant = np.ascontiguousarray(np.broadcast_to(op.constant.ravel(), (draft.maps[op.out].channels,)))
    ones, zeros = np.ones_like(constant), np.zeros_like(constant)
    if op.kind == "add":
        scale, shift = ones, constant
    elif op.kind == "sub":
        scale, shift = (-ones, constant) if op.constant_first else (ones, -constant)
    elif op.kind == "mul":
        scale, shift = constant, zeros
    elif op.kind == "div" and not op.constant_first:
        with np.errstate(all="ignore"):
            scale, shift = 1 / constant, zeros
        normal = np.abs(scale) >= np.finfo(np.float32).tiny
        if not (np.isfinite(scale) & normal).all():
            return False
    else:
        return False
    if not (np.isfinite(scale).all() and np.isfinite(shift).all()):
        return False
    new = d.Affine(x=op.x, out=op.out, scale=scale, shift=shift, activation=op.activation)
    draft.swap([op], new)
    return True


def scaled_weights(draft: d.Draft, op: d.Op) -> bool:
    """affine(conv(x)), affine(affine(x)) -> one of them with other weights."""
    if not isinstance(op, d.Affine):
        return False
    scale, shift = op.scale.astype(np.float64), op.shift.astype(np.float64)
    below = draft.producer.get(op.x)
    if draft.uses[op.x] != 1 or not isinstance(below, (d.Conv, d.Transposed, d.Affine)) or below.activation != d.NONE:
        return False
    new: d.Op
    if isinstance(below, d.Affine):
        moved = (below.shift * scale + shift).astype(np.float32)
        new = replace(
            below, out=op.out, scale=(below.scale * scale).astype(np.float32), shift=moved, activation=op.activation
        )
    else:
        if isinstance(below, d.Conv) and (below.residual >= 0 or below.activation_after != d.NONE):
            return False
        bias = 0.0 if below.bias is None else below.bias
        moved = (bias * scale + shift).astype(np.float32)
        if isinstance(below, d.Conv):
            weight = below.weight * scale[:, None, None, None]
        else:  # (Cin, Cout / groups, kh, kw), output channel = group * (Cout / groups) + column
            inputs, columns = below.weight.shape[:2]
            groups = below.groups
            weight = below.weight.reshape(groups, inputs // groups, columns, -1) * scale.reshape(groups, 1, columns, 1)
            weight = weight.reshape(below.weight.shape)
        new = replace(
            below,
            out=op.out,
            weight=np.ascontiguousarray(weight, np.float32),
            bias=moved,
            activation=op.activation,
        )
    draft.swap([below, op], new)
    return True


def scaled_input(draft: d.Draft, op: d.Op) -> bool:
    """conv(affine(x)) -> conv(x) with other weights and bias, where the window never meets the border of zeros."""
    if not isinstance(op, d.Conv):
        return False
    below = made_by(draft, op.x, d.Affine)
    if below is None or below.activation != d.NONE or op.residual == op.x or (_overhangs(draft, op) and below.shift.any()):
        return False
    outputs, inputs = op.weight.shape[:2]
    grouped = op.weight.reshape(op.groups, outputs // op.groups, inputs, -1).astype(np.float64)
    scale, shift = (c.astype(np.float64).reshape(op.groups, 1, inputs, 1) for c in (below.scale, below.shift))
    weight = np.ascontiguousarray((grouped * scale).reshape(op.weight.shape), np.float32)
    bias = (grouped * shift).sum((2, 3)).ravel() + (0.0 if op.bias is None else op.bias)
    draft.swap([below, op], replace(op, x=below.x, weight=weight, bias=bias.astype(np.float32)))
    return True


def _overhangs(draft: d.Draft, op: d.Conv) -> bool:
    """Whether some window of the convolution reaches over the border of its map."""
    sizes = zip(draft.maps[op.x][:2], draft.maps[op.out][:2], op.weight.shape[2:], strict=True)
    lines = zip(sizes, op.strides, op.pads, op.dilations, strict=True)
    return any(
        pad > 0 or (out - 1) * stride - pad + (kernel - 1) * dilation >= size
        for (size, out, kernel), stride, pad, dilation in lines
    )


def activate(draft: d.Draft, op: d.Op) -> bool:
    """activation(conv | transposed | affine | binary) -> the producer with the activation in it."""
    if not isinstance(op, d.Unary) or draft.uses[op.x] != 1:
        return False
    below = draft.producer.get(op.x)
    if isinstance(below, d.Conv) and below.residual >= 0:
        if below.activation_after != d.NONE:
            return False
        draft.swap([below, op], replace(below, out=op.out, activation_after=op.activation))
        return True
    fusable = isinstance(below, (d.Conv, d.Transposed, d.Affine, d.Binary, d.BinaryConstant))
    if not fusable or below.activation != d.NONE:  # type: ignore[union-attr]  # these five have an activation
        return False
    draft.swap([below, op], replace(below, out=op.out, activation=op.activation))  # type: ignore[list-item, call-arg, type-var]
    return True


def residual(draft: d.Draft, op: d.Op) -> bool:
    """conv(x) + y -> conv with a residual: the convolution that comes last, where both operands are one."""
    if not (isinstance(op, d.Binary) and op.kind == "add") or op.a == op.b:
        return False
    candidates = []
    for x, other in ((op.a, op.b), (op.b, op.a)):
        conv = made_by(draft, x, d.Conv)
        plain = conv is not None and conv.residual < 0 and conv.activation_after == d.NONE
        if conv is not None and plain and draft.maps[x] == draft.maps[other] == draft.maps[op.out]:
            candidates.append((draft.ops.index(conv), conv, other))
    if not candidates:
        return False
    _, conv, other = max(candidates, key=lambda candidate: candidate[0])
    draft.swap([conv, op], replace(conv, out=op.out, residual=other, activation_after=op.activation))
    return True


def flat_views(draft: d.Draft, op: d.Op) -> bool:
    """concat(x[:, :k], x[:, k:], ...) -> concat(x, ...)."""
    if not isinstance(op, d.Assemble):
        return False
    for i, (part, place) in enumerate(op.parts):
        view = made_by(draft, part, d.View, alone=False)
        if view is None or view.first != 0 or not isinstance(place, d.Channels):
            continue
        x, covered, end = view.x, 0, i
        while end < len(op.parts):
            following = made_by(draft, op.parts[end][0], d.View, alone=False)
            if following is None or following.x != x or following.first != covered:
                break
            covered += draft.maps[following.out].channels
            end += 1
        if covered == draft.maps[x].channels:
            parts = [*op.parts[:i], (x, d.Channels(place.first, covered)), *op.parts[end:]]
            draft.swap([op], replace(op, parts=parts))
            return True
    return False


RULES: tuple[tuple[Rule, ...], ...] = (
    (gated, hard_sigmoid, gelu),
    (gated, picked_twice),
    (focus, zero_frame, flat_views),
    (per_channel, scaled_weights, activate, residual),
    (scaled_input,),
)
