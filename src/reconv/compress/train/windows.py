"""Convolutions and pools in torch, with ONNX's paddings. https://onnx.ai/onnx/operators/onnx__Conv.html and its
neighbours."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch.nn import functional as F

from reconv.compress.train.call import Call

__all__ = ["average_pool", "conv", "conv_transpose", "global_pool", "max_pool"]

Tensor = torch.Tensor
_CONV: tuple[Callable[..., Tensor], ...] = (F.conv1d, F.conv2d, F.conv3d)
_TRANSPOSED: tuple[Callable[..., Tensor], ...] = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)
_MAX: tuple[Callable[..., Tensor], ...] = (F.max_pool1d, F.max_pool2d, F.max_pool3d)
_AVERAGE: tuple[Callable[..., Tensor], ...] = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)


def conv(call: Call) -> Tensor:
    x, weight = call.x, call.tensor(1)
    rank = weight.ndim - 2
    strides, dilations = _each(call, "strides", rank), _each(call, "dilations", rank)
    begin, end = _pads(call, x.shape[2:], weight.shape[2:], strides, dilations)
    if begin != end:
        x, begin = F.pad(x, _torch_pads(begin, end)), [0] * rank
    groups, bias = int(call.get("group", 1)), call.optional(2)
    if groups > 1 and max(strides) > 1 and torch.is_autocast_enabled("cpu"):
        # torch's bfloat16 gradient of a strided depthwise convolution takes six times as long as its float32 one
        with torch.autocast("cpu", enabled=False):
            return _CONV[rank - 1](x.float(), weight, bias, strides, begin, dilations, groups)
    return _CONV[rank - 1](x, weight, bias, strides, begin, dilations, groups)


def conv_transpose(call: Call) -> Tensor:
    x, weight = call.x, call.tensor(1)
    rank = weight.ndim - 2
    strides, dilations = _each(call, "strides", rank), _each(call, "dilations", rank)
    extra = call.ints("output_padding") or [0] * rank
    spans = [
        stride * (n - 1) + more + (k - 1) * d + 1
        for stride, n, more, k, d in zip(strides, x.shape[2:], extra, weight.shape[2:], dilations, strict=True)
    ]
    begin, end = [0] * rank, [0] * rank
    wanted, auto = call.ints("output_shape"), call.get("auto_pad", "NOTSET")
    if wanted is None and auto in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [n * stride for n, stride in zip(x.shape[2:], strides, strict=True)]
    if wanted is not None:
        for axis, (span, size) in enumerate(zip(spans, wanted[-rank:], strict=True)):
            total = span - size
            begin[axis] = total // 2 if auto == "SAME_UPPER" else total - total // 2
            end[axis] = total - begin[axis]
    elif auto != "VALID":
        pads = call.ints("pads") or [0] * 2 * rank
        begin, end = pads[:rank], pads[rank:]
    y = _TRANSPOSED[rank - 1](
        x, weight, call.optional(2), strides, [0] * rank, [0] * rank, int(call.get("group", 1)), dilations
    )
    lacking = [span - n for span, n in zip(spans, y.shape[2:], strict=True)]  # output_padding, holding the bias alone
    after = [less - more for less, more in zip(lacking, end, strict=True)]
    bias = call.optional(2)
    if bias is not None and any(lacking):
        shape = (1, -1, *(1,) * rank)
        return F.pad(y - bias.reshape(shape), _torch_pads([-p for p in begin], after)) + bias.reshape(shape)
    return F.pad(y, _torch_pads([-p for p in begin], after))


def max_pool(call: Call) -> Tensor:
    if len([name for name in call.node.outputs if name]) > 1:
        raise call.unknown("it also gives the places of the largest")
    x, kernel = call.x, call.ints("kernel_shape") or []
    rank = len(kernel)
    strides, dilations = _each(call, "strides", rank), _each(call, "dilations", rank)
    begin, end = _pads(call, x.shape[2:], kernel, strides, dilations)
    end = _up(call, x.shape[2:], kernel, strides, dilations, begin=begin, end=end)
    if any(begin) or any(end):
        x = F.pad(x, _torch_pads(begin, end), value=float("-inf"))
    return _MAX[rank - 1](x, kernel, strides, 0, dilations)


def average_pool(call: Call) -> Tensor:
    x, kernel = call.x, call.ints("kernel_shape") or []
    rank = len(kernel)
    strides, dilations = _each(call, "strides", rank), _each(call, "dilations", rank)
    if any(step != 1 for step in dilations):
        raise call.unknown("dilations")
    begin, end = _pads(call, x.shape[2:], kernel, strides, dilations)
    tail = _up(call, x.shape[2:], kernel, strides, dilations, begin=begin, end=end)
    total = _AVERAGE[rank - 1](F.pad(x, _torch_pads(begin, tail)), kernel, strides)
    if not any(begin) and not any(tail):
        return total
    # what is counted is one, what is not is zero; beyond the declared padding nothing counts
    ones = torch.ones((1, 1, *x.shape[2:]), dtype=x.dtype)
    if call.get("count_include_pad", 0):
        ones = F.pad(ones, _torch_pads(begin, end), value=1.0)
        begin, tail = [0] * rank, [t - e for t, e in zip(tail, end, strict=True)]
    return total / _AVERAGE[rank - 1](F.pad(ones, _torch_pads(begin, tail)), kernel, strides)


def global_pool(of: Callable[..., Tensor]) -> Callable[[Call], Tensor]:
    return lambda call: of(call.x, dim=tuple(range(2, call.x.ndim)), keepdim=True)


def _each(call: Call, name: str, rank: int) -> list[int]:
    return call.ints(name) or [1] * rank


def _pads(
    call: Call, sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Rows before and after each axis."""
    rank, auto = len(kernel), call.get("auto_pad", "NOTSET")
    if auto not in ("SAME_UPPER", "SAME_LOWER"):
        pads = (call.ints("pads") if auto == "NOTSET" else None) or [0] * 2 * rank
        return pads[:rank], pads[rank:]
    begin, end = [], []
    for n, k, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        total = max((-(-n // stride) - 1) * stride + (k - 1) * dilation + 1 - n, 0)
        small, large = total // 2, total - total // 2
        begin.append(small if auto == "SAME_UPPER" else large)
        end.append(large if auto == "SAME_UPPER" else small)
    return begin, end


def _up(
    call: Call, sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int],
    *, begin: Sequence[int], end: Sequence[int],
) -> list[int]:  # fmt: skip
    """`end`, with what ceil_mode adds; a window that would begin in the padding after the map is left out."""
    found = list(end)
    if not call.get("ceil_mode", 0):
        return found
    for axis, (n, k, stride, dilation) in enumerate(zip(sizes, kernel, strides, dilations, strict=True)):
        span = (k - 1) * dilation + 1
        over = n + begin[axis] + end[axis] - span
        count = -(-over // stride) + 1
        if (count - 1) * stride >= n + begin[axis]:
            count -= 1
        found[axis] = max((count - 1) * stride + span - n - begin[axis], 0)
    return found


def _torch_pads(begin: Sequence[int], end: Sequence[int]) -> list[int]:
    """torch lists the last axis first."""
    return [p for pair in zip(reversed(begin), reversed(end), strict=True) for p in pair]
