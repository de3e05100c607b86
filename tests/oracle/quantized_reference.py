"""Quantized models in whole numbers, in numpy, plain and slow: the integer reference of the engine's 8-bit ops.

Two halves. The functions on maps (H, W, C) say what each 8-bit op of the core gives, bit for bit; `run` takes a QDQ
graph as ONNX has it, node by node, knows nothing of plans, and says what its quantized values are.

What is rounded, and where:

quantize     code = clamp(round half even(x * inverse) + zero, 0, 255), inverse = float32(1 / scale); NaN is zero
dequantize   x = float32(code - zero) * scale
convolution  real = float32(sum) * float32(x_scale * weight_scale) + shift, the sum exact in whole numbers; a bias in
             whole numbers is in the sum when its scale is x_scale * weight_scale, else it is the shift
mean         real = float32(sum of (code - zero)) * float32(x_scale / float32(count))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

Array = NDArray[Any]
Codes = tuple[Any, Any]  # scale and zero, of unsigned codes: numbers, or arrays that broadcast
F32 = np.float32

# how near to where rounding changes a real may be for two ways of computing it to disagree; of a step
TIE = 2e-3


def quantize(x: Array, codes: Codes) -> Array:
    """Unsigned codes (as int64) of float32 values."""
    scale, zero = codes
    with np.errstate(all="ignore"):
        steps = x.astype(F32) * (F32(1) / np.asarray(scale, F32))
        rounded = np.clip(np.rint(steps), -1e6, 1e6)
    return np.asarray(np.clip(np.where(np.isnan(steps), -1e6, rounded).astype(np.int64) + zero, 0, 255))


def dequantize(code: Array, codes: Codes) -> Array:
    scale, zero = codes
    return np.asarray((code.astype(np.int64) - zero).astype(F32) * np.asarray(scale, F32))


def sums(
    code: Array,
    zero: int,
    weight: Array,
    size: tuple[int, int],
    *,
    strides: tuple[int, int],
    pads: tuple[int, int],
    dilations: tuple[int, int],
    groups: int,
) -> Array:
    """Exact sums (H, W, Cout) of (code - zero) * weight; code (H, W, Cin), weight (Cout, Cin / groups, kh, kw)."""
    outputs, each, height, width = weight.shape
    inputs = (code - zero).astype(np.float64)  # which holds these whole numbers exactly, and has the quicker products
    parts = weight.reshape(groups, outputs // groups, each, height, width).astype(np.float64)
    total = np.zeros((*size, groups, outputs // groups))
    for y in range(height):
        for x in range(width):
            rows = np.arange(size[0]) * strides[0] - pads[0] + y * dilations[0]
            columns = np.arange(size[1]) * strides[1] - pads[1] + x * dilations[1]
            inside = ((rows >= 0) & (rows < code.shape[0]))[:, None] & (columns >= 0) & (columns < code.shape[1])
            read = inputs[np.clip(rows, 0, code.shape[0] - 1)[:, None], np.clip(columns, 0, code.shape[1] - 1)]
            read = np.where(inside[:, :, None], read, 0).reshape(*size, groups, each)
            if groups == 1:
                total[:, :, 0] += read[:, :, 0] @ parts[0, :, :, y, x].T
            else:
                total += np.einsum("hwgc,gnc->hwgn", read, parts[..., y, x])
    return total.reshape(*size, outputs).astype(np.int64)


def reals(total: Array, scales: Array, shift: Array | None) -> Array:
    """float32(sum) * scale + shift, channels last, two roundings."""
    real = total.astype(F32) * scales.astype(F32)
    return real if shift is None else real + shift.astype(F32)


def mean_real(total: Array, count: Array | int, scale: float) -> Array:
    return total.astype(F32) * (F32(scale) / np.asarray(count, F32))


# --- a graph ---


@dataclass(frozen=True)
class Quantized:
    """A float tensor that was dequantized, as the codes it came from; NCHW like all tensors here."""

    code: Array
    codes: Codes


@dataclass(frozen=True)
class Steps:
    """Constants that were dequantized: whole numbers, and their scale along an axis (one: everywhere)."""

    numbers: Array
    scale: Array
    axis: int


Check = Callable[[str, Array, Array, Codes], Array]
# Where the same codes come out whatever way they went; a mean or a product of two values is another thing.
MOVING = frozenset(
    (
        *("Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Split", "Gather", "Tile", "Expand"),
        *("DepthToSpace", "SpaceToDepth", "Identity", "MaxPool"),
    )
)


class Reference:
    """One run of a QDQ model; ``check`` sees every quantized value (name, reals, codes, scale and zero) and says with
    which codes to go on."""

    def __init__(self, model: onnx.ModelProto, check: Check | None = None) -> None:
        self.graph = model.graph
        self.opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
        self.check: Check = check or (lambda name, real, code, codes: code)
        self.floats: dict[str, Array] = {i.name: numpy_helper.to_array(i) for i in self.graph.initializer}
        self.code: dict[str, Quantized] = {}  # of QuantizeLinear outputs, unsigned
        self.from_codes: dict[str, Quantized] = {}  # of float values that are exactly these codes
        self.steps: dict[str, Steps] = {}
        self.frozen = set(self.floats)

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """All values by name; of quantized ones their unsigned codes."""
        self.floats.update(feeds)
        for node in self.graph.node:
            self._node(node)
        return {**self.floats, **{name: made.code for name, made in self.code.items()}}

    def _node(self, node: onnx.NodeProto) -> None:
        if node.op_type == "QuantizeLinear" and node.input[0] not in self.frozen:
            return self._quantize(node)
        if node.op_type == "DequantizeLinear":
            return self._dequantize(node)
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type in ("Conv", "Gemm", "MatMul") and self._product(node, attributes):
            return None
        if node.op_type == "ConvTranspose" and self._transposed(node, attributes):
            return None
        if node.op_type in ("AveragePool", "GlobalAveragePool") and self._mean(node, attributes):
            return None
        results = self._float(node, [self.floats[name] if name else None for name in node.input])
        for name, result in zip(node.output, results, strict=True):
            self.floats[name] = result
        if all(not name or name in self.frozen for name in node.input):
            self.frozen.update(node.output)
        source = self.from_codes.get(node.input[0]) if node.input else None
        if source is not None and node.op_type in MOVING and np.ndim(source.codes[0]) == 0:
            moved = self._float(node, [source.code.astype(F32), *(self.floats.get(n) for n in node.input[1:])])
            for name, result in zip(node.output, moved, strict=True):
                self.from_codes[name] = Quantized(result.astype(np.int64), source.codes)
        return None

    def _float(self, node: onnx.NodeProto, inputs: list[Array | None]) -> list[Array]:
        """Any node as ONNX's reference computes it, in float32."""
        if node.op_type == "BatchNormalization":  # before opset 14 the reference trains where a momentum is given
            x, scale, bias, mean, variance = (np.asarray(value, np.float64) for value in inputs)
            epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
            along = (-1, *(1,) * (x.ndim - 2))
            factor = scale / np.sqrt(variance + epsilon)
            return [(x * factor.reshape(along) + (bias - mean * factor).reshape(along)).astype(F32)]
        typed = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for name, value in zip(node.input, inputs, strict=True)
            if value is not None and name
        ]
        graph = helper.make_graph([node], "node", typed, [onnx.ValueInfoProto(name=n) for n in node.output])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)])
        feeds = {name: value for name, value in zip(node.input, inputs, strict=True) if value is not None and name}
        with np.errstate(all="ignore"):
            return [np.asarray(result) for result in ReferenceEvaluator(model).run(None, feeds)]

    # --- quantization ---

    def _codes(self, node: onnx.NodeProto, dtype: Any = np.uint8) -> tuple[Codes, int]:
        """Scale and unsigned zero, and what has to be added to a code of the file to make it unsigned."""
        zero = self.floats[node.input[2]] if len(node.input) > 2 and node.input[2] else np.zeros((), dtype)
        up = 128 if zero.dtype == np.int8 else 0
        scale = self.floats[node.input[1]]
        if scale.size == 1:
            return (float(scale.reshape(())), int(zero.reshape(-1)[0]) + up), up
        rank = self.floats[node.input[0]].ndim
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1) % rank
        along = [-1 if i == axis else 1 for i in range(rank)]
        zeros = np.broadcast_to(zero.reshape(-1), scale.shape).astype(np.int64)
        return (scale.reshape(along), zeros.reshape(along) + up), up

    def _quantize(self, node: onnx.NodeProto) -> None:
        codes, up = self._codes(node)
        real = self.floats[node.input[0]]
        code = self.check(node.output[0], real, quantize(real, codes), codes)
        self.code[node.output[0]] = Quantized(code, codes)
        self.floats[node.output[0]] = (code - up).astype(np.int8 if up else np.uint8)

    def _dequantize(self, node: onnx.NodeProto) -> None:
        name = node.output[0]
        if node.input[0] in self.code:
            codes, _ = self._codes(node)
            source = Quantized(self.code[node.input[0]].code, codes)
            self.floats[name] = dequantize(source.code, codes)
            self.from_codes[name] = source
            return
        stored, scale = self.floats[node.input[0]], self.floats[node.input[1]]
        zero = self.floats[node.input[2]] if len(node.input) > 2 and node.input[2] else np.zeros((), stored.dtype)
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1) % max(stored.ndim, 1)
        along = [-1 if i == axis else 1 for i in range(stored.ndim)] if scale.size > 1 else [1] * stored.ndim
        numbers = stored.astype(np.int64) - zero.astype(np.int64).reshape(along if zero.size > 1 else [1] * stored.ndim)
        self.floats[name] = numbers.astype(F32) * scale.reshape(along)
        self.steps[name] = Steps(numbers, scale.reshape(-1), axis)
        self.frozen.add(name)

    # --- whole numbers ---

    def _product(self, node: onnx.NodeProto, attributes: Mapping[str, Any]) -> bool:
        """A convolution or a product in whole numbers, where its operands are quantized so that it can be."""
        x, weight = self.from_codes.get(node.input[0]), self.steps.get(node.input[1])
        if x is None or weight is None or weight.numbers.min() < -128 or weight.numbers.max() > 127:
            return False
        numbers, flipped = weight.numbers, False
        if node.op_type != "Conv":
            flipped = bool(attributes.get("transB", 0))
            numbers = (numbers if flipped else numbers.T)[:, :, None, None]
        axis = 0 if node.op_type == "Conv" or flipped else weight.numbers.ndim - 1
        if weight.scale.size > 1 and weight.axis != axis:
            return False
        outputs, x_scale, zero = len(numbers), np.asarray(x.codes[0], F32), x.codes[1]
        if x_scale.ndim:  # a scale per channel: each output may read only one
            if node.op_type != "Conv" or attributes.get("group", 1) != x.code.shape[1] or np.ptp(zero):
                return False
            x_scale, zero = np.repeat(x_scale.reshape(-1), outputs // x.code.shape[1]), int(zero.flat[0])
        scale = np.broadcast_to(weight.scale, (outputs,)).astype(F32) * F32(attributes.get("alpha", 1.0))
        scales = x_scale * scale
        bias, shift = self._bias(node, attributes, scales)
        code = x.code
        if node.op_type == "Conv":
            if code.ndim == 3:
                code, numbers = code[:, :, None], numbers[:, :, None]
            window = self._window(attributes, code.shape[2:], numbers.shape[2:], self.floats[node.input[0]].ndim)
            total = sums(code[0].transpose(1, 2, 0), zero, numbers, **window)
        else:
            flat = code.reshape(1, -1, code.shape[-1])
            ones: dict[str, Any] = {"strides": (1, 1), "pads": (0, 0), "dilations": (1, 1), "groups": 1}
            total = sums(flat, zero, numbers, flat.shape[:2], **ones)
        flat_weights = np.abs(numbers.reshape(outputs, -1))
        start = -zero * numbers.reshape(outputs, -1).sum(1)
        if (np.abs(start) + 255 * flat_weights.sum(1)).max() >= 2**31:
            return False
        if bias is not None and (np.abs(start + bias) + 255 * flat_weights.sum(1)).max() >= 2**31:
            bias, shift = None, self.floats[node.input[2]]
        real = reals(total if bias is None else total + bias, scales, shift)
        if node.op_type == "Conv":
            real = real.transpose(2, 0, 1)[None]
            self.floats[node.output[0]] = real if x.code.ndim == 4 else real[:, :, 0]
        else:
            self.floats[node.output[0]] = real.reshape(*x.code.shape[:-1], outputs)
        return True

    def _transposed(self, node: onnx.NodeProto, attributes: Mapping[str, Any]) -> bool:
        """A transposed convolution in whole numbers: every input pixel is spread over its window."""
        x, weight = self.from_codes.get(node.input[0]), self.steps.get(node.input[1])
        if x is None or weight is None or np.ndim(x.codes[0]) or x.code.ndim != 4:
            return False
        groups, numbers = int(attributes.get("group", 1)), weight.numbers  # (Cin, Cout / groups, kh, kw)
        strides, dilations = attributes.get("strides", [1, 1]), attributes.get("dilations", [1, 1])
        begin, end = attributes.get("pads", [0] * 4)[:2], attributes.get("pads", [0] * 4)[2:]
        extra = attributes.get("output_padding", [0, 0])
        (_, inputs, *size), (_, each, *kernel) = x.code.shape, numbers.shape
        reach = [dilation * (k - 1) + 1 for k, dilation in zip(kernel, dilations, strict=True)]
        full = [(n - 1) * s + r + e for n, s, r, e in zip(size, strides, reach, extra, strict=True)]
        total = np.zeros((each * groups, *full), np.int64)
        whole = (x.code - x.codes[1])[0]
        for channel in range(inputs):
            first = channel // (inputs // groups) * each
            for i in range(kernel[0]):
                for j in range(kernel[1]):
                    rows = slice(i * dilations[0], i * dilations[0] + (size[0] - 1) * strides[0] + 1, strides[0])
                    columns = slice(j * dilations[1], j * dilations[1] + (size[1] - 1) * strides[1] + 1, strides[1])
                    product = numbers[channel, :, i, j, None, None] * whole[channel]
                    total[first : first + each, rows, columns] += product
        total = total[:, begin[0] : full[0] - end[0], begin[1] : full[1] - end[1]]
        scales = F32(x.codes[0]) * np.tile(np.broadcast_to(weight.scale, (each,)), groups).astype(F32)
        bias, shift = self._bias(node, attributes, scales)
        total = total.transpose(1, 2, 0)
        real = reals(total if bias is None else total + bias, scales, shift)
        self.floats[node.output[0]] = real.transpose(2, 0, 1)[None]
        return True

    def _bias(
        self, node: onnx.NodeProto, attributes: Mapping[str, Any], scales: Array
    ) -> tuple[Array | None, Array | None]:
        """The bias in whole numbers, or as floats."""
        if len(node.input) < 3 or not node.input[2]:
            return None, None
        steps, beta = self.steps.get(node.input[2]), attributes.get("beta", 1.0)
        if steps is not None and beta == 1 and steps.numbers.shape == scales.shape:
            own = np.broadcast_to(steps.scale, scales.shape)
            if np.allclose(own, scales, rtol=2.0**-20, atol=0):
                return steps.numbers, None
        return None, np.broadcast_to(self.floats[node.input[2]] * F32(beta), scales.shape)

    def _window(
        self, attributes: Mapping[str, Any], size: tuple[int, ...], kernel: tuple[int, ...], rank: int
    ) -> dict[str, Any]:
        """Strides, pads, dilations and the result's size of a window of one or two dimensions."""
        flat = rank == 3

        def two(key: str, default: int) -> tuple[int, int]:
            found = [int(v) for v in attributes.get(key, [default] * (rank - 2))]
            return (default, found[0]) if flat else (found[0], found[1])

        strides, dilations = two("strides", 1), two("dilations", 1)
        reach = [dilation * (k - 1) + 1 for k, dilation in zip(kernel, dilations, strict=True)]
        auto = attributes.get("auto_pad", b"NOTSET").decode()
        if auto.startswith("SAME"):
            out = [-(-n // s) for n, s in zip(size, strides, strict=True)]
            total = [max((o - 1) * s + r - n, 0) for o, s, r, n in zip(out, strides, reach, size, strict=True)]
            begin = [t // 2 if auto == "SAME_UPPER" else t - t // 2 for t in total]
        else:
            pads = [int(v) for v in attributes.get("pads", [0] * 2 * (rank - 2))]
            begin, end = ([0, pads[0]], [0, pads[1]]) if flat else (pads[:2], pads[2:])
            out = [(n + p + q - r) // s + 1 for n, p, q, r, s in zip(size, begin, end, reach, strides, strict=True)]
        return {
            "size": (out[0], out[1]),
            "strides": strides,
            "pads": (begin[0], begin[1]),
            "dilations": dilations,
            "groups": int(attributes.get("group", 1)),
        }

    def _mean(self, node: onnx.NodeProto, attributes: Mapping[str, Any]) -> bool:
        """A mean of codes that is quantized again, in whole numbers."""
        x = self.from_codes.get(node.input[0])
        readers = [n for n in self.graph.node if node.output[0] in n.input]
        if x is None or np.ndim(x.codes[0]) or x.code.ndim != 4 or [n.op_type for n in readers] != ["QuantizeLinear"]:
            return False
        whole = x.code - x.codes[1]
        if node.op_type == "GlobalAveragePool":
            total, count = whole.sum((2, 3), keepdims=True), np.asarray(whole.shape[2] * whole.shape[3])
        else:
            kernel = tuple(attributes["kernel_shape"])
            if attributes.get("ceil_mode", 0):
                return False
            window = self._window(attributes, whole.shape[2:], kernel, 4)
            del window["groups"]
            each = np.ones((1, 1, *kernel))
            channels = [sums(channel[:, :, None], 0, each, groups=1, **window) for channel in whole[0]]
            total = np.concatenate(channels, 2).transpose(2, 0, 1)[None]
            count = np.asarray(kernel[0] * kernel[1])
            if not attributes.get("count_include_pad", 0):
                inside = np.ones((*whole.shape[2:], 1), np.int64)
                count = sums(inside, 0, each, groups=1, **window).transpose(2, 0, 1)[None]
        self.floats[node.output[0]] = mean_real(total, count, x.codes[0])
        return True


def near_tie(real: Array, codes: Codes) -> Array:
    """Where a real is so near to a change of code that two ways of computing a function may round it apart."""
    steps = real.astype(np.float64) / codes[0]
    return np.asarray(np.abs(steps - np.floor(steps) - 0.5) < TIE)
