"""ONNX operators in float64 with numpy, each value with an estimate of its error: what proofs are made of.

ONNX Runtime has no convolution in double precision, and ONNX's reference implementation is too slow for a search. In
the order of a reader's interest: `value` (a value and its error), `call` (an operator's inputs and attributes),
`window` and the families of operators, and the table `OPS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from reconv.errors import ModelError, one_line
from reconv.exchange.float64.call import Call, Op
from reconv.exchange.float64.convolution import conv, conv_transpose
from reconv.exchange.float64.elementwise import BINARY, UNARY, cast, clip, dropout, identity
from reconv.exchange.float64.movement import MOVEMENTS
from reconv.exchange.float64.normalization import batch_normalization, softmax
from reconv.exchange.float64.pooling import average_pool, global_average_pool, global_max_pool, max_pool
from reconv.exchange.float64.products import gemm, matmul
from reconv.exchange.float64.reduction import REDUCTIONS
from reconv.exchange.float64.resize import resize, upsample
from reconv.exchange.float64.value import SPREAD, UNIT, Value, exact, rounded
from reconv.graph import Node

__all__ = [
    "OPS",
    "SPREAD",
    "UNIT",
    "Inputs",
    "UnknownOperatorError",
    "Value",
    "evaluate",
    "exact",
    "is_known",
    "rounded",
]

Inputs: TypeAlias = tuple[Value | None, ...]
"""What a node reads, None for an optional input that is left out."""

OPS: Mapping[str, Op] = {
    "AveragePool": average_pool,
    "BatchNormalization": batch_normalization,
    "Cast": cast,
    "Clip": clip,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Dropout": dropout,
    "Gemm": gemm,
    "GlobalAveragePool": global_average_pool,
    "GlobalMaxPool": global_max_pool,
    "Identity": identity,
    "MatMul": matmul,
    "MaxPool": max_pool,
    "Resize": resize,
    "Softmax": softmax,
    "Upsample": upsample,
    **BINARY,
    **MOVEMENTS,
    **REDUCTIONS,
    **UNARY,
}


class UnknownOperatorError(ModelError):
    """An operator that `OPS` lacks, or one of another domain."""

    def __init__(self, node: Node) -> None:
        super().__init__(f"the operator {node.domain}{'.' if node.domain else ''}{node.op_type} is not known")


def is_known(node: Node) -> bool:
    """Whether the node's operator can be evaluated."""
    return node.op_type in OPS and node.domain in ("", "ai.onnx") and not node.captures


def _refused(node: Node, _: Inputs) -> tuple[Value, ...]:
    raise UnknownOperatorError(node)


def evaluate(
    nodes: Sequence[Node],
    values: Mapping[str, Value],
    opset: int,
    unknown: Callable[[Node, Inputs], tuple[Value, ...]] = _refused,
) -> dict[str, Value]:
    """Every value that the nodes make from the given ones.

    Args:
        nodes: in topological order.
        values: all that the nodes read from outside, constants included.
        opset: of the model.
        unknown: gives the results of a node whose operator is not known.

    Raises:
        UnknownOperatorError: an operator is not known, and ``unknown`` is not given.
        ModelError: what one of a node's attributes asks for is not known here, or it refuses its inputs.
    """
    found = dict(values)
    for node in nodes:
        if unknown is _refused and not is_known(node):
            raise UnknownOperatorError(node)
        try:
            inputs = tuple(found[name] if name else None for name in node.inputs)
            with np.errstate(all="ignore"):
                results = OPS[node.op_type](Call(node, inputs, opset)) if is_known(node) else unknown(node, inputs)
        except ModelError:
            raise
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # numpy's words for what does not fit
            raise ModelError(f"{node.op_type} cannot be evaluated: {one_line(error)}") from error
        found |= {name: value for name, value in zip(node.outputs, results, strict=False) if name}
    return {name: found[name] for node in nodes for name in node.outputs if name in found}
