"""A positive scale per channel up through a ReLU, into the layer before it.

    a relu(W x + b) = relu(a W x + a b)    for a > 0

and the same for LeakyRelu and PRelu, which are linear on either side of zero. A shift stays where it is.
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
    affine = read_affine(view, node)
    if not isinstance(affine, Affine):
        return None
    relu = view.producer(affine.x)
    if relu is None or not is_rectifier(view, relu):
        return None
    layer = view.producer(relu.inputs[0])
    if layer is None or not folding.is_linear(layer):
        return None
    if refusal := passes(affine):
        return refusal
    if view.only_reader(affine.x) is not node or view.only_reader(relu.inputs[0]) is not relu:
        return Refusal("a map before the scale is used elsewhere too")
    scaled = view.fresh(f"{relu.inputs[0]}/scaled")
    made = folding.after(view, layer, affine.scale, np.zeros(1), scaled)
    if isinstance(made, Refusal):
        return made
    moved = view.node(relu.op_type, (scaled, *relu.inputs[1:]), affine.y, **relu.attributes)
    return Rewrite((layer, relu, node), (made[0], moved), made[1])


_TEXT = """g (float[1, 6, 9, 7] x) => (float[1, 4, h, w] y{more}) {{
    c = Conv <pads = [1, 1, 1, 1]> (x, w, b)
    r = LeakyRelu <alpha = 0.2> (c)
    y = BatchNormalization (r, s, t, m, v)
    {after}
}}"""
_WEIGHTS = {"w": (4, 6, 3, 3), "b": (4,)}
_SCALE = example_norm(4, shift=False)

RULE = Rule(
    name="scale up through relu",
    family="batch norm",
    swap="conv → relu → scale ⇒ conv → relu",
    match=match,
    example=Example(_TEXT.format(more="", after=""), {**_WEIGHTS, **_SCALE}),
    refused={
        "shift": Example(_TEXT.format(more="", after=""), {**_WEIGHTS, **example_norm(4)}),
        "not positive": Example(_TEXT.format(more="", after=""), {**_WEIGHTS, **_SCALE, "s": -_SCALE["s"]}),
        "used elsewhere": Example(
            _TEXT.format(more=", float[1, 4, h, w] z", after="z = Sigmoid (r)"), {**_WEIGHTS, **_SCALE}
        ),
        "shared": Example(_TEXT.format(more=", float[1, 4, h, w] z", after="z = Conv (x, w)"), {**_WEIGHTS, **_SCALE}),
    },
    simplifies=True,
)
