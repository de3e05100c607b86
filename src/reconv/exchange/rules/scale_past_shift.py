"""A scale past the shift after it, into a convolution that the shift cannot enter.

    scale x + shift = scale (x + shift / scale),    so    scale → shift → conv W  ⇒  shift / scale → conv (W scale)

A convolution that pads with zeros takes a scale, but no shift (`affine_into_layer_after`). Where the two are nodes of
their own, as in the affine block after an activation of PP-LCNet, one of them goes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules import folding
from reconv.exchange.rules.affine import Affine, Weights, read_affine, written
from reconv.exchange.view import View
from reconv.graph import Node, Rewrite

__all__ = ["RULE"]


def match(view: View, node: Node) -> Answer:
    if not folding.is_linear(node):
        return None
    last = read_affine(view, view.producer(node.inputs[0]))
    if not isinstance(last, Affine) or last.scales:
        return None
    first = read_affine(view, view.producer(last.x))
    if not isinstance(first, Affine) or not first.scales:
        return None
    if view.only_reader(first.y) is not last.node or view.only_reader(last.y) is not node:
        return Refusal("the scaled map is used elsewhere too")
    if not isinstance(folding.before(view, node, last.scale, last.shift, last.x), Refusal):
        return None  # the shift goes into the layer, and then the scale does
    both = first.then(last)
    if not both.scale.all():
        return Refusal("a scale of zero cannot be divided by")
    shifted = view.fresh(f"{first.x}/shifted")
    one = np.ones_like(both.scale)
    add = written(view, replace(both, scale=one, shift=both.shift / both.scale), shifted)
    conv = folding.before(view, node, both.scale, np.zeros_like(one), shifted)
    if isinstance(add, Refusal):
        return add
    if isinstance(conv, Refusal):
        return conv
    return Rewrite((first.node, last.node, node), (add[0], conv[0]), {**add[1], **conv[1]})


_TEXT = """g (float[1, 6, 9, 7] x) => (float[1, 4, 9, 7] y{more}) {{
    n = Mul (x, k)
    p = Add (n, t)
    y = Conv <pads = [1, 1, 1, 1]> (p, w, b)
    {after}
}}"""
_WEIGHTS: Weights = {"k": np.array(-1.7, np.float32), "t": np.array([0.3], np.float32), "w": (4, 6, 3, 3), "b": (4,)}

RULE = Rule(
    name="scale past a shift",
    family="batch norm",
    swap="scale → shift → conv ⇒ shift → conv",
    match=match,
    example=Example(_TEXT.format(more="", after=""), _WEIGHTS),
    refused={
        "used elsewhere": Example(_TEXT.format(more=", float[1, 6, 9, 7] z", after="z = Relu (p)"), _WEIGHTS),
        "zero": Example(_TEXT.format(more="", after=""), {**_WEIGHTS, "k": np.array(0.0, np.float32)}),
        "shared": Example(_TEXT.format(more=", float[1, 4, h, w] z", after="z = Conv (x, w)"), _WEIGHTS),
    },
    simplifies=True,
)
