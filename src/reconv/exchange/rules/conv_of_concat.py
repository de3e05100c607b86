"""One convolution of a concatenation instead of a sum of convolutions: `conv_per_part` the other way round.

    W1 x1 + b1 + W2 x2 + b2 = [W1 W2] [x1; x2] + (b1 + b2)

for convolutions that slide alike. Where both read the same map, no concatenation is needed: the weights are summed, and
a smaller kernel is centred in the larger one (its window must lie inside), as in the blocks of RepVGG
(arXiv 2101.03697) at inference. Different maps are concatenated where that moves fewer values than the
sum. The maps must be known to be of one size: a sum would broadcast where a concatenation cannot.
"""

from __future__ import annotations

import numpy as np

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules.convolution import Array, Convolution, read_convolution
from reconv.exchange.rules.draft import Draft, is_op
from reconv.exchange.view import View
from reconv.graph import Node

__all__ = ["RULE"]


def match(view: View, node: Node) -> Answer:
    if not is_op(node, "Add") or node.inputs[0] == node.inputs[1]:
        return None
    found = [view.producer(name) for name in node.inputs]
    if not all(is_op(below, "Conv") for below in found):
        return None
    one, other = (read_convolution(view, below) for below in found)
    if not isinstance(one, Convolution):
        return one
    if not isinstance(other, Convolution):
        return other
    if one.weight.shape[0] != other.weight.shape[0] or one.weight.ndim != other.weight.ndim:
        return Refusal("the sum broadcasts")
    if any(view.only_reader(conv.y) is not node for conv in (one, other)):
        return Refusal("a convolution's result is used elsewhere too")
    draft, y = Draft(view), node.outputs[0]
    before = (one.node, other.node, node)
    bias = one.bias.astype(np.float64) + other.bias
    if one.x == other.x:
        large, small = (one, other) if one.weight.size >= other.weight.size else (other, one)
        inside = _inside(large, small)
        if inside is None:
            return Refusal("the two convolutions do not slide alike")
        draft.convolution(one.x, large.weight.astype(np.float64) + inside, bias, y, large)
        return draft.rewrite(before)
    alike = (one.kernel, one.strides, one.pads, one.dilations) == (
        other.kernel,
        other.strides,
        other.pads,
        other.dilations,
    )
    if not alike or one.groups != 1 or other.groups != 1:
        return Refusal("the two convolutions do not slide alike")
    shapes = [view.shape(conv.x) for conv in (one, other)]
    sizes = [(s[0], *s[2:]) if s is not None else (None,) for s in shapes]
    if sizes[0] != sizes[1] or None in sizes[0]:
        return Refusal("the two maps are not known to be of one size")
    outs, ins = one.weight.shape[0], one.weight.shape[1] + other.weight.shape[1]
    if 2 * ins >= 3 * outs:
        return Refusal("the concatenation would move more values than the sum")
    both = draft.node("Concat", (one.x, other.x), view.fresh(f"{y}/parts"), axis=1)
    draft.convolution(both, np.concatenate([one.weight, other.weight], 1), bias, y, one)
    return draft.rewrite(before)


def _inside(large: Convolution, small: Convolution) -> Array | None:
    """The kernel of ``small`` with zeros around it, so that it slides as ``large`` does; None where it cannot."""
    if (large.groups, large.strides) != (small.groups, small.strides):
        return None
    space = len(large.kernel)
    at: list[slice] = [slice(None), slice(None)]
    for axis in range(space):
        dilation = large.dilations[axis]
        if small.kernel[axis] > 1 and small.dilations[axis] != dilation:
            return None
        begin = large.pads[axis] - small.pads[axis]
        end = large.pads[space + axis] - small.pads[space + axis]
        spare = (large.kernel[axis] - small.kernel[axis]) * dilation
        if begin < 0 or begin % dilation or begin + end != spare or begin > spare:
            return None
        at.append(slice(begin // dilation, begin // dilation + small.kernel[axis]))
    whole = np.zeros(large.weight.shape)
    whole[tuple(at)] = small.weight
    return whole


_TEXT = """g (float[{n}, 3, 6, 6] x, float[1, 2, 6, 6] z) => (float[n, c, h, w] y) {{
    p = Conv <pads = [1, 1, 1, 1]> (x, v, b)
    q = Conv {conv} (z, w, d)
    y = Add (p, q)
}}"""
_WEIGHTS = {"v": (8, 3, 3, 3), "b": (8,), "w": (8, 2, 3, 3), "d": (8,)}
_ALIKE = "<pads = [1, 1, 1, 1]>"

RULE = Rule(
    name="conv of a concat",
    family="layer",
    swap="sum of convs ⇒ concat → conv; of one map ⇒ one conv",
    match=match,
    example=Example(_TEXT.format(n=1, conv=_ALIKE), _WEIGHTS),
    refused={
        "slide alike": Example(_TEXT.format(n=1, conv=""), {**_WEIGHTS, "w": (8, 2, 1, 1)}),
        "of one size": Example(_TEXT.format(n=3, conv=_ALIKE), _WEIGHTS),
        "more values": Example(
            _TEXT.format(n=1, conv=_ALIKE), {"v": (2, 3, 3, 3), "b": (2,), "w": (2, 2, 3, 3), "d": (2,)}
        ),
    },
)
