"""Average pooling before a 1x1 convolution instead of after it.

    pool(W x + b) = W pool(x) + b

since one is linear and acts on channels alone, the other is linear with weights that sum to 1 and acts on space
alone. The convolution then runs on as many pixels as the pooling leaves: a quarter, for the 2x2 poolings between the
blocks of a DenseNet.

Where the pooling counts its padding (``count_include_pad``), its weights at the border sum to less than 1, and
W pool(x) + b would keep all of b there: such a pair is refused unless b is zero.
"""

from __future__ import annotations

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules.convolution import Convolution, read_convolution
from reconv.exchange.view import View
from reconv.graph import Node, Rewrite

__all__ = ["RULE"]


def match(view: View, node: Node) -> Answer:
    if node.op_type != "AveragePool" or node.domain:
        return None
    below = view.producer(node.inputs[0])
    conv = read_convolution(view, below)
    if not isinstance(conv, Convolution):
        return conv
    if set(conv.kernel) != {1} or set(conv.strides) != {1} or conv.padded:
        return None if set(conv.kernel) != {1} else Refusal("the 1x1 convolution strides or pads")
    if view.only_reader(conv.y) is not node:
        return Refusal("the convolution's result is used elsewhere too")
    counts_padding = bool(node.attributes.get("count_include_pad", 0))
    if counts_padding and conv.has_bias and _pads(node):
        return Refusal("the pooling counts its padding, which would dilute the bias at the border")
    pooled = view.fresh(f"{conv.x}/pooled")
    pool = view.node("AveragePool", (conv.x,), pooled, **node.attributes)
    moved = view.node("Conv", (pooled, *conv.node.inputs[1:]), node.outputs[0], **conv.node.attributes)
    return Rewrite((conv.node, node), (pool, moved))


def _pads(node: Node) -> bool:
    auto = node.attributes.get("auto_pad", "NOTSET")
    return any(node.attributes.get("pads", ())) or auto not in ("NOTSET", "VALID", b"NOTSET", b"VALID")


_TEXT = """g (float[1, 6, 9, 7] x) => (float[1, 4, h, w] y) {{
    c = Conv (x, w, b)
    y = AveragePool <kernel_shape = [2, 2], strides = [2, 2]{more}> ({source})
}}"""
_WEIGHTS = {"w": (4, 6, 1, 1), "b": (4,)}

RULE = Rule(
    name="pool before conv1x1",
    family="pooling",
    swap="conv1x1 → average pool ⇒ average pool → conv1x1",
    match=match,
    example=Example(_TEXT.format(more="", source="c"), _WEIGHTS),
    refused={
        "counts its padding": Example(
            _TEXT.format(more=", pads = [1, 1, 1, 1], count_include_pad = 1", source="c"), _WEIGHTS
        ),
        "used elsewhere": Example(
            """g (float[1, 6, 8, 8] x) => (float[1, 4, 4, 4] y, float[1, 4, 8, 8] z) {
                c = Conv (x, w, b)
                y = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (c)
                z = Relu (c)
            }""",
            _WEIGHTS,
        ),
    },
)
