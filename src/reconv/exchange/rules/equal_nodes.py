"""Two nodes that compute the same as one.

    f(x) and f(x)   ⇒   f(x), read by the readers of both

if both have the same operator, attributes (those left out with their default), inputs, and constants of the same bits
under whatever names. That is what `reconv.graph.structure` takes for equal. Where the results of equal nodes feed nodes
that become equal in turn, those follow. The second leaves an Identity, which `reconv.exchange.rules.do_nothing` takes
out. Random operators draw anew each time and are never one.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules.draft import Draft, is_op
from reconv.exchange.view import View
from reconv.graph import Node, TensorInfo, draws_at_random, structure

__all__ = ["RULE"]


def match(view: View, node: Node) -> Answer:
    read = [name for name in node.inputs if name and view.constant(name) is None]
    if (
        not read
        or node.captures
        or is_op(node, "Identity")
        or not all(view.is_float(name) for name in (*read, *node.outputs) if name)
    ):
        return None
    for twin in view.readers(read[0]):
        if twin is node:
            break  # only an earlier one: the later of the two goes
        if _alike(view, twin, node):
            if draws_at_random(node, view.graph):
                return Refusal("both draw at random, so their results differ")
            if len(node.outputs) != 1:
                return Refusal("nodes with several results")
            draft = Draft(view)
            draft.node("Identity", twin.outputs, node.outputs[0])
            return draft.rewrite([twin, node], [twin])
    return None


def _alike(view: View, one: Node, other: Node) -> bool:
    if (one.op_type, one.domain, one.captures) != (other.op_type, other.domain, ()):
        return False
    if len(one.inputs) != len(other.inputs):
        return False
    if any(_differ(view, a, b) for a, b in zip(one.inputs, other.inputs, strict=True)):
        return False
    reads = dict.fromkeys((*one.reads, *other.reads))
    constants = {name: array for name in reads if (array := view.constant(name)) is not None}
    float32 = np.dtype(np.float32)
    inputs = tuple(TensorInfo(name, float32, ()) for name in reads if name not in constants)
    pair = replace(view.graph, nodes=(one, other), constants=constants, inputs=inputs, outputs=())
    digests = structure(pair).nodes
    return digests[one.name] == digests[other.name]


def _differ(view: View, one: str, other: str) -> bool:
    """Whether two inputs surely differ, which costs less to see than to hash a weight."""
    if one == other:
        return False
    a, b = view.constant(one), view.constant(other)
    if a is None or b is None or a.shape != b.shape or a.dtype != b.dtype:
        return True
    return bool(a.size and a.flat[0] != b.flat[0] and a.flat[0] == a.flat[0])


_TEXT = """g (float[1, 3, 6, 5] x) => (float[1, 4, 6, 5] y, float[1, 4, 6, 5] z) {{
    a = {0}
    b = {1}
    y = Relu (a)
    z = Sigmoid (b)
}}"""

RULE = Rule(
    name="equal nodes",
    family="layer",
    swap="f(x), f(x) ⇒ f(x)",
    match=match,
    example=Example(
        _TEXT.format("Conv <pads = [1, 1, 1, 1]> (x, v)", "Conv <group = 1, pads = [1, 1, 1, 1]> (x, w)"),
        {"v": np.ones((4, 3, 3, 3), np.float32), "w": np.ones((4, 3, 3, 3), np.float32)},
    ),
    refused={
        "draw at random": Example(
            """g (float[1, 4, 6, 5] x) => (float[1, 4, 6, 5] y) {
                a = RandomNormalLike (x)
                b = RandomNormalLike (x)
                y = Sub (a, b)
            }"""
        ),
        "several results": Example(
            """g (float[1, 4] x) => (float[1, 2] y) {
                a, b = Split <axis = 1> (x, sizes)
                c, d = Split <axis = 1> (x, sizes)
                y = Add (a, d)
            }""",
            {"sizes": np.array([2, 2])},
        ),
    },
    simplifies=True,
)
