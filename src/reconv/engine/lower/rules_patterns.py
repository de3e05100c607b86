"""Fusion rules: chains of arithmetic that exporters write for what is one activation."""

from __future__ import annotations

from reconv.engine.lower import draft as d

__all__ = ["gated", "gelu", "hard_sigmoid"]


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
        gate = draft.made_by(gate_map, d.Unary)
        if gate is None:
            continue
        gone: list[d.Op] = [op, gate]
        kind = gate.activation
        if kind[0] == "sigmoid" and gate.x == x:
            new = "silu"
        elif kind[0] == "hardsigmoid" and gate.x == x and near(kind[1], 1 / 6) and near(kind[2], 0.5):
            new = "hardswish"
        elif kind[0] == "tanh" and (inner := draft.made_by(gate.x, d.Unary)) and inner.activation[0] == "softplus":
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
    product = draft.made_by(op.x, d.Binary)
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
    clip = draft.made_by(x, d.Unary)
    shift = draft.made_by(clip.x, d.BinaryConstant) if clip and clip.activation == ("clip", 0.0, 6.0) else None
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
        one = draft.made_by(gate, d.BinaryConstant)
        if one is None or not is_plain(one, "add") or not near(scalar(one), 1):
            continue
        erf = draft.made_by(one.x, d.Unary)
        inner = draft.made_by(erf.x, d.BinaryConstant) if erf and is_plain(erf, "erf") else None
        if erf is None or inner is None or inner.x != x or inner.constant_first or inner.activation != d.NONE:
            continue
        root = {"div": 2**0.5, "mul": 0.5**0.5}.get(inner.kind)
        if root is not None and near(scalar(inner), root):
            draft.swap([*gone, one, erf, inner], d.Unary(x=x, out=op.out, activation=("gelu",)))
            return True
    return False
