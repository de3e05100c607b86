"""QuantizeLinear and DequantizeLinear on floats, as training wants them: rounded forwards, straight through backwards.

Bengio et al., Estimating or Propagating Gradients Through Stochastic Neurons (2013). Rounding passes gradients on as
they come; the clamp stops those of values outside. With scales that are learnt, the same two functions give the
gradients of Esser et al., Learned Step Size Quantization (2020), for they fall out of the formula:
``s * clamp(round(x / s))`` has the derivative ``round(x / s) - x / s`` inside and the bound outside.
https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from reconv.compress.train.call import Call

__all__ = ["along", "code_range", "dequantize", "quantize", "rounded"]

Tensor = torch.Tensor
_RANGES: Mapping[str, tuple[int, int]] = {
    "uint8": (0, 255), "int8": (-128, 127), "uint16": (0, 65535), "int16": (-32768, 32767),
    "uint4": (0, 15), "int4": (-8, 7), "int32": (-(2**31), 2**31 - 1),
}  # fmt: skip
_BY_NUMBER = {2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 21: "uint4", 22: "int4"}  # onnx.TensorProto.DataType


def quantize(call: Call) -> Tensor:
    """Codes, as floats."""
    x, scale = call.x.float(), along(call.tensor(1), call.x.ndim, _axis(call))
    zero = call.array(2)
    kind = _BY_NUMBER.get(int(call.get("output_dtype", 2)), "") if zero is None else zero.dtype.name
    if kind not in _RANGES:
        raise call.unknown(f"codes of type {kind or call.get('output_dtype', 2)}")
    codes = rounded(x / scale)
    if zero is not None and np.any(zero):
        codes = codes + along(torch.tensor(zero.astype(np.float32)), x.ndim, _axis(call))
    return codes.clamp(*_RANGES[kind])


def dequantize(call: Call) -> Tensor:
    codes, scale = call.x.float(), along(call.tensor(1), call.x.ndim, _axis(call))
    zero = call.array(2)
    if zero is not None and np.any(zero):
        codes = codes - along(torch.tensor(zero.astype(np.float32)), codes.ndim, _axis(call))
    return codes * scale


def rounded(x: Tensor) -> Tensor:
    """To the nearest whole number, ties to even; the gradient is 1."""
    return x + (x.round() - x).detach() if x.requires_grad else x.round()


def code_range(dtype: np.dtype[np.generic] | str) -> tuple[int, int] | None:
    """The least and the largest code of a type, None for types that are no codes."""
    return _RANGES.get(np.dtype(dtype).name)


def along(scale: Tensor, rank: int, axis: int) -> Tensor:
    """A scale for each channel so that it broadcasts over a value of this rank; one for the whole as it is."""
    if scale.numel() == 1:
        return scale.reshape(())
    return scale.reshape([-1 if i == axis % rank else 1 for i in range(rank)])


def _axis(call: Call) -> int:
    if call.get("block_size", 0):
        raise call.unknown("scales for blocks")
    return int(call.get("axis", 1))
