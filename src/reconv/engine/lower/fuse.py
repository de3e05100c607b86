"""Fusion on a draft: fewer ops, same function.

A rule gets one op and its draft, and says whether it changed something; what it removes has no other user. The order
of float operations may change, the function does not. The rules are in `rules_patterns` (chains of ops that are one
op), `rules_moves` (data movement taken over by who reads it) and `rules_producers` (what goes into the producer).
"""

from __future__ import annotations

from collections.abc import Callable

from reconv.engine.lower import draft as d
from reconv.engine.lower import rules_moves as moves
from reconv.engine.lower import rules_patterns as patterns
from reconv.engine.lower import rules_producers as producers

__all__ = ["RULES", "fuse"]

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
