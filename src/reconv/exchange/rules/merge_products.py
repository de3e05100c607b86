"""Two matrix products with constants as one, over Gemm, MatMul and an Add of a constant after a MatMul.

    (x A + a) B + b = x (A B) + (a B + b)

computed in float64 and rounded once. Refused where A B has more entries than A and B together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules.convolution import Array
from reconv.exchange.rules.draft import Draft, attribute, is_op, needed_beside
from reconv.exchange.view import View
from reconv.graph import Node

__all__ = ["RULE"]


@dataclass(frozen=True, eq=False)
class Affine:
    """x ↦ x A + shift over the last axis, by one or two nodes. matrix: (K, N), float64; shift: (N,), None without."""

    nodes: tuple[Node, ...]
    x: str
    matrix: Array
    shift: Array | None


def match(view: View, node: Node) -> Answer:
    second = _product(view, node)
    if second is None:
        return None
    below = view.producer(second.x)
    first = _product(view, below)
    if first is None and below is not None and is_op(below, "Add"):
        first = _with_shift(view, below)
    if first is None:
        return None
    if not view.is_float(first.x) or not view.is_float(second.x):
        return Refusal("it multiplies another type than float32; rules are proved for float32")
    links = [name for each in first.nodes for name in each.outputs]
    reads = (*first.nodes[1:], node)
    if any(needed_beside(view, name, *reads) for name in links):
        return Refusal("the first product is used elsewhere too")
    matrix = first.matrix @ second.matrix
    if matrix.size > first.matrix.size + second.matrix.size:
        apart = first.matrix.size + second.matrix.size
        return Refusal(f"the product is more work: {matrix.size} multiply-adds per row, apart {apart}")
    terms = [first.shift @ second.matrix] if first.shift is not None else []
    terms += [second.shift] if second.shift is not None else []
    draft, y = Draft(view), node.outputs[0]
    weight = draft.constant(f"{y}/weight", matrix)
    shift = draft.constant(f"{y}/shift", np.asarray(sum(terms))) if terms else ""
    if is_op(node, "Gemm"):
        draft.node("Gemm", (first.x, weight, shift) if shift else (first.x, weight), y)
    elif shift:
        product = draft.node("MatMul", (first.x, weight), view.fresh(f"{y}/product"))
        draft.node("Add", (product, shift), y)
    else:
        draft.node("MatMul", (first.x, weight), y)
    return draft.rewrite((*first.nodes, node))


def _product(view: View, node: Node | None) -> Affine | None:
    """A MatMul or Gemm with constants on its right."""
    if node is None or not is_op(node, "MatMul", "Gemm"):
        return None
    right = view.constant(node.inputs[1])
    if right is None or right.ndim != 2 or right.dtype != np.float32:
        return None
    matrix = right.astype(np.float64)
    rank = len(view.shape(node.inputs[0]) or ())
    if node.op_type == "MatMul":
        return Affine((node,), node.inputs[0], matrix, None) if rank >= 2 else None
    if attribute(node, "transA", 0):
        return None
    if attribute(node, "transB", 0):
        matrix = matrix.T
    shift = None
    if len(node.inputs) > 2 and node.inputs[2]:
        given = view.constant(node.inputs[2])
        if given is None or given.size not in (1, matrix.shape[1]) or given.shape[:-1] not in ((), (1,)):
            return None
        shift = np.broadcast_to(given.astype(np.float64).reshape(-1), matrix.shape[1:])
        shift = shift * float(attribute(node, "beta", 1.0))
    return Affine((node,), node.inputs[0], matrix * float(attribute(node, "alpha", 1.0)), shift)


def _with_shift(view: View, node: Node) -> Affine | None:
    """A MatMul and the Add of a constant row after it."""
    for x, other in (node.inputs, node.inputs[::-1]):
        product, row = _product(view, view.producer(x)), view.constant(other)
        if product is None or product.shift is not None or row is None or row.dtype != np.float32:
            continue
        rank = len(view.shape(x) or ())
        if row.ndim <= rank and row.size == product.matrix.shape[1] and row.shape[-1:] == product.matrix.shape[1:]:
            return Affine((*product.nodes, node), product.x, product.matrix, row.astype(np.float64).reshape(-1))
    return None


_TEXT = """g (float[3, 6] x) => (float[3, n] y{more}) {{
    m = MatMul (x, v)
    k = Add (m, b)
    y = Gemm <transB = 1, alpha = 0.5> (k, w, d)
    {also}
}}"""
_WEIGHTS = {"v": (6, 8), "b": (8,), "w": (4, 8), "d": (4,)}

RULE = Rule(
    name="merge matrix products",
    family="layer",
    swap="matrix product → matrix product ⇒ one",
    match=match,
    example=Example(_TEXT.format(more="", also=""), _WEIGHTS),
    refused={
        "more work": Example(_TEXT.format(more="", also=""), {"v": (6, 2), "b": (2,), "w": (9, 2), "d": (9,)}),
        "used elsewhere": Example(_TEXT.format(more=", float[3, 8] z", also="z = Relu (k)"), _WEIGHTS),
    },
    simplifies=True,
)
