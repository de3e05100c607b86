"""Layers for models around the patterns of the batch norm and pooling rules, with what rules may trip over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from reconv.exchange.view import Sizes, look
from reconv.graph import Graph
from tests.property.exchange_sketch import Case, Sketch

Draw = st.DrawFn

NORMS = ("norm", "norm", "scale", "scale", "shift", "arithmetic")
RECTIFIERS = ("Relu", "Relu", "LeakyRelu", "PRelu")
MONOTONE = ("Relu", "LeakyRelu", "PRelu", "Sigmoid", "Tanh", "Clip", "HardSigmoid", "Softplus", "Softsign", "Elu")
ACTIVATIONS = (*MONOTONE, "Selu", "Celu", "SiLU", "HardSwish")
MEANS = ("AveragePool", "AveragePool", "GlobalAveragePool", "ReduceMean")
PADDINGS = ("none", "none", "even", "odd", "auto")
POOLS = (*MEANS, "MaxPool", "MaxPool", "MaxPool", "GlobalMaxPool")


@dataclass
class Map:
    """A value of the sketch, (batch, channels, space...), with so many axes of space."""

    name: str
    channels: int
    space: int


class Layers:
    """Draws layers onto a sketch."""

    def __init__(self, draw: Draw, opset: int) -> None:
        self.draw = draw
        self.sketch = Sketch(opset, draw(st.integers(0, 2**16)))

    def pick(self, options: Sequence[Any]) -> Any:
        return self.draw(st.sampled_from(options))

    def one_in(self, count: int) -> bool:
        return bool(self.draw(st.sampled_from(range(count))) == count - 1)

    # --- affine maps

    def affine(self, x: Map, kinds: Sequence[str] = NORMS) -> Map:
        kind = self.pick(kinds)
        signs = self.pick(((0.3, 2.0), (0.3, 2.0), (0.3, 2.0), (-2.0, -0.3), (-2.0, 2.0)))
        if kind == "norm":
            return self.norm(x, signs, shift=not self.one_in(3))
        shape: tuple[int, ...] = self.pick(((), (1,), (x.channels, *(1,) * x.space), (1, x.channels, *(1,) * x.space)))
        if kind == "shift":
            constant, op = self.sketch.weight(shape), self.pick(("Add", "Sub"))
        elif kind == "scale":
            constant, op = self.sketch.weight(shape, *signs), self.pick(("Mul", "Div"))
        else:
            odd = self.pick(((x.channels,), (1,) * (x.space + 1) + (1,), (1, 1, x.channels)[: x.space + 2]))
            constant, op = self.sketch.weight(odd, 0.3, 2.0), self.pick(("Mul", "Add"))
            if not _fits(odd, x):
                constant = self.sketch.weight((), 0.3, 2.0)
        inputs = (constant, x.name) if self.one_in(3) else (x.name, constant)
        if op == "Div" and inputs[0] == constant:
            inputs = (x.name, constant)
        return Map(self.sketch.add(op, *inputs), x.channels, x.space)

    def norm(self, x: Map, signs: tuple[float, float], *, shift: bool = True) -> Map:
        s, c = self.sketch, x.channels
        scale, b, mean, variance = s.weight((c,), *signs), s.weight((c,)), s.weight((c,)), s.weight((c,), 0.4, 2.0)
        if not shift:
            b = mean = s.constant(np.zeros(c, np.float32))
        if self.one_in(6):  # a channel that is switched off
            s.weights[scale][0] = 0
        epsilon = self.pick((1e-5, 1e-3, 0.5))
        return Map(s.add("BatchNormalization", x.name, scale, b, mean, variance, epsilon=epsilon), c, x.space)

    # --- layers with weights

    def conv(self, x: Map, kernel: int | None = None, paddings: Sequence[str] = PADDINGS, stride: int = 0) -> Map:
        if x.space == 0:
            return self.product(x)
        groups = self.pick([g for g in (1, 1, 2, x.channels) if x.channels % g == 0])
        channels = groups * self.pick((1, 2, 3)) if groups > 1 else self.pick((1, 2, 3, 5))
        kernel = self.pick((1, 2, 3)) if kernel is None else kernel
        attributes = self.window(x.space, kernel, (stride,) if stride else (1, 1, 1, 2), paddings)
        if "auto_pad" not in attributes and self.one_in(4):
            attributes["dilations"] = [2] * x.space
        weight = self.sketch.weight((channels, x.channels // groups, *(kernel,) * x.space))
        inputs = [x.name, weight, *([self.sketch.weight((channels,))] if self.one_in(2) else [])]
        if self.one_in(8):
            self.sketch.outputs.append(self.sketch.add("Conv", *inputs, group=groups, **attributes))  # shares weights
        return Map(self.sketch.add("Conv", *inputs, group=groups, **attributes), channels, x.space)

    def transposed(self, x: Map) -> Map:
        if x.space == 0:
            return self.product(x)
        groups = self.pick([g for g in (1, 1, 2) if x.channels % g == 0])
        per_group, kernel, stride = self.pick((1, 2, 3)), self.pick((2, 3)), self.pick((1, 2))
        weight = self.sketch.weight((x.channels, per_group, *(kernel,) * x.space))
        inputs = [x.name, weight, *([self.sketch.weight((per_group * groups,))] if self.one_in(2) else [])]
        attributes: dict[str, Any] = {"strides": [stride] * x.space, "pads": [self.pick((0, 1))] * (2 * x.space)}
        if stride == 2 and self.one_in(2):
            attributes["output_padding"] = [1] * x.space
        return Map(self.sketch.add("ConvTranspose", *inputs, group=groups, **attributes), per_group * groups, x.space)

    def product(self, x: Map) -> Map:
        channels, s = self.pick((1, 2, 3, 5)), self.sketch
        if self.one_in(3):
            return Map(s.add("MatMul", x.name, s.weight((x.channels, channels))), channels, 0)
        swapped = self.pick((0, 1))
        shape = (channels, x.channels) if swapped else (x.channels, channels)
        bias = [s.weight(self.pick(((), (1,), (channels,), (1, channels))))] if self.one_in(2) or s.opset < 11 else []
        factors = {"alpha": self.pick((1.0, 0.5)), "beta": self.pick((1.0, -2.0))}
        return Map(s.add("Gemm", x.name, s.weight(shape), *bias, transB=swapped, **factors), channels, 0)

    # --- layers without

    def activation(self, x: Map, kinds: Sequence[str]) -> Map:
        kind, s = self.pick(kinds), self.sketch
        if kind == "SiLU":
            return Map(s.add("Mul", x.name, s.add("Sigmoid", x.name)), x.channels, x.space)
        if kind == "HardSwish" and s.opset < 14:
            kind = "Relu"
        inputs, attributes = [x.name], {}
        if kind == "Celu" and s.opset < 12:
            kind = "Elu"
        if kind in ("LeakyRelu", "Elu", "HardSigmoid") and self.one_in(2):
            attributes["alpha"] = self.pick((0.0, 0.3, 0.3, -0.4))
        if kind == "PRelu":
            low, high = self.pick(((0.0, 0.9), (0.0, 0.9), (-0.5, 0.5)))
            inputs.append(s.weight((x.channels, *(1,) * x.space), low, high))
        if kind == "Clip" and s.opset < 11:
            attributes = {"min": -0.3, "max": 0.9}
        elif kind == "Clip":
            inputs += [s.constant(np.array(v, np.float32)) for v in (-0.3, 0.9)]
        return Map(s.add(kind, *inputs, **attributes), x.channels, x.space)

    def pool(self, x: Map, kinds: Sequence[str], strides: Sequence[int] = (1, 2, 2, 3)) -> Map:
        kind, s = self.pick(kinds), self.sketch
        if x.space == 0:
            return x
        if kind.startswith("Global"):
            return Map(s.add(kind, x.name), x.channels, x.space)
        if kind == "ReduceMean":
            axes, keep = list(range(2, x.space + 2)), self.pick((0, 1))
            axes = [a - x.space - 2 for a in axes] if self.one_in(2) else axes
            if self.one_in(5):
                axes, keep = axes[:-1] or [1], 1
            if s.opset < 18:
                y = s.add("ReduceMean", x.name, axes=axes, keepdims=keep)
            else:
                y = s.add("ReduceMean", x.name, s.constant(np.array(axes, np.int64)), keepdims=keep)
            return Map(y, 1 if axes == [1] else x.channels, x.space if keep else 0)
        kernel = self.pick((1, 2, 3))
        attributes = self.window(x.space, kernel, strides)
        attributes["kernel_shape"] = [kernel] * x.space
        if s.opset >= 10 and "auto_pad" not in attributes:
            attributes["ceil_mode"] = self.pick((0, 0, 1))
        if kind == "AveragePool":
            attributes["count_include_pad"] = self.pick((1, 0))
        if s.opset >= (19 if kind == "AveragePool" else 10) and "auto_pad" not in attributes and self.one_in(5):
            attributes["dilations"] = [2] * x.space
        return Map(s.add(kind, x.name, **attributes), x.channels, x.space)

    def window(
        self, space: int, kernel: int, strides: Sequence[int], paddings: Sequence[str] = PADDINGS
    ) -> dict[str, Any]:
        attributes: dict[str, Any] = {"strides": [self.pick(strides) for _ in range(space)]}
        padding = self.pick(paddings)
        if padding == "even":
            attributes["pads"] = [kernel // 2] * (2 * space)
        elif padding == "odd":
            attributes["pads"] = [self.pick(range(kernel)) for _ in range(2 * space)]
        elif padding == "auto":  # ONNX Runtime takes negative padding for a window smaller than the stride
            same = ("SAME_UPPER", "SAME_LOWER") if kernel >= max(attributes["strides"]) else ()
            attributes["auto_pad"] = self.pick(("VALID", *same))
        return attributes

    def layer(self, kind: str, x: Map) -> Map:
        kinds: dict[str, Callable[[Map], Map]] = {
            "affine": self.affine,
            "norm": lambda x: self.affine(x, ("norm",)),
            "scale": lambda x: self.affine(x, ("scale",)),
            "shift": lambda x: self.affine(x, ("shift",)),
            "conv": self.conv,
            "padded": lambda x: self.conv(x, 3, ("even",)),
            "conv1x1": lambda x: self.conv(x, 1),
            "pointwise": lambda x: self.conv(x, 1, ("none",), 1),
            "smooth": lambda x: self.pool(x, ("AveragePool",), (1,)),
            "transposed": self.transposed,
            "rectifier": lambda x: self.activation(x, RECTIFIERS),
            "activation": lambda x: self.activation(x, ACTIVATIONS),
            "pool": lambda x: self.pool(x, POOLS),
            "mean": lambda x: self.pool(x, MEANS),
            "max": lambda x: self.pool(x, ("MaxPool", "MaxPool", "GlobalMaxPool")),
        }
        made = kinds[kind](x)
        if self.one_in(12):
            self.sketch.outputs.append(made.name)
        if self.one_in(12):
            self.sketch.add("Neg", made.name)  # another reader, whose result is an output
        return made


@st.composite
def models(draw: Draw, first: str, then: Sequence[str]) -> Case:
    """A model of a pattern, which is a list of layers in words, maybe with another behind it; and inputs for it."""
    layers = Layers(draw, draw(st.sampled_from((9, 11, 13, 17, 17, 18, 21))))
    space, channels, batch = layers.pick((2, 1, 2, 2, 0)), layers.pick((4, 2, 1)), layers.pick((1, 2))
    sizes = [layers.pick(range(11, 16)) for _ in range(space)]
    declared = [f"size{axis}" for axis in range(space)] if layers.one_in(3) else sizes
    x = Map(layers.sketch.input(batch, channels, *declared), channels, space)
    for pattern in (first, *draw(st.lists(st.sampled_from(then), max_size=1))):
        for kind in pattern.split():
            x = layers.layer(kind, x)
    if not layers.sketch.nodes:  # poolings of no space
        layers.affine(x)
    graph, values = case(layers.sketch, (batch, channels, *sizes))
    assume(_windows_fit(graph, look(graph, {name: array.shape for name, array in values.items()}).sizes))
    return graph, values


def case(sketch: Sketch, shape: tuple[int, ...]) -> Case:
    """The model with inputs of that shape: normal values, a tenth of them ten times as large, and a tenth zero."""
    random = np.random.default_rng(sketch.seed + 1)
    values = random.standard_normal(shape)
    values *= random.choice([1.0, 10.0, 0.0], shape, p=[0.8, 0.1, 0.1])
    return sketch.graph(), {name: values.astype(np.float32) for name in sketch.inputs}


def _fits(constant: tuple[int, ...], x: Map) -> bool:
    """Whether the constant spreads over maps of any size."""
    return len(constant) <= x.space + 2 and all(n == 1 for n in constant)


def _windows_fit(graph: Graph, shapes: Sizes) -> bool:
    """Whether every map has pixels, and no window is larger than the map that it is laid over: others are no models."""
    for node in graph.nodes:
        if any(size is None or size < 1 for size in shapes.get(node.outputs[0], (None,))):
            return False
        if node.op_type not in ("Conv", "AveragePool", "MaxPool"):
            continue
        weight = graph.constants[node.inputs[1]] if node.op_type == "Conv" else None
        kernel = node.attributes["kernel_shape"] if weight is None else weight.shape[2:]
        pads = node.attributes.get("pads", (0,) * (2 * len(kernel)))
        for axis, (taps, size) in enumerate(zip(kernel, shapes[node.inputs[0]][2:], strict=True)):
            reach = (taps - 1) * node.attributes.get("dilations", (1,) * len(kernel))[axis] + 1
            same = str(node.attributes.get("auto_pad", "")).startswith("SAME")
            if not same and (size is None or reach > size + pads[axis] + pads[axis + len(kernel)]):
                return False
    return True
