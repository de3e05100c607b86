"""Batch norm, or a scale or shift per channel, into the layer before it.

    scale (W x + b) + shift = (scale W) x + (scale b + shift)

for Conv, ConvTranspose, Gemm and MatMul, whose output channels are rows of W (Jacob et al. 2018, section 3.2, fold
batch norms that way). Padding does not matter, nor does ``output_padding``: the map acts on what comes out.
"""

from __future__ import annotations

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules import folding
from reconv.exchange.rules.affine import Weights, example_norm, read_affine
from reconv.exchange.view import View
from reconv.graph import Node, Rewrite

__all__ = ["RULE"]


def match(view: View, node: Node) -> Answer:
    affine = read_affine(view, node)
    if affine is None:
        return None
    layer = view.producer(node.inputs[0] if isinstance(affine, Refusal) else affine.x)
    if layer is None or not folding.is_linear(layer):
        return None
    if isinstance(affine, Refusal):
        return affine
    if view.only_reader(affine.x) is not node:
        return Refusal("the layer's result is used elsewhere too")
    made = folding.after(view, layer, affine.scale, affine.shift, affine.y)
    return made if isinstance(made, Refusal) else Rewrite((layer, node), (made[0],), made[1])


_TEXT = """g (float[1, 6, 9, 7] x) => (float[1, 4, h, w] y{more}) {{
    c = Conv <pads = [1, 1, 1, 1], strides = [2, 1]> (x, w, b)
    y = BatchNormalization (c, s, t, m, v)
    {after}
}}"""
_WEIGHTS: Weights = {"w": (4, 6, 3, 3), "b": (4,), **example_norm(4, positive=False)}

RULE = Rule(
    name="batch norm into the layer before",
    family="batch norm",
    swap="conv → bn ⇒ conv",
    match=match,
    example=Example(_TEXT.format(more="", after=""), _WEIGHTS),
    refused={
        "used elsewhere": Example(_TEXT.format(more=", float[1, 4, h, w] z", after="z = Relu (c)"), _WEIGHTS),
        "shared": Example(_TEXT.format(more=", float[1, 4, h, w] z", after="z = Conv (x, w)"), _WEIGHTS),
        "statistics": Example(
            """g (float[1, 6, 9, 7] x, float[4] s) => (float[1, 4, 7, 5] y) {
                c = Conv (x, w, b)
                y = BatchNormalization (c, s, t, m, v)
            }""",
            {name: w for name, w in _WEIGHTS.items() if name != "s"},
        ),
        "training mode": Example(
            """g (float[2, 6, 9, 7] x) => (float[2, 4, 7, 5] y) {
                c = Conv (x, w, b)
                y, mean, variance = BatchNormalization <training_mode = 1> (c, s, t, m, v)
            }""",
            _WEIGHTS,
        ),
    },
    simplifies=True,
)
