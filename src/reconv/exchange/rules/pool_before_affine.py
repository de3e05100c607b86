"""Pooling before a batch norm, or a scale or shift per channel, instead of after it.

    mean(scale x + shift) = scale mean(x) + shift        the weights of a mean sum to 1
    max(scale x + shift)  = scale max(x) + shift         for scale ≥ 0

The map then acts on the pixels that the pooling leaves. MaxPool pads with -inf, which no maximum of a window with a
pixel in it sees; so it is the same on both sides. A mean that counts the zeros of its padding would dilute the shift.
"""

from __future__ import annotations

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules.affine import Affine, example_norm, moved, read_affine
from reconv.exchange.rules.pooling import Pool, read_pool
from reconv.exchange.view import View
from reconv.graph import Node, Rewrite

__all__ = ["RULE"]


def match(view: View, node: Node) -> Answer:
    pool = read_pool(view, node)
    affine = read_affine(view, view.producer(node.inputs[0])) if pool is not None else None
    if pool is None or affine is None:
        return None
    if isinstance(affine, Refusal):
        return affine
    if isinstance(pool, Refusal):
        return pool
    if view.only_reader(affine.y) is not node:
        return Refusal("the map before the pooling is used elsewhere too")
    if not pool.shrinks:
        return Refusal("at stride 1 the pooling leaves as much to do")
    if refusal := _differs(pool, affine):
        return refusal
    pooled = view.fresh(f"{affine.x}/pooled")
    first = view.node(node.op_type, (affine.x, *node.inputs[1:]), pooled, **node.attributes)
    shape = view.shape(pool.y) or view.shape(affine.x) or ()
    last, constants = moved(view, affine, pooled, pool.y, len(shape))
    return Rewrite((affine.node, node), (first, last), constants)


def _differs(pool: Pool, affine: Affine) -> Refusal | None:
    """Why the pooling does not commute with the map; None when it does."""
    if pool.kind == "max" and (affine.scale < 0).any():
        return Refusal("a negative scale turns the largest value into the smallest")
    if pool.kind == "average" and affine.shifts and not pool.averages_everywhere:
        return Refusal("the pooling counts its padding, which would dilute the shift at the border")
    if pool.empty_window and (pool.kind == "max" or affine.shifts):
        return Refusal("a window may lie wholly in the padding")
    return None


_TEXT = """g (float[1, 4, 9, 7] x) => (float[1, 4, h, w] y{more}) {{
    n = BatchNormalization (x, s, t, m, v)
    y = {pool} (n)
    {after}
}}"""
_MAX = "MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]>"
_MEAN = "AveragePool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1], count_include_pad = 1>"

RULE = Rule(
    name="pool before batch norm",
    family="batch norm",
    swap="bn → pool ⇒ pool → bn",
    match=match,
    example=Example(_TEXT.format(more="", pool=_MAX, after=""), example_norm(4)),
    refused={
        "negative scale": Example(_TEXT.format(more="", pool=_MAX, after=""), example_norm(4, positive=False)),
        "counts its padding": Example(_TEXT.format(more="", pool=_MEAN, after=""), example_norm(4)),
        "stride 1": Example(
            _TEXT.format(more="", pool="MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]>", after=""),
            example_norm(4),
        ),
        "wholly in the padding": Example(
            _TEXT.format(
                more="",
                pool="MaxPool <kernel_shape = [2, 2], strides = [5, 5], dilations = [8, 8], pads = [1, 2, 1, 2]>",
                after="",
            ),
            example_norm(4),
        ),
        "used elsewhere": Example(
            _TEXT.format(more=", float[1, 4, 9, 7] z", pool=_MAX, after="z = Relu (n)"), example_norm(4)
        ),
        "places of its maxima": Example(
            """g (float[1, 4, 9, 7] x) => (float[1, 4, 4, 3] y, int64[1, 4, 4, 3] i) {
                n = BatchNormalization (x, s, t, m, v)
                y, i = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (n)
            }""",
            example_norm(4),
        ),
    },
)
