"""Average pooling before a 1x1 convolution instead of after it.

    pool(W x + b) = W pool(x) + b

since one is linear and acts on channels alone, the other is linear with weights that sum to 1 and acts on space
alone. The convolution then runs on as many pixels as the pooling leaves: a quarter, for the 2x2 poolings between the
blocks of a DenseNet; one, for a pooling over all of space.

Where the pooling counts its padding (``count_include_pad``), its weights at the border sum to less than 1, and
W pool(x) + b would keep all of b there: such a pair is refused unless b is zero. Runtimes differ in whether they count
what ceil_mode adds to the last window, so that it is treated as padding.
"""

from __future__ import annotations

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules.convolution import Convolution, read_convolution
from reconv.exchange.rules.elementwise import convolution_above
from reconv.exchange.rules.pooling import Pool, read_pool
from reconv.exchange.view import View
from reconv.graph import Node, Rewrite

__all__ = ["RULE", "unequal"]


def match(view: View, node: Node) -> Answer:
    pool = read_pool(view, node)
    if not isinstance(pool, Pool) or pool.kind != "average":
        return None
    above = view.producer(pool.x)
    conv = read_convolution(view, convolution_above(view, pool.x))
    if not isinstance(conv, Convolution):
        return conv
    if set(conv.kernel) != {1}:
        return None
    if conv.node is not above:
        return Refusal("an activation between: the mean of f(x) is not f of the mean")
    if set(conv.strides) != {1} or conv.padded:
        return Refusal("the 1x1 convolution strides or pads")
    if view.only_reader(conv.y) is not node:
        return Refusal("the convolution's result is used elsewhere too")
    if not pool.shrinks and conv.weight.shape[0] <= conv.weight.shape[1] * conv.groups:
        return Refusal("at stride 1 the pooling costs less on the convolution's channels, which are fewer")
    if conv.has_bias and (refusal := unequal(pool)):
        return refusal
    pooled = view.fresh(f"{conv.x}/pooled")
    keeps_axes = node.op_type != "ReduceMean" or bool(node.attributes.get("keepdims", 1))
    attributes = node.attributes if keeps_axes else {**node.attributes, "keepdims": 1}
    first = view.node(node.op_type, (conv.x, *node.inputs[1:]), pooled, **attributes)
    y = pool.y if keeps_axes else view.fresh(f"{pool.y}/pixel")
    moved = view.node("Conv", (pooled, *conv.node.inputs[1:]), y, **conv.node.attributes)
    flat = () if keeps_axes else (view.node("Flatten", (y,), pool.y, axis=1),)
    return Rewrite((conv.node, node), (first, moved, *flat))


def unequal(pool: Pool) -> Refusal | None:
    """Why the mean of a map of ones is not 1 everywhere; None when it is."""
    if not pool.averages_everywhere:
        return Refusal("the pooling counts its padding, which would dilute the bias at the border")
    if pool.empty_window:
        return Refusal("a window may lie wholly in the padding")
    return None


_TEXT = """g (float[1, 6, 9, 7] x) => (float[1, 4, h, w] y{out}) {{
    c = Conv {conv} (x, w, b)
    y = AveragePool <kernel_shape = [2, 2]{more}> (c)
    {after}
}}"""
_WEIGHTS = {"w": (4, 6, 1, 1), "b": (4,)}
_HALF = ", strides = [2, 2]"


def _example(more: str, conv: str = "", after: str = "", out: str = "") -> Example:
    return Example(_TEXT.format(more=more, conv=conv, after=after, out=out), _WEIGHTS)


RULE = Rule(
    name="pool before conv1x1",
    family="pooling",
    swap="conv1x1 → average pool ⇒ average pool → conv1x1",
    match=match,
    example=_example(_HALF),
    refused={
        "counts its padding": _example(f"{_HALF}, pads = [1, 1, 1, 1], count_include_pad = 1"),
        "dilute the bias": _example(f"{_HALF}, ceil_mode = 1, count_include_pad = 1"),
        "wholly in the padding": _example(", strides = [3, 3], ceil_mode = 1"),
        "an activation between": Example(
            """g (float[1, 6, 9, 7] x) => (float[1, 4, h, w] y) {
                c = Conv (x, w, b)
                a = Relu (c)
                y = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (a)
            }""",
            _WEIGHTS,
        ),
        "stride 1": _example(""),
        "strides or pads": _example(_HALF, conv="<strides = [2, 2]>"),
        "used elsewhere": _example(_HALF, after="z = Relu (c)", out=", float[1, 4, 9, 7] z"),
    },
)
