"""Two convolutions without anything between, one of them 1x1, as one.

    W2 (W1 x + b1) + b2 = (W2 W1) x + (W2 b1 + b2)

a matrix product at every tap of the kernel, computed in float64 and rounded once. With groups on either side the
product has as many groups as both can be cut into (their greatest common divisor). Strides multiply when the second
convolution is the 1x1 one; its window must not pad. When the first is the 1x1 one, the second may pad if the first has
no bias: padding puts zeros where the first would have put its bias.

Refused where the product is more work than the two, for example a bottleneck that is meant to be narrow. A first
convolution that others read too stays, and then only the second counts.
"""

from __future__ import annotations

from math import gcd, prod

import numpy as np

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules.convolution import Array, Convolution, read_convolution
from reconv.exchange.rules.draft import Draft, is_op, needed_beside
from reconv.exchange.rules.elementwise import convolution_above
from reconv.exchange.view import View
from reconv.graph import Node

__all__ = ["RULE"]


def match(view: View, node: Node) -> Answer:
    above = convolution_above(view, node.inputs[0]) if is_op(node, "Conv") else None
    if above is None:
        return None
    first, second = read_convolution(view, above), read_convolution(view, node)
    if not isinstance(first, Convolution):
        return first
    if not isinstance(second, Convolution):
        return second
    if set(first.kernel) != {1} != set(second.kernel):
        return None
    if above is not view.producer(node.inputs[0]):
        return Refusal("an activation between: the two are no longer linear together")
    if set(second.kernel) == {1}:
        if second.padded:
            return Refusal("the 1x1 convolution pads")
        slides = {"pads": first.pads, "dilations": first.dilations}
    else:
        if first.padded or set(first.strides) != {1}:
            return Refusal("the 1x1 convolution strides or pads")
        if second.padded and first.has_bias:
            return Refusal("the second pads with zeros where the first would have put its bias")
        slides = {"pads": second.pads, "dilations": second.dilations}
        reach = [(k - 1) * d for k, d in zip(second.kernel, second.dilations, strict=True)]
        if any(a + b > r for a, b, r in zip(second.pads, second.pads[len(reach) :], reach, strict=False)):
            return Refusal("the second pads more than its kernel reaches, which makes its map the larger one")
    groups = gcd(first.groups, second.groups)
    shared = needed_beside(view, first.y, node)
    taps = prod(first.kernel) * prod(second.kernel)
    work = second.weight.shape[0] * first.weight.shape[1] * (first.groups // groups) * taps
    apart = second.weight.size + (0 if shared else first.weight.size * _pixels(view, first, second))
    if work > apart:
        return Refusal(f"the product is more work: {work} multiply-adds per pixel, apart {apart:g}")
    weight, bias = _product(first, second, groups)
    strides = tuple(a * b for a, b in zip(first.strides, second.strides, strict=True))
    draft = Draft(view)
    draft.convolution(first.x, weight, bias, second.y, second, strides=strides, group=groups, **slides)
    return draft.rewrite((first.node, node), (first.node,) if shared else ())


def _pixels(view: View, first: Convolution, second: Convolution) -> float:
    """How many pixels the first makes for one of the second, at least: 1 where the sizes are free."""
    sizes = [(view.shape(name) or (None,) * 3)[2:] for name in (first.y, second.y)]
    known = [[size for size in each if size is not None] for each in sizes]
    if len(known[0]) != len(sizes[0]) or len(known[1]) != len(sizes[1]) or not all(known[1]):
        return 1.0
    return prod(known[0]) / prod(known[1])


def _product(first: Convolution, second: Convolution, groups: int) -> tuple[Array, Array]:
    """Weight (Cout, Cin / groups, k...) and bias (Cout,) of both in a row, in float64."""
    inner, outer = _blocks(first, groups), _blocks(second, groups)
    kernel = first.kernel if set(second.kernel) == {1} else second.kernel
    _, outs, middle = outer.shape[:3]
    ins = inner.shape[2]
    left = np.moveaxis(outer.reshape(groups, outs, middle, -1), 2, 3)  # (groups, Cout, taps, middle)
    right = inner.reshape(groups, middle, -1)  # (groups, middle, Cin·taps); one of both taps is 1
    weight = (left.reshape(groups, -1, middle) @ right).reshape(groups, outs, -1, ins, prod(first.kernel))
    weight = np.moveaxis(weight, 2, 3).reshape(groups * outs, ins, *kernel)
    shift = left.sum(2) @ first.bias.astype(np.float64).reshape(groups, middle, 1)
    return weight, shift.reshape(-1) + second.bias


def _blocks(conv: Convolution, groups: int) -> Array:
    """The weight as (groups, Cout / groups, Cin / groups, k...), for fewer groups with the zeros between blocks."""
    outs, ins = conv.weight.shape[0] // conv.groups, conv.weight.shape[1]
    each = conv.groups // groups
    whole = np.zeros((groups, each * outs, each * ins, *conv.kernel))
    small = conv.weight.astype(np.float64).reshape(groups, each, outs, ins, *conv.kernel)
    for i in range(each):
        whole[:, i * outs : (i + 1) * outs, i * ins : (i + 1) * ins] = small[:, i]
    return whole


_TEXT = """g (float[1, 6, 7, 8] x) => (float[n, c, h, w] y) {{
    m = Conv {one} (x, v, b)
    y = Conv {two} (m, w, d)
}}"""
_WEIGHTS = {"v": (8, 6, 3, 3), "b": (8,), "w": (4, 8, 1, 1), "d": (4,)}

RULE = Rule(
    name="merge convs",
    family="layer",
    swap="conv kxk → conv1x1, conv1x1 → conv kxk ⇒ one conv",
    match=match,
    example=Example(_TEXT.format(one="<pads = [1, 1, 1, 1], strides = [2, 2]>", two=""), _WEIGHTS),
    refused={
        "more work": Example(
            _TEXT.format(one="<pads = [1, 1, 1, 1]>", two=""),
            {**_WEIGHTS, "v": (2, 6, 3, 3), "b": (2,), "w": (4, 2, 1, 1)},
        ),
        "put its bias": Example(
            _TEXT.format(one="", two="<pads = [1, 1, 1, 1]>"),
            {"v": (8, 6, 1, 1), "b": (8,), "w": (4, 8, 3, 3), "d": (4,)},
        ),
        "an activation between": Example(
            _TEXT.replace("(m, w, d)", "(a, w, d)").format(one="", two="").replace("y =", "a = Relu (m)\n    y ="),
            _WEIGHTS,
        ),
        "pads": Example(_TEXT.format(one="", two="<pads = [1, 1, 1, 1]>"), _WEIGHTS),
    },
    simplifies=True,
)
