"""Fusion on a draft: fewer ops, same function.

A rule gets one op and its draft, and says whether it changed something; what it removes has no other user. The order
of float operations may change, the function does not. The rules are in `rules_patterns` (chains of ops that are one
op), `rules_moves` (data movement taken over by who reads it) and `rules_producers` (what goes into the producer); of
models with quantized maps, `rules_codes` (what moves codes) and `rules_eight` (what is computed on codes).
"""

from __future__ import annotations

from collections.abc import Callable

from reconv.engine.lower import draft as d
from reconv.engine.lower import rules_codes as codes
from reconv.engine.lower import rules_eight as eight
from reconv.engine.lower import rules_moves as moves
from reconv.engine.lower import rules_patterns as patterns
from reconv.engine.lower import rules_producers as producers

__all__ = ["CODE_RULES", "RULES", "fuse"]

Rule = Callable[[d.Draft, d.Op], bool]

# groups in order; within one, until nothing changes
RULES: tuple[tuple[Rule, ...], ...] = (
    (
        patterns.hard_sigmoid,  # clip(x + 3, 0, 6) / 6 -> hardsigmoid(x), and with x as a factor -> hardswish(x)
        patterns.gated,  # x * sigmoid(x) -> silu(x), and hardswish and mish alike
        patterns.gelu,  # x * (1 + erf(x / sqrt 2)) / 2 -> gelu(x)
        moves.picked_twice,  # x[a::s][b::t] -> x[a + s*b :: s*t]
    ),
    (
        moves.focus,  # conv(concat(x[0::s, 0::s], x[1::s, 0::s], ...)) -> conv(x) with a larger kernel and stride
        moves.zero_frame,  # conv(pad(x, 0)) -> conv(x) with larger pads
        moves.flat_views,  # concat(x[:, :k], x[:, k:], ...) -> concat(x, ...)
    ),
    (
        producers.per_channel,  # x + c, x - c, c - x, x * c, x / c -> x * scale + shift
        producers.scaled_weights,  # affine(conv(x)) -> conv(x)
        producers.activate,  # activation(conv(x)) -> conv(x)
        producers.residual,  # conv(x) + y -> conv(x) with a residual
    ),
    (producers.scaled_input,),  # conv(affine(x)) -> conv(x)
)


CODE_RULES: tuple[tuple[Rule, ...], ...] = (
    (
        codes.twins,  # quantize(x), quantize(x) -> one
        codes.pulled,  # move(dequantize(x)) -> dequantize(move(x))
        codes.joined,  # concat(dequantize(x), ...) of one scale -> dequantize(concat(x, ...))
        codes.requantized,  # quantize(dequantize(x)) -> x or requantize(x)
        codes.pushed,  # quantize(move(x)) -> move(quantize(x))
        codes.pushed_into_parts,  # quantize(concat(x, ...)) -> concat(quantize(x), ...)
        eight.conv,  # conv(dequantize(x)) -> conv8(x)
        eight.finished,  # quantize(conv8(x)) -> conv8(x)
        eight.rescaled,  # quantize(conv8(x) * s) -> conv8(x) of other steps
        eight.table,  # quantize(f(dequantize(x))) -> table8(x)
        eight.averaged,  # quantize(mean(dequantize(x))) -> mean8(x)
    ),
    (
        eight.binary,  # quantize(dequantize(a) + dequantize(b)) -> binary8(a, b)
        eight.composed,  # table(table(x)) -> table(x)
        eight.added,  # conv8(x) + y -> conv8(x) with a residual
        codes.framed,  # conv8(pad(x, zero)) -> conv8(x) with larger pads
        moves.picked_twice,  # x[a::s][b::t] -> x[a + s*b :: s*t], of codes as well
        codes.focused,  # conv8(concat(x[0::s, 0::s], x[1::s, 0::s], ...)) -> conv8(x) with a larger kernel and stride
    ),
    (eight.looked_up,),  # table(conv8(x)) -> conv8(x) that looks its codes up
)


def fuse(draft: d.Draft) -> None:
    """Apply all rules until none changes anything."""
    draft.sweep()
    if draft.codes:
        _apply(draft, (codes.twins,))
    for group in RULES:
        _apply(draft, group)
    for group in CODE_RULES if draft.codes else ():
        _apply(draft, group)
    draft.sweep()


def _apply(draft: d.Draft, group: tuple[Rule, ...]) -> None:
    changed = True
    while changed:
        changed = False
        for op in list(draft.ops):
            for rule in group:
                if draft.producer.get(op.out) is op:
                    changed |= rule(draft, op)
