"""Batch norm and ReLU before a layer as one maximum.

    relu(a x + t) = a max(x, -t / a) + t    for a > 0,
    relu(a x + t) = a min(x, -t / a) + t    for a < 0,
    relu(t) where a = 0

and the scale and shift that are left fold into the layer: W relu(a x + t) + b = (W a) max(x, -t / a) + (W t + b). The
units of a DenseNet (batch norm, ReLU, 1x1 convolution; Huang et al. 2017) then pass over their widest map once and not
twice. The layer must not pad, as for every shift. One operator does it only where all scales have one sign.
"""

from __future__ import annotations

import numpy as np

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules import folding
from reconv.exchange.rules.affine import Affine, Weights, along_channels, example_norm, read_affine, rounded
from reconv.exchange.rules.draft import is_op
from reconv.exchange.view import View
from reconv.graph import Node, Rewrite

__all__ = ["RULE"]


def match(view: View, node: Node) -> Answer:
    relu = view.producer(node.inputs[0]) if folding.is_linear(node) else None
    if relu is None or not is_op(relu, "Relu"):
        return None
    affine = read_affine(view, view.producer(relu.inputs[0]))
    shape = view.shape(relu.inputs[0])
    if not isinstance(affine, Affine) or not affine.shifts or shape is None:
        return None
    if view.only_reader(affine.y) is not relu or view.only_reader(relu.outputs[0]) is not node:
        return Refusal("a map after the batch norm is used elsewhere too")
    a, t = affine.scale, affine.shift
    up, down = bool((a > 0).any()), bool((a < 0).any())
    if up and down:
        return Refusal("scales of both signs would take a maximum and a minimum")
    bound = rounded(-t / np.where(a == 0, 1, a))
    if isinstance(bound, Refusal):
        return bound
    left = np.where(a == 0, np.maximum(t, 0), t)
    y = view.fresh(f"{affine.x}/bounded")
    made = folding.before(view, node, a, left, y)
    if isinstance(made, Refusal):
        return made
    name = view.fresh(f"{y}/bound")
    one = view.node("Min" if down else "Max", (affine.x, name), y)
    return Rewrite((affine.node, relu, node), (one, made[0]), {name: along_channels(bound, len(shape)), **made[1]})


_TEXT = """g (float[1, 6, 9, 7] x) => (float[1, 4, h, w] y{more}) {{
    n = BatchNormalization (x, s, t, m, v)
    r = Relu (n)
    y = Conv <kernel_shape = [1, 1]{pads}> (r, w, b)
    {after}
}}"""
_WEIGHTS: Weights = {"w": (4, 6, 1, 1), "b": (4,), **example_norm(6)}

RULE = Rule(
    name="batch norm around relu",
    family="batch norm",
    swap="bn → relu → conv ⇒ max → conv",
    match=match,
    example=Example(_TEXT.format(more="", pads="", after=""), _WEIGHTS),
    refused={
        "both signs": Example(
            _TEXT.format(more="", pads="", after=""),
            {**_WEIGHTS, "s": np.array([1, -1, 1, 1, -1, 1], np.float32)},
        ),
        "pads with zeros": Example(_TEXT.format(more="", pads=", pads = [1, 1, 1, 1]", after=""), _WEIGHTS),
        "used elsewhere": Example(
            _TEXT.format(more=", float[1, 6, 9, 7] z", pads="", after="z = Sigmoid (r)"), _WEIGHTS
        ),
    },
)
