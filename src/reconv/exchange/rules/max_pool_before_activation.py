"""Max pooling before an activation instead of after it.

    max(f(x)) = f(max(x))    for f non-decreasing

The activation then acts on as many pixels as the pooling leaves. MaxPool pads with -inf, so that only pixels count on
both sides, whatever f makes of zero; a window without any pixel would give f(-inf) and is refused. What gates a map by
itself (x·σ(x), HardSwish, Gelu, Mish) falls before it rises.

A runtime that fuses an activation with the convolution before it may be slower afterwards: measure.
"""

from __future__ import annotations

import numpy as np

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules.draft import attribute, is_op
from reconv.exchange.rules.elementwise import constant_over_space
from reconv.exchange.rules.pooling import read_pool
from reconv.exchange.view import View
from reconv.graph import Node, Rewrite

__all__ = ["RULE"]

_RISING = ("Clip", "Erf", "Relu", "Sigmoid", "Softplus", "Softsign", "Tanh")
_RISING_IF_POSITIVE = {  # attributes that must not be negative, with their defaults
    "Celu": {"alpha": 1.0},
    "Elu": {"alpha": 1.0},
    "HardSigmoid": {"alpha": 0.2},
    "LeakyRelu": {"alpha": 0.01},
    "Selu": {"alpha": 1.67, "gamma": 1.05},
}
_FALLING = ("Gelu", "HardSwish", "Mish", "Swish")


def match(view: View, node: Node) -> Answer:
    if not is_op(node, "MaxPool", "GlobalMaxPool"):
        return None
    f = view.producer(node.inputs[0])
    rises = None if f is None else _rises(view, f)
    pool = read_pool(view, node)
    if f is None or rises is None or pool is None:
        return None
    if isinstance(rises, Refusal):
        return rises
    if isinstance(pool, Refusal):
        return pool
    if view.only_reader(pool.x) is not node:
        return Refusal("the activation's result is used elsewhere too")
    if not view.is_float(pool.x):
        return Refusal("the map is not of float32, the type that rules are proved for")
    if not pool.shrinks:
        return Refusal("at stride 1 the pooling leaves as much to do")
    if pool.empty_window:
        return Refusal("a window may lie wholly in the padding")
    pooled = view.fresh(f"{f.inputs[0]}/pooled")
    first = view.node(node.op_type, (f.inputs[0],), pooled, **node.attributes)
    last = view.node(f.op_type, (pooled, *f.inputs[1:]), pool.y, **f.attributes)
    return Rewrite((f, node), (first, last))


def _rises(view: View, f: Node) -> bool | Refusal | None:
    """Whether f is non-decreasing; None when it is no activation."""
    if f.domain:
        return None
    if f.op_type in _FALLING or _gates_itself(view, f):
        return Refusal(f"{f.op_type} is not monotone: it falls before it rises" if f.op_type != "Mul" else _GATED)
    if f.op_type == "PRelu":
        slope, shape = view.constant(f.inputs[1]), view.shape(f.inputs[0])
        if slope is None or shape is None or len(shape) < 2:
            return Refusal("the slopes of PRelu are computed while the model runs")
        if not constant_over_space(view, f.inputs[1], len(shape), shape[1]):
            return Refusal("the slopes of PRelu differ from pixel to pixel")
        return True if (slope >= 0).all() else Refusal("a negative slope: the activation is not monotone")
    if f.op_type in _RISING_IF_POSITIVE:
        factors = [attribute(f, name, default) for name, default in _RISING_IF_POSITIVE[f.op_type].items()]
        return True if min(factors) >= 0 else Refusal("a negative slope: the activation is not monotone")
    return True if f.op_type in _RISING else None


def _gates_itself(view: View, f: Node) -> bool:
    if f.op_type != "Mul":
        return False
    gates = [view.producer(name) for name in f.inputs]
    return any(is_op(g, "Sigmoid", "HardSigmoid", "Tanh") and g is not None and g.inputs[0] in f.inputs for g in gates)


_GATED = "a map gated by itself is not monotone: it falls before it rises"
_TEXT = """g (float[1, 4, 9, 7] x) => (float[1, 4, h, w] y{more}) {{
    {f}
    y = {pool} (r)
    {after}
}}"""
_POOL = "MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]>"
_RELU = "r = Relu (x)"

RULE = Rule(
    name="max pool before activation",
    family="pooling",
    swap="f → max pool ⇒ max pool → f",
    match=match,
    example=Example(_TEXT.format(more="", f="r = Sigmoid (x)", pool=_POOL, after="")),
    refused={
        "gated by itself": Example(_TEXT.format(more="", f="g = Sigmoid (x) r = Mul (x, g)", pool=_POOL, after="")),
        "HardSwish is not monotone": Example(_TEXT.format(more="", f="r = HardSwish (x)", pool=_POOL, after="")),
        "Gelu is not monotone": Example(_TEXT.format(more="", f="r = Gelu (x)", pool=_POOL, after=""), opset=20),
        "negative slope": Example(_TEXT.format(more="", f="r = LeakyRelu <alpha = -0.5> (x)", pool=_POOL, after="")),
        "differ from pixel to pixel": Example(
            _TEXT.format(more="", f="r = PRelu (x, a)", pool=_POOL, after=""), {"a": np.ones((4, 1, 7), np.float32)}
        ),
        "used elsewhere": Example(_TEXT.format(more=", float[1, 4, 9, 7] z", f=_RELU, pool=_POOL, after="z = Neg (r)")),
        "stride 1": Example(
            _TEXT.format(more="", f=_RELU, pool="MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]>", after="")
        ),
        "wholly in the padding": Example(
            _TEXT.format(
                more="",
                f=_RELU,
                pool="MaxPool <kernel_shape = [2, 2], strides = [5, 5], dilations = [8, 8], pads = [1, 2, 1, 2]>",
                after="",
            )
        ),
        "places of its maxima": Example(
            """g (float[1, 4, 9, 7] x) => (float[1, 4, 4, 3] y, int64[1, 4, 4, 3] i) {
                r = Relu (x)
                y, i = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (r)
            }"""
        ),
    },
)
