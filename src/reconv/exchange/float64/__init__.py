"""ONNX operators in float64 with numpy, each value with an estimate of its error: what proofs are made of.

ONNX Runtime has no convolution in double precision, and ONNX's reference implementation is too slow for a search. In
the order of a reader's interest: `value` (a value and its error), `call` (an operator's inputs and attributes),
`window` and the families of operators, and the table `OPS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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

__all__ = ["OPS", "SPREAD", "UNIT", "Value", "evaluate", "exact", "rounded"]

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


def evaluate(nodes: Sequence[Node], values: Mapping[str, Value], opset: int) -> dict[str, Value]:
    """Every value that the nodes make from the given ones.

    Args:
        nodes: in topological order.
        values: all that the nodes read from outside, constants included.
        opset: of the model.

    Raises:
        ModelError: an operator, or what one of its attributes asks for, is not known here, or it refuses its inputs.
    """
    found = dict(values)
    for node in nodes:
        op = OPS.get(node.op_type) if node.domain in ("", "ai.onnx") and not node.captures else None
        if op is None:
            raise ModelError(f"the operator {node.domain}{'.' if node.domain else ''}{node.op_type} is not known")
        try:
            inputs = tuple(found[name] if name else None for name in node.inputs)
            with np.errstate(all="ignore"):
                results = op(Call(node, inputs, opset))
        except ModelError:
            raise
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # numpy's words for what does not fit
            raise ModelError(f"{node.op_type} cannot be evaluated: {one_line(error)}") from error
        found |= {name: value for name, value in zip(node.outputs, results, strict=False) if name}
    return {name: found[name] for node in nodes for name in node.outputs if name in found}
