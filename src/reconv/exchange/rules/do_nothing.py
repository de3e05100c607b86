"""Nodes that give what they read are taken out.

Identity; Dropout at inference; x·1, x/1, x^1, x + (-0), x - 0; Cast to the type that it has; Concat, Sum, Max or Min of
one; Split into one; Slice of everything; Transpose to the same order; Pad by nothing; pooling over one pixel; Resize by
1. (x + 0 makes 0 of -0, which 1/x tells apart.)

Who read the result reads the operand instead. A result that the model gives out keeps its name: then the node that made
the operand makes it under that name. Between an input and an output of the model the node stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules.convolution import Array
from reconv.exchange.rules.draft import SLICE_BY_INPUTS, Draft, attribute
from reconv.exchange.view import View
from reconv.graph import Node

__all__ = ["RULE", "has_body"]

TRAINING_AS_INPUT = 12  # opset from which Dropout may be told to train


def match(view: View, node: Node) -> Answer:
    check = NOTHINGS.get(node.op_type)
    if check is None or node.domain:
        return None
    x = check(view, node)
    if x is None:
        return None
    y, *others = [name for name in node.outputs if name] or [""]
    if not y or y != node.outputs[0] or any(view.readers(name) or view.is_output(name) for name in others):
        return Refusal("its other result is used")
    readers = [reader for reader in view.readers(y) if reader is not node]
    if any(has_body(reader) for reader in readers):
        return Refusal("a node with a body (If, Loop, Scan) reads its result")
    draft = Draft(view)
    if not view.is_output(y):
        draft.nodes += [_reading(view, reader, y, x) for reader in readers]
        return draft.rewrite((node, *readers)) if readers else None
    maker = view.producer(x)
    if maker is None or view.is_output(x):
        return Refusal("it gives an input or another output of the model its name")
    beside = [reader for reader in view.readers(x) if reader is not node]
    if any(has_body(each) for each in (maker, *beside)):
        return Refusal("a node with a body (If, Loop, Scan) makes or reads its operand")
    outputs = tuple(y if name == x else name for name in maker.outputs)
    draft.nodes.append(replace(maker, name=view.fresh(maker.name), outputs=outputs))
    draft.nodes += [_reading(view, reader, x, y) for reader in beside]
    return draft.rewrite((maker, node, *beside))


def _reading(view: View, node: Node, old: str, new: str) -> Node:
    """The node, reading ``new`` where it read ``old``."""
    inputs = tuple(new if name == old else name for name in node.inputs)
    return replace(node, name=view.fresh(node.name), inputs=inputs)


def has_body(node: Node) -> bool:
    """Whether the node holds graphs, which belong to the model that they were read from."""
    plain = (int, float, str, bytes, np.ndarray)
    values = (each for v in node.attributes.values() for each in (v if isinstance(v, tuple) else (v,)))
    return bool(node.captures) or not all(isinstance(value, plain) for value in values)


def _first(_: View, node: Node) -> str | None:
    return node.inputs[0]


def _dropout(view: View, node: Node) -> str | None:
    if view.opset < TRAINING_AS_INPUT or len(node.inputs) < 3 or not node.inputs[2]:
        return node.inputs[0]
    training = view.constant(node.inputs[2])
    return node.inputs[0] if training is not None and not training.any() else None


def _neutral(neutral: float, sides: tuple[int, ...]) -> Callable[[View, Node], str | None]:
    """An operator with a constant that changes nothing on one of these sides; of floats, the sign of a zero counts."""

    def check(view: View, node: Node) -> str | None:
        for side in sides:
            values, x = view.constant(node.inputs[side]), node.inputs[1 - side]
            if values is None or view.constant(x) is not None or not values.size or np.any(values != neutral):
                continue
            if not neutral and values.dtype.kind == "f" and np.any(np.signbit(values) != np.signbit(neutral)):
                continue
            if _fits(values, view.shape(x)):
                return x
        return None

    return check


def _fits(values: Array, shape: tuple[int | None, ...] | None) -> bool:
    """Whether a constant does not enlarge a map of that shape."""
    if values.ndim > len(shape or ()):
        return values.ndim == 0
    sizes = (shape or ())[len(shape or ()) - values.ndim :]
    return all(size in (1, own) for size, own in zip(values.shape, sizes, strict=True))


def _cast(view: View, node: Node) -> str | None:
    own, made = view.types.get(node.inputs[0]), view.types.get(node.outputs[0])
    return node.inputs[0] if own is not None and own == made else None


def _of_one(_: View, node: Node) -> str | None:
    return node.inputs[0] if len(node.inputs) == 1 else None


def _split(_: View, node: Node) -> str | None:
    return node.inputs[0] if len(node.outputs) == 1 else None


def _slice(view: View, node: Node) -> str | None:
    before, after = view.shape(node.inputs[0]), view.shape(node.outputs[0])
    if view.opset < SLICE_BY_INPUTS:
        starts, ends, steps = (np.array(attribute(node, key, ())) for key in ("starts", "ends", "steps"))
    else:
        read = [view.constant(name) if name else np.array([]) for name in (*node.inputs[1:], "", "")]
        if read[0] is None or read[1] is None or read[3] is None:
            return None
        starts, ends, steps = read[0], read[1], read[3]
    if np.any(steps != 1):
        return None
    whole = np.all(starts == 0) and np.all(ends >= np.iinfo(np.int32).max)
    same = before is not None and before == after and None not in before
    return node.inputs[0] if whole or same else None


def _transpose(_: View, node: Node) -> str | None:
    order = attribute(node, "perm", ())
    return node.inputs[0] if order and tuple(order) == tuple(range(len(order))) else None


def _pad(view: View, node: Node) -> str | None:
    pads = view.constant(node.inputs[1]) if len(node.inputs) > 1 else np.array(attribute(node, "pads", (1,)))
    return node.inputs[0] if pads is not None and not pads.any() else None


def _pool(_: View, node: Node) -> str | None:
    one = set(attribute(node, "kernel_shape", ())) == {1} and set(attribute(node, "strides", (1,))) == {1}
    plain = not any(attribute(node, "pads", ()))
    return node.inputs[0] if one and plain and len([n for n in node.outputs if n]) == 1 else None


def _resize(view: View, node: Node) -> str | None:
    if attribute(node, "coordinate_transformation_mode", "").startswith("tf_") or len(node.inputs) > 3:
        return None
    scales = view.constant(node.inputs[-1])  # the last of (x, scales), and of (x, roi, scales)
    return node.inputs[0] if scales is not None and scales.size and np.all(scales == 1) else None


NOTHINGS: Mapping[str, Callable[[View, Node], str | None]] = {
    "Add": _neutral(-0.0, (0, 1)),
    "AveragePool": _pool,
    "Cast": _cast,
    "Concat": _of_one,
    "Div": _neutral(1, (1,)),
    "Dropout": _dropout,
    "Identity": _first,
    "Max": _of_one,
    "MaxPool": _pool,
    "Min": _of_one,
    "Mul": _neutral(1, (0, 1)),
    "Pad": _pad,
    "Pow": _neutral(1, (1,)),
    "Resize": _resize,
    "Slice": _slice,
    "Split": _split,
    "Sub": _neutral(0.0, (1,)),
    "Sum": _of_one,
    "Transpose": _transpose,
    "Upsample": _resize,
}
"""What a node reads and gives unchanged, by its type; None where it does something."""

RULE = Rule(
    name="do nothing",
    family="layer",
    swap="x·1, x - 0, Identity, ... ⇒ x",
    match=match,
    example=Example(
        """g (float[1, 4, 6, 6] x) => (float[1, 4, 6, 6] y, float[1, 4, 6, 6] z) {
            r = Relu (x)
            a = Mul (r, ones)
            b, mask = Dropout (a)
            z = Sigmoid (b)
            t = Tanh (b)
            y = Identity (t)
        }""",
        {"ones": np.ones((4, 1, 1), np.float32)},
    ),
    refused={
        "input or another output": Example("g (float[1, 4] x) => (float[1, 4] y) { y = Identity (x) }"),
        "other result": Example(
            "g (float[1, 4] x) => (float[1, 4] y, bool[1, 4] m) { d, m = Dropout (x) \n y = Relu (d) }"
        ),
    },
    simplifies=True,
)
