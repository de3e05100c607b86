"""A 1x1 convolution to fewer channels before an average pooling at stride 1, instead of after it.

    W pool(x) + b = pool(W x + b) = pool(W x) + b

so that the pooling runs on the convolution's channels: 32 to 192 in the place of 192 to 2048 in the pooling branches
of Inception-v3. Where the pooling counts its padding, b has to be added after it (the second form): then it is written
as a depthwise convolution with the weights 1 / window and the bias b, so that an activation behind stays fused.
"""

from __future__ import annotations

from math import prod

import numpy as np

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules.convolution import Convolution, read_convolution
from reconv.exchange.rules.draft import attribute
from reconv.exchange.rules.pool_before_conv1x1 import unequal
from reconv.exchange.rules.pooling import Pool, read_pool
from reconv.exchange.view import View
from reconv.graph import Node, Rewrite

__all__ = ["RULE"]


def match(view: View, node: Node) -> Answer:
    below = view.producer(node.inputs[0]) if node.op_type == "Conv" and not node.domain else None
    pool = None if below is None else read_pool(view, below)
    if not isinstance(pool, Pool) or pool.kind != "average" or pool.over_all:
        return None
    conv = read_convolution(view, node)
    if not isinstance(conv, Convolution):
        return conv
    if set(conv.kernel) != {1}:
        return None
    if set(conv.strides) != {1} or conv.padded:
        return Refusal("the 1x1 convolution strides or pads")
    if view.only_reader(pool.y) is not node:
        return Refusal("the pooled map is used elsewhere too")
    if pool.shrinks:
        return Refusal("the convolution costs less on the pixels that the pooling leaves")
    if conv.weight.shape[0] >= conv.weight.shape[1] * conv.groups:
        return Refusal("the convolution does not make fewer channels")
    mixed = view.fresh(f"{pool.x}/mixed")
    if not conv.has_bias or unequal(pool) is None:
        first = view.node("Conv", (pool.x, *node.inputs[1:]), mixed, **node.attributes)
        return Rewrite((pool.node, node), (first, view.node("AveragePool", (mixed,), conv.y, **pool.node.attributes)))
    if attribute(pool.node, "ceil_mode", 0) or not attribute(pool.node, "count_include_pad", 0):
        return Refusal("a mean whose weights differ at the border, and a bias that does not")
    first = view.node("Conv", (pool.x, node.inputs[1]), mixed, **node.attributes)
    channels, bias = conv.weight.shape[0], node.inputs[2]
    weight = view.fresh(f"{conv.y}/mean")
    means = np.full((channels, 1, *pool.kernel), 1 / prod(pool.kernel), np.float32)
    window = {key: value for key, value in pool.node.attributes.items() if key in _WINDOW}
    mean = view.node("Conv", (mixed, weight, bias), conv.y, **window, group=channels)
    return Rewrite((pool.node, node), (first, mean), {weight: means})


_WINDOW = ("kernel_shape", "strides", "pads", "auto_pad", "dilations")
_TEXT = """g (float[1, 6, 9, 7] x) => (float[1, 4, h, w] y{out}) {{
    p = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1{more}> (x)
    y = Conv {conv} (p, w, b)
    {after}
}}"""


def _example(more: str = "", conv: str = "", after: str = "", out: str = "", channels: int = 4) -> Example:
    weights = {"w": (channels, 6, 1, 1), "b": (channels,)}
    return Example(_TEXT.format(more=more, conv=conv, after=after, out=out).replace("1, 4", f"1, {channels}"), weights)


RULE = Rule(
    name="conv1x1 before pool",
    family="pooling",
    swap="average pool → conv1x1 ⇒ conv1x1 → average pool",
    match=match,
    example=_example(),
    refused={
        "pixels that the pooling leaves": _example(", strides = [2, 2]"),
        "does not make fewer channels": _example(channels=6),
        "weights differ at the border": _example(", ceil_mode = 1"),
        "strides or pads": _example(conv="<strides = [2, 2]>"),
        "used elsewhere": _example(after="z = Relu (p)", out=", float[1, 6, 9, 7] z"),
    },
)
