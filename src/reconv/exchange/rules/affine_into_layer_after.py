"""Batch norm, or a scale or shift per channel, into the layer after it.

    W (scale x + shift) + b = (W scale) x + (W shift + b)

for Conv, ConvTranspose, Gemm and MatMul. A shift does not reach the zeros that a convolution pads with, nor every
pixel of a transposed convolution equally often: there it is refused, unless there is only a scale.
"""

from __future__ import annotations

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules import folding
from reconv.exchange.rules.affine import Weights, example_norm, read_affine
from reconv.exchange.view import View
from reconv.graph import Node, Rewrite

__all__ = ["RULE"]


def match(view: View, node: Node) -> Answer:
    if not folding.is_linear(node):
        return None
    affine = read_affine(view, view.producer(node.inputs[0]))
    if affine is None or isinstance(affine, Refusal):
        return affine
    if view.only_reader(affine.y) is not node or node.reads.count(affine.y) > 1:
        return Refusal("the batch norm's result is used elsewhere too")
    made = folding.before(view, node, affine.scale, affine.shift, affine.x)
    return made if isinstance(made, Refusal) else Rewrite((affine.node, node), (made[0],), made[1])


_TEXT = """g (float[1, 6, 9, 7] x) => (float[1, 4, h, w] y{more}) {{
    n = BatchNormalization (x, s, t, m, v)
    y = Conv {pads} (n, w, b)
    {after}
}}"""
_WEIGHTS: Weights = {"w": (4, 6, 3, 3), "b": (4,), **example_norm(6, positive=False)}

RULE = Rule(
    name="batch norm into the layer after",
    family="batch norm",
    swap="bn → conv ⇒ conv",
    match=match,
    example=Example(_TEXT.format(more="", pads="", after=""), _WEIGHTS),
    refused={
        "pads with zeros": Example(_TEXT.format(more="", pads="<pads = [0, 1, 0, 0]>", after=""), _WEIGHTS),
        "used elsewhere": Example(_TEXT.format(more=", float[1, 6, 9, 7] z", pads="", after="z = Relu (n)"), _WEIGHTS),
        "shared": Example(_TEXT.format(more=", float[1, 4, h, w] z", pads="", after="z = Conv (x, w)"), _WEIGHTS),
        "unevenly": Example(
            """g (float[1, 6, 9, 7] x) => (float[1, 4, 19, 15] y) {
                n = BatchNormalization (x, s, t, m, v)
                y = ConvTranspose <strides = [2, 2]> (n, w)
            }""",
            {**_WEIGHTS, "w": (6, 4, 3, 3)},
        ),
    },
    simplifies=True,
)
