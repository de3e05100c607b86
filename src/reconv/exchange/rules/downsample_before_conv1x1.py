"""A downsampling before a 1x1 convolution instead of after it: `conv1x1_before_upsample` the other way round.

    down(W x + b) = W down(x) + b

The convolution then runs on the pixels that are left. For an upsampling this direction is refused: the convolution
would see more pixels, and the larger of the two maps would be written once more.
"""

from __future__ import annotations

import numpy as np

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules.convolution import Convolution, read_convolution
from reconv.exchange.rules.draft import Draft, is_op
from reconv.exchange.rules.resizing import Resizing, read_resizing
from reconv.exchange.view import View
from reconv.graph import Node

__all__ = ["RULE"]


def match(view: View, node: Node) -> Answer:
    if not is_op(node, "Resize", "Upsample") or not is_op(view.producer(node.inputs[0]), "Conv"):
        return None
    conv = read_convolution(view, view.producer(node.inputs[0]))
    if not isinstance(conv, Convolution):
        return conv
    if set(conv.kernel) != {1}:
        return None
    resizing = read_resizing(view, node)
    if not isinstance(resizing, Resizing):
        return resizing
    if conv.padded or set(conv.strides) != {1}:
        return Refusal("the 1x1 convolution strides or pads")
    if view.only_reader(conv.y) is not node:
        return Refusal("the convolution's result is used elsewhere too")
    if resizing.growth is not None and resizing.growth >= 1:
        return Refusal("the resizing does not shrink the map: the convolution would see more pixels")
    if resizing.growth is None:
        return Refusal("whether the resizing shrinks the map is not known")
    draft = Draft(view)
    channels = int(conv.weight.shape[1]) * conv.groups
    small = resizing.write(draft, conv.x, view.fresh(f"{conv.x}/small"), channels)
    draft.copy(conv.node, (small, *conv.node.inputs[1:]), node.outputs[0])
    return draft.rewrite((conv.node, node))


_TEXT = """g (float[1, 6, 8, 8] x) => (float[n, c, h, w] y) {
    c = Conv (x, w, b)
    y = Resize <mode = "linear"> (c, , scales)
}"""
_WEIGHTS = {"w": (4, 6, 1, 1), "b": (4,)}

RULE = Rule(
    name="downsample before conv1x1",
    family="layer",
    swap="conv1x1 → downsample ⇒ downsample → conv1x1",
    match=match,
    example=Example(_TEXT, {**_WEIGHTS, "scales": np.array([1, 1, 0.5, 0.5], np.float32)}),
    refused={
        "does not shrink": Example(_TEXT, {**_WEIGHTS, "scales": np.array([1, 1, 2, 2], np.float32)}),
        "used elsewhere": Example(
            """g (float[1, 6, 8, 8] x) => (float[n, c, h, w] y, float[n, c, h, w] z) {
                c = Conv (x, w, b)
                y = Resize <mode = "nearest"> (c, , scales)
                z = Relu (c)
            }""",
            {**_WEIGHTS, "scales": np.array([1, 1, 0.5, 0.5], np.float32)},
        ),
    },
)
