"""The torch function of every operator: those that the engine lowers, fake quantization, and a few neighbours.

Opsets differ in where an operator keeps its numbers (attributes or inputs); `Call.ints` looks at both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch.nn import functional as F

from reconv.compress.train import fake, maths, moves, windows
from reconv.compress.train.call import Call

__all__ = ["OPERATORS"]

Tensor = torch.Tensor

OPERATORS: Mapping[str, Callable[[Call], Tensor | tuple[Tensor, ...]]] = {
    # convolutions, products, normalisations
    "Conv": windows.conv,
    "ConvTranspose": windows.conv_transpose,
    "Gemm": maths.gemm,
    "MatMul": maths.matmul,
    "BatchNormalization": maths.batch_norm,
    "InstanceNormalization": maths.instance_norm,
    # pools and reductions
    "MaxPool": windows.max_pool,
    "AveragePool": windows.average_pool,
    "GlobalAveragePool": windows.global_pool(torch.mean),
    "GlobalMaxPool": windows.global_pool(torch.amax),
    "ReduceMean": maths.reducing(torch.mean),
    "ReduceSum": maths.reducing(torch.sum),
    "ReduceMax": maths.reducing(torch.amax),
    "ReduceMin": maths.reducing(torch.amin),
    # activations
    "Relu": maths.unary(torch.relu),
    "Sigmoid": maths.unary(torch.sigmoid),
    "Tanh": maths.unary(torch.tanh),
    "HardSwish": maths.hard_swish,
    "Softplus": maths.unary(F.softplus),
    "Mish": maths.unary(F.mish),
    "Erf": maths.unary(torch.erf),
    "Exp": maths.unary(torch.exp),
    "Log": maths.unary(torch.log),
    "Sqrt": maths.unary(torch.sqrt),
    "LeakyRelu": maths.with_alpha(F.leaky_relu, 0.01),
    "Elu": maths.with_alpha(F.elu, 1.0),
    "HardSigmoid": maths.hard_sigmoid,
    "Clip": maths.clip,
    "PRelu": maths.prelu,
    "Gelu": maths.gelu,
    "Selu": maths.selu,
    "Softmax": maths.softmax,
    # arithmetic
    "Add": maths.binary(torch.add),
    "Sub": maths.binary(torch.sub),
    "Mul": maths.binary(torch.mul),
    "Div": maths.dividing,
    "Min": maths.fold(torch.minimum),
    "Max": maths.fold(torch.maximum),
    "Pow": maths.binary(torch.pow),
    "Sum": maths.fold(torch.add),
    "Neg": maths.unary(torch.neg),
    "Abs": maths.unary(torch.abs),
    "Reciprocal": maths.unary(torch.reciprocal),
    "Equal": maths.binary(torch.eq),
    "Where": maths.where,
    # sizes and places
    "Resize": moves.resize,
    "Upsample": moves.resize,
    "Concat": moves.concat,
    "Split": moves.split,
    "Pad": moves.pad,
    "Slice": moves.slices,
    "Gather": moves.gather,
    "GatherElements": moves.gather_elements,
    "GatherND": moves.gather_nd,
    "Tile": moves.tile,
    "DepthToSpace": moves.depth_to_space,
    "SpaceToDepth": moves.space_to_depth,
    "Expand": moves.expand,
    "Reshape": moves.reshape,
    "Flatten": moves.flatten,
    "Transpose": moves.transpose,
    "Squeeze": moves.squeeze,
    "Unsqueeze": moves.unsqueeze,
    # nothing to do; what Dropout leaves out while learning is not in the file's graph
    "Identity": maths.unary(lambda x: x),
    "Dropout": maths.unary(lambda x: x),
    "Cast": moves.cast,
    # 8 bits, rounded on floats
    "QuantizeLinear": fake.quantize,
    "DequantizeLinear": fake.dequantize,
}
