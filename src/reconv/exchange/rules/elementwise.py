"""Operators that compute each element from those at its place, and constants that are the same at every pixel."""

from __future__ import annotations

from reconv.exchange.rules.draft import Draft, is_op, same_attributes
from reconv.exchange.view import View
from reconv.graph import Node

__all__ = [
    "ARITHMETIC",
    "FUNCTIONS",
    "constant_over_space",
    "convolution_above",
    "same_tail",
    "tail_below",
    "write_tail",
]

# fmt: off
FUNCTIONS = frozenset(
    (
        "Abs", "Ceil", "Celu", "Clip", "Cos", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid",
        "HardSwish", "LeakyRelu", "Log", "Mish", "Neg", "PRelu", "Reciprocal", "Relu", "Round", "Selu",
        "Sigmoid", "Sign", "Sin", "Softplus", "Softsign", "Sqrt", "Tanh", "ThresholdedRelu",
    )
)
# fmt: on
"""Functions of one map; what Clip and PRelu read beside it are parameters."""

ARITHMETIC = frozenset(("Add", "Div", "Max", "Min", "Mul", "Pow", "Sub", "Sum"))


def constant_over_space(view: View, name: str, rank: int, channels: int | None) -> bool:
    """Whether a value is a constant, the same at every pixel of maps (N, C, space...), that does not enlarge them."""
    values = view.constant(name)
    if values is None or values.ndim > rank:
        return False
    shape = (1,) * (rank - values.ndim) + values.shape
    return all(size == 1 for size in (shape[0], *shape[2:])) and shape[1] in (1, channels)


def tail_below(view: View, value: str) -> tuple[Node, ...]:
    """The activation that alone reads a value: one node, or Sigmoid and Mul for x·σ(x); nothing when there is none.

    Parameters beside the map are constants that hold for all channels.
    """
    readers = view.readers(value)
    if view.is_output(value):
        return ()
    if len(readers) == 1 and is_op(readers[0], *FUNCTIONS) and readers[0].inputs[0] == value:
        constants = [view.constant(name) for name in readers[0].inputs[1:] if name]
        return readers if all(c is not None and c.size == 1 for c in constants) else ()
    if len(readers) == 2 and is_op(readers[0], "Sigmoid") and is_op(readers[1], "Mul"):
        gate, product = readers
        if view.only_reader(gate.outputs[0]) is product and set(product.inputs) == {value, gate.outputs[0]}:
            return readers
    return ()


def convolution_above(view: View, value: str) -> Node | None:
    """The Conv that makes a value, itself or through one activation."""
    above = view.producer(value)
    for _ in range(2):  # x·σ(x) is a Mul over a Sigmoid
        if above is None or is_op(above, "Conv") or not is_op(above, "Mul", *FUNCTIONS):
            break
        producers = [view.producer(name) for name in above.inputs]
        above = next((p for p in producers if is_op(p, "Conv")), producers[0])
    return above if is_op(above, "Conv") else None


def same_tail(view: View, one: tuple[Node, ...], other: tuple[Node, ...]) -> bool:
    """Whether two activations are the same function."""
    if len(one) != len(other):
        return False
    for a, b in zip(one, other, strict=True):
        if not same_attributes(a, b) or len(a.inputs) != len(b.inputs):
            return False
        for mine, yours in zip(a.inputs[1:], b.inputs[1:], strict=True):
            if mine == yours or a.op_type == "Mul":
                continue
            x, y = view.constant(mine), view.constant(yours)
            if x is None or y is None or x.item() != y.item():
                return False
    return True


def write_tail(draft: Draft, tail: tuple[Node, ...], x: str, y: str) -> str:
    """The activation of `tail_below` on another map."""
    if len(tail) == 1:
        return draft.copy(tail[0], (x, *tail[0].inputs[1:]), y)
    gate = draft.copy(tail[0], (x,), draft.view.fresh(f"{y}/gate"))
    return draft.copy(tail[1], (x, gate), y)
