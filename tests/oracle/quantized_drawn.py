"""Random QDQ graphs, as quantizers write them; scales are chosen from what a run on random frames gives.

`draw_model` takes a way of choosing (of hypothesis, or of a seed) and gives the model. Three styles: "every" quantizes
what each operator reads and writes, as ONNX Runtime's quantizer does; "inputs" only what convolutions read, with
activations and sums in float between, as NNCF does; "mixed" chooses anew for each operator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tests.oracle.quantized_reference import Reference

Array = NDArray[Any]
Pick = Callable[..., Any]
Shape = tuple[int, ...]

EXACT = ("", "", "Relu", "Clip", "LeakyRelu")  # their float values are the same bits however they are computed
CURVED = ("Silu", "HardSwish", "Sigmoid", "Tanh")


@dataclass
class Drawn:
    pick: Pick
    random: np.random.Generator
    style: str
    curved: bool
    opset: int = 13
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, Array] = field(default_factory=dict)
    values: list[tuple[str, Shape]] = field(default_factory=list)
    live: Reference = field(init=False)

    def __post_init__(self) -> None:
        self.shape: Shape = (1, self.pick(1, 3, 4, 6), self.pick(5, 8), self.pick(4, 7))
        self.signed = self.pick(False, True)
        self.symmetric = self.pick(False, True)
        empty = helper.make_model(
            helper.make_graph([], "g", [], []), opset_imports=[helper.make_opsetid("", self.opset)]
        )
        self.live = Reference(empty)
        self.live.floats["x"] = self.random.normal(0, 1, self.shape).astype(np.float32)
        self.values.append(self.dequantized("x", self.shape) if self.pick(True, True, False) else ("x", self.shape))

    # --- parts ---

    def constant(self, array: Array) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = array
        self.live.floats[name] = array
        self.live.frozen.add(name)
        return name

    def node(self, kind: str, inputs: list[str], outputs: int = 1, **attributes: Any) -> str:
        names = [f"v{len(self.nodes)}_{i}" if outputs > 1 else f"v{len(self.nodes)}" for i in range(outputs)]
        node = helper.make_node(kind, inputs, names, f"n{len(self.nodes)}", **attributes)
        self.nodes.append(node)
        self.live._node(node)
        return names[0]

    def dequantized(self, name: str, shape: Shape, scale: float = 0.0, zero: int = -1) -> tuple[str, Shape]:
        """Q and DQ behind a float value."""
        signed = self.signed if zero < 0 else False
        if zero < 0:
            real = self.live.floats[name]
            finite = real[np.isfinite(real)]
            low, high = min(0.0, float(finite.min(initial=0))), max(0.0, float(finite.max(initial=0)))
            wide = self.pick(1.0, 1.0, 0.6, 1.7)
            if self.symmetric:
                scale, zero = wide * max(-low, high) / 127.5, 128
            else:
                scale = wide * (high - low) / 255
                zero = round(-low / (high - low) * 255) if high > low else 0
            scale = scale or 0.1
        kind = np.int8 if signed else np.uint8
        names = [
            self.constant(np.asarray(scale, np.float32)),
            self.constant(np.asarray(zero - (128 if signed else 0), kind)),
        ]
        return self.node("DequantizeLinear", [self.node("QuantizeLinear", [name, *names]), *names]), shape

    def after(self, name: str, shape: Shape, always: bool = False) -> None:
        """Keep a result, quantized as the style says."""
        often = {"every": True, "inputs": False, "mixed": self.pick(True, True, False)}[self.style]
        self.values.append(self.dequantized(name, shape) if often or always else (name, shape))

    def codes(self, value: tuple[str, Shape]) -> tuple[str, Shape]:
        """The value, quantized if it is not."""
        return value if value[0] in self.live.from_codes else self.dequantized(*value)

    def activation(self, name: str) -> str:
        kind = self.pick(*EXACT, *(CURVED if self.curved else ()))
        if kind == "":
            return name
        if kind == "Clip":
            limits = [self.constant(np.asarray(v, np.float32)) for v in (self.pick(0.0, -0.5), self.pick(0.7, 6.0))]
            return self.node("Clip", [name, *limits])
        if kind == "LeakyRelu":
            return self.node("LeakyRelu", [name], alpha=0.1)
        if kind == "Silu":
            return self.node("Mul", [name, self.node("Sigmoid", [name])])
        if kind == "HardSwish":  # of opset 14
            gate = self.node("HardSigmoid", [name], alpha=1 / 6, beta=0.5)
            return self.node("Mul", [name, gate])
        return self.node(kind, [name])

    def weight(self, shape: Shape, axis: int) -> tuple[str, Array]:
        """Dequantized weights and their scale along the axis of the outputs."""
        count = shape[axis] if self.pick(True, True, False) else 1
        scale = self.random.uniform(0.002, 0.02, count).astype(np.float32)
        numbers = self.random.integers(-127, 128, shape)
        if self.pick(False, False, True):
            numbers = np.clip(numbers * 4, -128, 127)  # many extremes
        kind = self.pick(np.int8, np.int8, np.uint8)
        zero = np.full(count, 128 if kind == np.uint8 else 0, kind)
        stored = (numbers + (128 if kind == np.uint8 else 0)).astype(kind)
        flat = count == 1
        names = [self.constant(stored)] + [self.constant(a.reshape(()) if flat else a) for a in (scale, zero)]
        return self.node("DequantizeLinear", names, **({} if flat else {"axis": axis})), np.broadcast_to(
            scale, (shape[axis],)
        )

    def bias(self, x: str, scale: Array) -> list[str]:
        kind = self.pick("whole", "whole", "float", "none", "other")
        count = len(scale)
        if kind == "none":
            return []
        if kind == "float":
            return [self.constant(self.random.normal(0, 0.3, count).astype(np.float32))]
        step = np.broadcast_to(np.float32(self.live.from_codes[x].codes[0]) * scale, (count,)).astype(np.float32)
        if kind == "other":
            step = step * np.float32(1.5)
        numbers = self.random.integers(-3000, 3000, count).astype(np.int32)
        names = [self.constant(numbers), self.constant(step), self.constant(np.zeros(count, np.int32))]
        return [self.node("DequantizeLinear", names, axis=0)]

    # --- steps ---

    def maps(self) -> list[tuple[str, Shape]]:
        return [value for value in self.values if len(value[1]) == 4][-4:]

    def conv(self) -> None:
        name, (_, channels, height, width) = self.codes(self.pick(*self.maps()))
        kernel = (self.pick(1, 3), self.pick(1, 3, 2))
        strides, dilations = self.pick([1, 1], [1, 1], [2, 2], [1, 2]), self.pick([1, 1], [1, 1], [2, 1])
        groups = self.pick(1, 1, channels, 2 if channels % 2 == 0 else 1)
        outputs = groups * self.pick(1, 2) if groups > 1 else self.pick(1, 4, 6, 17)
        pads = [k // 2 for k in kernel] * 2 if self.pick(True, False) else [self.pick(0, 1, 2) for _ in range(4)]
        size = tuple(
            (n + pads[i] + pads[i + 2] - dilations[i] * (k - 1) - 1) // strides[i] + 1
            for i, (n, k) in enumerate(zip((height, width), kernel, strict=True))
        )
        if min(size) < 1:
            return
        weight, scale = self.weight((outputs, channels // groups, *kernel), 0)
        made = self.node(
            "Conv",
            [name, weight, *self.bias(name, scale)],
            pads=pads,
            strides=strides,
            dilations=dilations,
            group=groups,
            kernel_shape=kernel,
        )
        self.after(self.activation(made), (1, outputs, *size))

    def transposed(self) -> None:
        name, (_, channels, height, width) = self.codes(self.pick(*self.maps()))
        if height * width > 80:
            return
        groups, outputs = self.pick((1, 1), (1, 4), (1, 5), (channels, channels))
        kernel, stride, pad = self.pick((2, 2, 0), (4, 2, 1), (3, 2, 1), (3, 1, 0))
        weight, scale = self.weight((channels, outputs // groups, kernel, kernel), 1)
        made = self.node(
            "ConvTranspose",
            [name, weight, *self.bias(name, np.tile(scale, groups))],
            strides=[stride] * 2,
            pads=[pad] * 4,
            group=groups,
        )
        size = tuple((n - 1) * stride + kernel - 2 * pad for n in (height, width))
        self.after(self.activation(made), (1, outputs, *size))

    def per_channel(self) -> None:
        """A depthwise convolution whose input has a scale per channel, as NNCF does."""
        name, shape = self.pick(*self.maps())
        real = np.abs(self.live.floats[name]).max(axis=(0, 2, 3))
        scale = (np.maximum(real, 0.1) / 127.5 * self.random.uniform(0.8, 1.2, shape[1])).astype(np.float32)
        names = [self.constant(scale), self.constant(np.full(shape[1], 128, np.uint8))]
        codes = self.node("QuantizeLinear", [name, *names], axis=1)
        name = self.node("DequantizeLinear", [codes, *names], axis=1)
        weight, _ = self.weight((shape[1], 1, 3, 3), 0)
        bias = self.constant(self.random.normal(0, 0.3, shape[1]).astype(np.float32))
        made = self.node("Conv", [name, weight, bias], pads=[1] * 4, group=shape[1])
        self.after(self.activation(made), shape)

    def add(self) -> None:
        name, shape = self.pick(*self.maps())
        others = [value for value in self.values if value[1] == shape]
        other, _ = self.pick(*others)
        if self.style == "every":
            (name, _), (other, _) = self.codes((name, shape)), self.codes((other, shape))
        self.after(self.activation(self.node("Add", [name, other])), shape)

    def block(self) -> None:
        """A residual: a convolution and what it began with."""
        name, shape = self.codes(self.pick(*self.maps()))
        weight, scale = self.weight((shape[1], shape[1], 3, 3), 0)
        made = self.activation(self.node("Conv", [name, weight, *self.bias(name, scale)], pads=[1] * 4))
        if self.style == "every" or self.pick(True, False):
            made, _ = self.dequantized(made, shape)
        self.after(self.activation(self.node("Add", [made, name])), shape)

    def concat(self) -> None:
        name, shape = self.pick(*self.maps())
        others = [value for value in self.maps() if value[1][2:] == shape[2:]]
        parts = [(name, shape), *(self.pick(*others) for _ in range(self.pick(1, 2)))]
        if self.pick(True, False):  # as quantizers that give all of a concat one scale
            parts = [self.dequantized(part, size, 0.03, 120) for part, size in parts]
        elif self.style == "every":
            parts = [self.codes(part) for part in parts]
        made = self.node("Concat", [part for part, _ in parts], axis=1)
        whole = (1, sum(s[1] for _, s in parts), *shape[2:])
        if whole[1] <= 40:
            self.after(made, whole)

    def pool(self) -> None:
        name, (_, channels, height, width) = self.pick(*self.maps())
        kind = self.pick("MaxPool", "AveragePool", "GlobalAveragePool")
        whole = kind != "MaxPool" and not self.curved  # sums of floats depend on their order
        if whole:
            name, _ = self.codes((name, (1, channels, height, width)))
        if kind == "GlobalAveragePool":
            self.after(self.node(kind, [name]), (1, channels, 1, 1), always=whole)
            return
        stride, pad = self.pick(1, 2), self.pick(0, 1)
        size = tuple((n + 2 * pad - 2) // stride + 1 for n in (height, width))
        if min(size) < 1 or min(height, width) < 2:
            return
        more = {"count_include_pad": self.pick(0, 1)} if kind == "AveragePool" else {}
        made = self.node(kind, [name], kernel_shape=[2, 2], strides=[stride] * 2, pads=[pad] * 4, **more)
        self.after(made, (1, channels, *size), always=whole)

    def resize(self) -> None:
        name, (_, channels, height, width) = self.pick(*self.maps())
        if height * width > 80:
            return
        scales = self.constant(np.asarray([1, 1, 2, 2], np.float32))
        made = self.node(
            "Resize",
            [name, "", scales],
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
        self.after(made, (1, channels, 2 * height, 2 * width))

    def slices(self) -> None:
        name, shape = self.pick(*self.maps())
        if shape[1] < 2:
            return
        first = self.pick(1, shape[1] // 2)
        ends = [self.constant(np.asarray([v], np.int64)) for v in (first, shape[1], 1)]
        self.after(self.node("Slice", [name, *ends]), (1, shape[1] - first, *shape[2:]))

    def framed(self) -> None:
        name, (_, channels, height, width) = self.pick(*self.maps())
        if height * width > 120:
            return
        pads = self.constant(np.asarray([0, 0, 1, 1, 0, 0, 1, 0], np.int64))
        self.after(self.node("Pad", [name, pads]), (1, channels, height + 2, width + 1))

    def gate(self) -> None:
        """x * f(x), each part quantized on its own."""
        name, shape = self.codes(self.pick(*self.maps()))
        kind = self.pick(*(CURVED[2:] if self.curved else ("Relu",)))
        gate, _ = self.dequantized(self.node(kind, [name]), shape)
        self.after(self.node("Mul", [name, gate]), shape, always=True)

    def squeeze(self) -> None:
        """A map times one number per channel."""
        name, shape = self.codes(self.pick(*self.maps()))
        factor, _ = self.dequantized(self.node("GlobalAveragePool", [name]), (1, shape[1], 1, 1))
        self.after(self.node("Mul", [name, factor]), shape, always=True)

    def dense(self) -> None:
        name, shape = self.codes(self.pick(*self.maps()))
        size = int(np.prod(shape))
        flat = self.node("Flatten", [name])
        if self.style == "every":
            flat, _ = self.dequantized(flat, (1, size))
        columns = self.pick(1, 5, 10)
        if flat not in self.live.from_codes:
            return
        if self.pick(True, False):
            weight, scale = self.weight((columns, size), 0)
            made = self.node("Gemm", [flat, weight, *self.bias(flat, scale)], transB=1)
        else:
            weight, _ = self.weight((size, columns), 1)
            made = self.node("MatMul", [flat, weight])
        self.after(self.activation(made), (1, columns))

    def island(self) -> None:
        """A layer that stays float."""
        name, shape = self.pick(*self.maps())
        weight = self.constant(self.random.normal(0, 0.3, (4, shape[1], 1, 1)).astype(np.float32))
        self.after(self.node("Conv", [name, weight]), (1, 4, *shape[2:]))


def draw_model(pick: Pick, seed: int, curved: bool, steps: int = 6) -> onnx.ModelProto:
    """A QDQ model of an input x and some outputs.

    Args:
        pick: chooses one of its arguments.
        seed: of the values of weights and frames.
        curved: with what has last bits that depend on who computes it: activations such as SiLU, layers that stay float
            and scales per channel.
    """
    drawn = Drawn(pick, np.random.default_rng(seed), pick("every", "inputs", "mixed"), curved)
    kinds = [drawn.conv, drawn.conv, drawn.conv, drawn.add, drawn.block, drawn.concat, drawn.pool, drawn.resize]
    kinds += [drawn.slices, drawn.framed, drawn.gate, drawn.squeeze, drawn.dense, drawn.transposed]
    kinds += [drawn.island, drawn.per_channel] if curved else []
    for _ in range(steps):
        pick(*kinds)()
    read = {name for node in drawn.nodes for name in node.input}
    ends = [value for value in drawn.values if value[0] not in read] or [drawn.values[-1]]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in ends if name != "x"]
    if not outputs:
        drawn.conv()
        name, shape = drawn.values[-1]
        outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)]
    graph = helper.make_graph(
        drawn.nodes,
        "drawn",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, drawn.shape)],
        outputs,
        [numpy_helper.from_array(array, name) for name, array in drawn.weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", drawn.opset)], ir_version=8)
