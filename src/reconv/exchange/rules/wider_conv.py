"""One wider convolution and a Split for several convolutions of one map.

    [W1 x; W2 x] = [W1; W2] x by rows (channels out)

for convolutions that slide alike over all channels. The map is read once, and the matrix product is larger. Equal
activations behind all of them move along, before the Split. Where the results are concatenated again, the rows are put
in that order, so that Split and Concat cancel (`split_then_concat`). Grouped convolutions are refused: one grouped
convolution would give the channels of both in turns.
"""

from __future__ import annotations

import numpy as np

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules.convolution import Convolution, read_convolution
from reconv.exchange.rules.draft import Draft, is_op
from reconv.exchange.rules.elementwise import same_tail, tail_below, write_tail
from reconv.exchange.view import View
from reconv.graph import Node

__all__ = ["RULE"]


def match(view: View, node: Node) -> Answer:
    if not is_op(node, "Conv") or len(view.readers(node.inputs[0])) < 2:
        return None
    conv = read_convolution(view, node)
    if not isinstance(conv, Convolution):
        return None  # other rules say why
    found = [read_convolution(view, reader) for reader in view.readers(conv.x) if is_op(reader, "Conv")]
    siblings = [c for c in found if isinstance(c, Convolution) and c.x == conv.x and c.kernel == conv.kernel]
    alike = [c for c in siblings if _slides(c) == _slides(conv)]
    if len(siblings) < 2 or alike[-1].node is not node:
        return None  # the last of them speaks for all
    if len(alike) < 2:
        return Refusal("the other convolutions of this map have other strides, pads or groups")
    if conv.groups != 1:
        return Refusal("grouped: one convolution would give the channels of both in turns")
    tails = [tail_below(view, each.y) for each in alike]
    if not tails[0] or not all(same_tail(view, tails[0], tail) for tail in tails[1:]):
        tails = [() for _ in alike]
    ends = [tail[-1].outputs[0] if tail else each.y for each, tail in zip(alike, tails, strict=True)]
    order = _order(view, ends)
    draft = Draft(view)
    weight = np.concatenate([alike[i].weight for i in order])
    bias = np.concatenate([alike[i].bias for i in order])
    wide = draft.convolution(conv.x, weight, bias, view.fresh(f"{conv.x}/wide"), conv)
    if tails[0]:
        wide = write_tail(draft, tails[0], wide, view.fresh(f"{wide}/active"))
    draft.split(wide, [int(alike[i].weight.shape[0]) for i in order], [ends[i] for i in order])
    return draft.rewrite([n for each, tail in zip(alike, tails, strict=True) for n in (each.node, *tail)])


def _slides(conv: Convolution) -> tuple[object, ...]:
    return conv.strides, conv.pads, conv.dilations, conv.groups


def _order(view: View, ends: list[str]) -> list[int]:
    """The order in which one Concat reads them all, else that of the graph."""
    plain = list(range(len(ends)))
    reader = view.only_reader(ends[0])
    if reader is None or not is_op(reader, "Concat") or any(view.only_reader(end) is not reader for end in ends):
        return plain
    return sorted(plain, key=lambda i: reader.inputs.index(ends[i]))


_TEXT = """g (float[1, 6, 7, 8] x) => (float[n, c, h, w] y, float[n, c, h, w] z) {{
    p = Conv <pads = [1, 1, 1, 1]{one}> (x, v, b)
    q = Conv <pads = [1, 1, 1, 1]{two}> (x, w)
    y = Relu (p)
    z = Relu (q)
}}"""
_WEIGHTS = {"v": (4, 6, 3, 3), "b": (4,), "w": (5, 6, 3, 3)}
_GROUPS = ", group = 6"

RULE = Rule(
    name="wider conv",
    family="layer",
    swap="several convs of one map ⇒ one wider conv → split",
    match=match,
    example=Example(_TEXT.format(one="", two=""), _WEIGHTS),
    refused={
        "other strides": Example(_TEXT.format(one="", two=", strides = [2, 2]"), _WEIGHTS),
        "in turns": Example(_TEXT.format(one=_GROUPS, two=_GROUPS), {"v": (6, 1, 3, 3), "b": (6,), "w": (6, 1, 3, 3)}),
    },
)
