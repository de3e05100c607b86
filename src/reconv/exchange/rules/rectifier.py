"""Functions that a positive scale passes through: f(a x) = a f(x) for a > 0."""

from __future__ import annotations

from reconv.exchange.rule import Refusal
from reconv.exchange.rules.affine import Affine
from reconv.exchange.rules.draft import is_op
from reconv.exchange.rules.elementwise import constant_over_space
from reconv.exchange.view import View
from reconv.graph import Node

__all__ = ["is_rectifier", "passes"]


def is_rectifier(view: View, node: Node | None) -> bool:
    """Relu, LeakyRelu, or a PRelu with a constant slope, or one for each channel."""
    if node is None or not is_op(node, "Relu", "LeakyRelu", "PRelu"):
        return False
    shape = view.shape(node.inputs[0])
    if node.op_type != "PRelu":
        return True
    return shape is not None and len(shape) > 1 and constant_over_space(view, node.inputs[1], len(shape), shape[1])


def passes(affine: Affine) -> Refusal | None:
    """Why an affine map does not pass a rectifier; None when it does."""
    if affine.shifts:
        return Refusal("a shift does not pass the activation")
    if not (affine.scale > 0).all():
        return Refusal("a scale that is not positive does not pass the activation")
    return None
