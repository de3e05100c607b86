"""A positive scale per channel down through a ReLU, into the layer after it.

    W relu(a x) + b = (W a) relu(x) + b    for a > 0

and the same for LeakyRelu and PRelu. The layer may pad: zeros are zeros on either side.
"""

from __future__ import annotations

import numpy as np

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules import folding
from reconv.exchange.rules.affine import Affine, example_norm, read_affine
from reconv.exchange.rules.rectifier import is_rectifier, passes
from reconv.exchange.view import View
from reconv.graph import Node, Rewrite

__all__ = ["RULE"]


def match(view: View, node: Node) -> Answer:
    if not folding.is_linear(node):
        return None
    relu = view.producer(node.inputs[0])
    if relu is None or not is_rectifier(view, relu):
        return None
    affine = read_affine(view, view.producer(relu.inputs[0]))
    if not isinstance(affine, Affine):
        return None
    if refusal := passes(affine):
        return refusal
    if view.only_reader(affine.y) is not relu or view.only_reader(relu.outputs[0]) is not node:
        return Refusal("a map after the scale is used elsewhere too")
    y = view.fresh(f"{affine.x}/rectified")
    made = folding.before(view, node, affine.scale, np.zeros(1), y)
    if isinstance(made, Refusal):
        return made
    moved = view.node(relu.op_type, (affine.x, *relu.inputs[1:]), y, **relu.attributes)
    return Rewrite((affine.node, relu, node), (moved, made[0]), made[1])


_TEXT = """g (float[1, 6, 9, 7] x) => (float[1, 4, 9, 7] y{more}) {{
    n = BatchNormalization (x, s, t, m, v)
    r = Relu (n)
    y = Conv <pads = [1, 1, 1, 1]> (r, w, b)
    {after}
}}"""
_WEIGHTS = {"w": (4, 6, 3, 3), "b": (4,)}
_SCALE = example_norm(6, shift=False)

RULE = Rule(
    name="scale down through relu",
    family="batch norm",
    swap="scale → relu → conv ⇒ relu → conv",
    match=match,
    example=Example(_TEXT.format(more="", after=""), {**_WEIGHTS, **_SCALE}),
    refused={
        "shift": Example(_TEXT.format(more="", after=""), {**_WEIGHTS, **example_norm(6)}),
        "not positive": Example(_TEXT.format(more="", after=""), {**_WEIGHTS, **_SCALE, "s": -_SCALE["s"]}),
        "used elsewhere": Example(
            _TEXT.format(more=", float[1, 6, 9, 7] z", after="z = Sigmoid (r)"), {**_WEIGHTS, **_SCALE}
        ),
        "shared": Example(_TEXT.format(more=", float[1, 4, h, w] z", after="z = Conv (x, w)"), {**_WEIGHTS, **_SCALE}),
    },
    simplifies=True,
)
