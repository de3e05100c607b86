"""Multiply-adds, and operations of any kind, of one node, from shapes.

One multiply-add is one product that is summed: operators of other kinds (activations, additions, pooling) count as 0,
as in the usual tables. For a convolution it is (pixels out) x Cout x Cin/groups x kh x kw; for a transposed
convolution the same with pixels in, since each input pixel is multiplied with the whole kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

from reconv.graph.graph import Node

__all__ = ["COSTS", "multiply_adds", "operations"]

Shapes = Mapping[str, tuple[int, ...]]


def multiply_adds(node: Node, shapes: Mapping[str, tuple[int | None, ...]]) -> int | None:
    """Multiply-adds of the node for these shapes of its inputs and outputs; None when a shape it needs is unknown."""
    count = COSTS.get(node.op_type)
    if count is None or node.domain not in ("", "com.microsoft"):
        return 0
    known = {name: shape for name, shape in shapes.items() if None not in shape}
    try:
        return count(node, known)  # type: ignore[arg-type]  # the Nones have just been taken out
    except (KeyError, IndexError):
        return None


def operations(node: Node, shapes: Mapping[str, tuple[int | None, ...]]) -> int | None:
    """Multiply-adds, or for a node without them one operation per element read or made, whichever are more.

    So that an activation or a copy counts for something beside the products, and a pooling for its input. Operators
    that change only the shape count as nothing. None when a shape that it needs is unknown.
    """
    products = multiply_adds(node, shapes)
    if products is None or products > 0:
        return products
    if node.op_type in SHAPE_ONLY:
        return 0
    found = 0
    for names in (node.inputs, node.outputs):
        count = 0
        for name in filter(None, names):
            size = shapes.get(name)
            if size is None or None in size:
                return None
            count += prod(n for n in size if n is not None)
        found = max(found, count)
    return found


def _conv(weight: int) -> Callable[[Node, Shapes], int]:
    def count(node: Node, shapes: Shapes) -> int:
        return prod(shapes[node.outputs[0]]) * prod(shapes[node.inputs[weight]][1:])

    return count


def _conv_transpose(node: Node, shapes: Shapes) -> int:
    return prod(shapes[node.inputs[0]]) * prod(shapes[node.inputs[1]][1:])


def _matmul(node: Node, shapes: Shapes) -> int:
    return prod(shapes[node.outputs[0]]) * shapes[node.inputs[0]][-1]


def _gemm(node: Node, shapes: Shapes) -> int:
    summed = shapes[node.inputs[0]][0 if node.attributes.get("transA", 0) else 1]
    return prod(shapes[node.outputs[0]]) * summed


def _einsum(node: Node, shapes: Shapes) -> int:
    equation = str(node.attributes["equation"]).replace(" ", "")
    if len(node.inputs) < 2 or "..." in equation:
        return 0
    sizes: dict[str, int] = {}
    for labels, name in zip(equation.split("->")[0].split(","), node.inputs, strict=True):
        sizes.update(zip(labels, shapes[name], strict=True))
    return prod(sizes.values())


def _recurrent(node: Node, shapes: Shapes) -> int:
    steps, batch = shapes[node.inputs[0]][:2]
    if node.attributes.get("layout", 0):
        steps, batch = batch, steps
    return steps * batch * (prod(shapes[node.inputs[1]]) + prod(shapes[node.inputs[2]]))


COSTS: Mapping[str, Callable[[Node, Shapes], int]] = {
    "Conv": _conv(1),
    "FusedConv": _conv(1),
    "ConvInteger": _conv(1),
    "QLinearConv": _conv(3),
    "DeformConv": _conv(1),
    "ConvTranspose": _conv_transpose,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "QLinearMatMul": _matmul,
    "Gemm": _gemm,
    "Einsum": _einsum,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
}
SHAPE_ONLY = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout", "Shape", "Size"})
