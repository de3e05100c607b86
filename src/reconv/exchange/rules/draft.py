"""How rules write what comes in the place of a pattern: nodes and new constants, collected in order.

New constants are computed in float64 and rounded once, here, so that the tolerance of the proof can be derived.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from reconv.exchange.rules.convolution import Convolution
from reconv.exchange.view import View
from reconv.graph import Node, Rewrite

__all__ = ["SLICE_BY_INPUTS", "Draft", "Weights", "attribute", "geometry", "is_op", "needed_beside", "same_attributes"]

Array = np.ndarray[Any, Any]
Weights: TypeAlias = dict[str, Array | tuple[int, ...]]
"""What an example draws its constants from."""

SLICE_BY_INPUTS = 10  # opset from which Slice reads its bounds, and has steps
SPLIT_SIZES_AS_INPUT = 13  # opset from which Split's sizes are an input


@dataclass(eq=False)
class Draft:
    """What a rule brings, while it is being put together."""

    view: View
    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)

    def constant(self, hint: str, values: Array) -> str:
        """A new constant's name; float64 becomes float32, its one rounding, other types stay."""
        name = self.view.fresh(hint)
        self.constants[name] = np.asarray(values, np.float32) if values.dtype == np.float64 else np.asarray(values)
        return name

    def node(self, op_type: str, inputs: Sequence[str], outputs: Sequence[str] | str, **attributes: Any) -> str:
        """A new node; the name of its first output."""
        outputs = outputs if isinstance(outputs, str) else tuple(outputs)
        made = self.view.node(op_type, tuple(inputs), outputs, **attributes)
        self.nodes.append(made)
        return made.outputs[0]

    def copy(self, node: Node, inputs: Sequence[str], output: str) -> str:
        """A node of the same kind on other inputs, with one output."""
        return self.node(node.op_type, inputs, output, **node.attributes)

    def convolution(self, x: str, weight: Array, bias: Array | None, y: str, like: Convolution, **changed: Any) -> str:
        """A Conv with new weights, strides, pads and so on as ``like`` has them but for ``changed``.

        ``bias`` is left out when it is None or zero.
        """
        inputs = [x, self.constant(f"{y}/weight", np.asarray(weight, np.float64))]
        if bias is not None and np.any(bias):
            inputs.append(self.constant(f"{y}/bias", np.asarray(bias, np.float64)))
        return self.node("Conv", inputs, y, **{**geometry(like), "kernel_shape": weight.shape[2:], **changed})

    def split(self, x: str, sizes: Sequence[int], outputs: Sequence[str]) -> None:
        """A Split of the channels (axis 1)."""
        if self.view.opset < SPLIT_SIZES_AS_INPUT:
            self.node("Split", (x,), outputs, axis=1, split=tuple(sizes))
        else:
            lengths = self.constant(f"{x}/sizes", np.asarray(sizes, np.int64))
            self.node("Split", (x, lengths), outputs, axis=1)

    def rewrite(self, before: Sequence[Node], kept: Iterable[Node] = ()) -> Rewrite:
        """``kept`` are nodes of ``before`` that stay, since others read what they make."""
        return Rewrite(tuple(before), (*kept, *self.nodes), self.constants)


def geometry(conv: Convolution) -> dict[str, Any]:
    """The attributes of a Conv, ``auto_pad`` resolved."""
    return {"strides": conv.strides, "pads": conv.pads, "dilations": conv.dilations, "group": conv.groups}


def attribute(node: Node, name: str, default: Any) -> Any:
    """An attribute or its default, text as str."""
    value = node.attributes.get(name, default)
    return value.decode() if isinstance(value, bytes) else value


def is_op(node: Node | None, *op_types: str) -> bool:
    """Whether the node is an operator of ONNX's own domain of one of these types."""
    return node is not None and not node.domain and node.op_type in op_types


def needed_beside(view: View, value: str, *readers: Node) -> bool:
    """Whether something else than ``readers`` needs the value."""
    mine = {node.name for node in readers}
    return view.is_output(value) or any(node.name not in mine for node in view.readers(value))


def same_attributes(one: Node, other: Node) -> bool:
    """Whether two nodes are of one kind with equal attributes."""
    if (one.op_type, one.domain, set(one.attributes)) != (other.op_type, other.domain, set(other.attributes)):
        return False
    return all(np.array_equal(value, other.attributes[key]) for key, value in one.attributes.items())
