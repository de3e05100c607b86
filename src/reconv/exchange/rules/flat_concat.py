"""One concatenation for a concatenation of concatenations over the same axis.

    [[a; b]; c] = [a; b; c]

so that a and b are copied once. Refused where others read the inner one: it would still be written.
"""

from __future__ import annotations

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules.draft import Draft, attribute, is_op
from reconv.exchange.view import View
from reconv.graph import Node

__all__ = ["RULE"]


def match(view: View, node: Node) -> Answer:
    if not is_op(node, "Concat"):
        return None
    rank = len(view.shape(node.outputs[0]) or ())
    inner = {n: below for n in node.inputs if (below := view.producer(n)) is not None and is_op(below, "Concat")}
    if not inner:
        return None
    if not rank:
        return Refusal("the number of axes is not known")
    axis = int(attribute(node, "axis", 1)) % rank
    inner = {name: below for name, below in inner.items() if int(attribute(below, "axis", 1)) % rank == axis}
    if not inner:
        return None
    once = {name: below for name, below in inner.items() if view.only_reader(name) is node}
    if not once:
        return Refusal("the inner concatenation is used elsewhere too")
    draft = Draft(view)
    parts = [part for name in node.inputs for part in (once[name].inputs if name in once else (name,))]
    draft.node("Concat", parts, node.outputs[0], axis=axis)
    return draft.rewrite((*once.values(), node))


_TEXT = """g (float[1, 2, 4] x, float[1, 3, 4] z) => (float[1, n, 4] y{more}) {{
    i = Concat <axis = -2> (x, z)
    y = Concat <axis = 1> (z, i, x)
    {also}
}}"""

RULE = Rule(
    name="flat concat",
    family="layer",
    swap="concat → concat ⇒ one concat",
    match=match,
    example=Example(_TEXT.format(more="", also="")),
    refused={"used elsewhere": Example(_TEXT.format(more=", float[1, 5, 4] k", also="k = Relu (i)"))},
    simplifies=True,
)
