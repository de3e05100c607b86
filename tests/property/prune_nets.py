"""Random networks out of the ways in which channels are coupled, for the guarantees of pruning.

A `Net` grows block by block from one input; each block is a function that takes the map so far and gives the next one.
``padded`` nets pad their convolutions; without, every pixel sees the whole window, so that constants stay constants.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

Array = np.ndarray[Any, Any]
SIDE = 6


class Net:
    """A network under construction: maps are (1, C, SIDE, SIDE), ``x`` the last one, ``c`` its channels."""

    def __init__(self, seed: int, *, padded: bool, opset: int = 17) -> None:
        self.random = np.random.default_rng(seed)
        self.padded, self.opset = padded, opset
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, Array] = {}
        self.x, self.c = "input", 3
        self.outputs: list[str] = []

    def add(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """A node; the name of its result, or the names where there are several."""
        at = len(self.nodes)
        names = [f"{op.lower()}{at}" if outputs == 1 else f"{op.lower()}{at}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, f"{op}{at}", **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, array: Any) -> str:
        name = f"k{len(self.weights)}"
        self.weights[name] = np.asarray(array)
        return name

    def values(self, *shape: int, low: float | None = None) -> str:
        array = self.random.normal(0, 0.5, shape) if low is None else self.random.uniform(low, 2, shape)
        return self.constant(array.astype(np.float32))

    def ints(self, *numbers: int) -> str:
        return self.constant(np.array(numbers, np.int64))

    def floats(self, *numbers: float) -> str:
        return self.constant(np.array(numbers, np.float32))

    def some(self, *choices: Any) -> Any:
        return choices[int(self.random.integers(len(choices)))]

    def conv(self, x: str, c: int, out: int, *, kernel: int = 0, group: int = 1, weight: str = "") -> str:
        kernel = kernel or (self.some(1, 3) if self.padded else 1)
        weight = weight or self.values(out, c // group, kernel, kernel)
        inputs = [x, weight, *([self.values(out)] if self.some(True, True, False) else [])]
        pads: dict[str, Any] = {"pads": [kernel // 2] * 4} if kernel > 1 else {}
        return str(self.add("Conv", *inputs, group=group, **pads))

    def act(self, x: str) -> str:
        kind = self.some(
            "Relu", "LeakyRelu", "Clip", "SiLU", "HardSwish", "Tanh", "Elu", "" if self.padded else "Sigmoid"
        )
        if kind == "Clip":
            zero, six = (self.constant(np.float32(v)) for v in (0, 6))
            return str(self.add("Clip", x, zero, six))
        if kind == "SiLU":
            return str(self.add("Mul", x, self.add("Sigmoid", x)))
        return str(self.add(kind, x)) if kind else x

    def reshape(self, x: str, *shape: int) -> str:
        return str(self.add("Reshape", x, self.ints(*shape)))


def convolved(n: Net) -> None:
    out = n.some(4, 6, 8)
    n.x, n.c = n.act(n.conv(n.x, n.c, out)), out


def residual(n: Net) -> None:
    inner = n.act(n.conv(n.x, n.c, 5))
    n.x = n.add("Add", n.conv(inner, 5, n.c), n.x)


def dense(n: Net) -> None:
    new = n.act(n.conv(n.x, n.c, 4))
    n.x, n.c = n.add("Concat", n.x, new, axis=1), n.c + 4


def halves(n: Net) -> None:
    x = n.conv(n.x, n.c, 10)
    a, b = n.add("Split", x, n.ints(4, 6), outputs=2, axis=1)
    n.x, n.c = n.add("Concat", n.act(n.conv(a, 4, 4)), b, axis=1), 10


def gated(n: Net) -> None:
    a, b = n.add("Split", n.conv(n.x, n.c, 12), outputs=2, axis=1)
    n.x, n.c = n.add("Mul", a, n.add("Sigmoid", b)), 6


def sliced(n: Net) -> None:
    x = n.conv(n.x, n.c, 9)
    a = n.add("Slice", x, n.ints(0), n.ints(4), n.ints(1), n.ints(1))
    b = n.add("Slice", x, n.ints(-5), n.ints(2**40), n.ints(1))
    n.x, n.c = n.add("Concat", n.act(b), n.conv(a, 4, 4), axis=1), 9


def gathered(n: Net) -> None:
    x = n.conv(n.x, n.c, 8)
    n.x, n.c = n.add("Gather", x, n.constant(n.random.permutation(8)[:6]), axis=1), 6


def depthwise(n: Net) -> None:
    times = n.some(1, 2)
    n.x, n.c = n.act(n.conv(n.x, n.c, n.c * times, group=n.c)), n.c * times


def grouped(n: Net) -> None:
    x = n.act(n.conv(n.x, n.c, 8))
    n.x, n.c = n.conv(x, 8, 12, group=n.some(2, 4)), 12


def shuffled(n: Net) -> None:
    x = n.reshape(n.conv(n.x, n.c, 12), 1, 3, 4, SIDE, SIDE)
    x = n.reshape(n.add("Transpose", x, perm=[0, 2, 1, 3, 4]), n.some(0, 1), n.some(12, -1), SIDE, SIDE)
    n.x, n.c = n.conv(x, 12, 6, group=n.some(1, 3)), 6


def excited(n: Net) -> None:
    s = n.add("Relu", n.conv(n.add("GlobalAveragePool", n.x), n.c, 4, kernel=1))
    n.x = n.add("Mul", n.x, n.add(n.some("Sigmoid", "HardSigmoid"), n.conv(s, 4, n.c, kernel=1)))


def excited_by_products(n: Net) -> None:
    s = n.add("ReduceMean", n.x, axes=[2, 3], keepdims=0)
    s = n.add("Relu", n.add("Gemm", s, n.values(4, n.c), n.values(4), transB=1))
    s = n.add("Add", n.add("MatMul", s, n.values(4, n.c)), n.values(n.c))
    n.x = n.add("Mul", n.add("Unsqueeze", n.add("Sigmoid", s), n.ints(2, 3)), n.x)


def normed(n: Net) -> None:
    if n.some(True, False):
        n.x = n.conv(n.x, n.c, n.c)
    n.x = n.act(n.add("BatchNormalization", n.x, n.values(n.c), n.values(n.c), n.values(n.c), n.values(n.c, low=0.5)))


def instance_normed(n: Net) -> None:
    n.x = n.add("InstanceNormalization", n.x, n.values(n.c), n.values(n.c))


def scaled(n: Net) -> None:
    n.x = n.add("PRelu", n.add("Mul", n.values(n.c, 1, 1), n.x), n.values(1, n.c, 1, 1))


def pooled(n: Net) -> None:
    kind = n.some("MaxPool", "AveragePool")
    pads: dict[str, Any] = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    n.x = n.add(kind, n.x, **pads, **({"count_include_pad": int(n.padded)} if kind == "AveragePool" else {}))


def resized(n: Net) -> None:
    if n.some(True, False):
        x = n.add("Resize", n.x, "", "", n.ints(1, n.c, SIDE * 2, SIDE * 2), mode="nearest")
    else:
        x = n.add("Resize", n.x, "", n.floats(1, 1, 2, 2), mode="linear")
    n.x = n.add("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])


def transposed(n: Net) -> None:
    group = n.some(1, 2) if n.c % 2 == 0 else 1
    group = n.c if n.some(True, False, False) else group
    size = 2 if n.padded else 1
    x = n.add("ConvTranspose", n.x, n.values(n.c, 3, size, size), n.values(group * 3), group=group, strides=[size] * 2)
    n.x, n.c = x if size == 1 else n.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), group * 3


def to_space(n: Net) -> None:
    x = n.add("DepthToSpace", n.conv(n.x, n.c, 16), blocksize=2, mode=n.some("DCR", "CRD"))
    n.x, n.c = n.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), 4


def to_depth(n: Net) -> None:
    x = n.add("SpaceToDepth", n.x, blocksize=2)
    n.x, n.c = n.add("Resize", n.conv(x, n.c * 4, 6), "", n.floats(1, 1, 2, 2), mode="nearest"), 6


def attended(n: Net) -> None:
    both = n.add("Concat", n.add("ReduceMax", n.x, axes=[1]), n.add("ReduceMean", n.x, axes=[1]), axis=1)
    n.x = n.add("Mul", n.x, n.add("Sigmoid", n.conv(both, 2, 1, kernel=1)))


def channels_last(n: Net) -> None:
    x = n.add("Transpose", n.x, perm=[0, 2, 3, 1])
    x = n.act(n.add("Add", n.add("MatMul", x, n.values(n.c, 7)), n.values(7)))
    n.x, n.c = n.add("Transpose", n.add("MatMul", x, n.values(7, 6)), perm=[0, 3, 1, 2]), 6


def several_users(n: Net) -> None:
    base = n.act(n.conv(n.x, n.c, 8))
    a, b = n.conv(base, 8, 6), n.conv(n.add("MaxPool", base, kernel_shape=[1, 1]), 8, 6)
    n.outputs.append(n.conv(base, 8, 2))
    n.x, n.c = n.add("Max", a, b), 6


def shared_weights(n: Net) -> None:
    weight = n.values(n.c, n.c, 1, 1)
    once = n.act(n.conv(n.x, n.c, n.c, kernel=1, weight=weight))
    n.x = n.conv(once, n.c, n.c, kernel=1, weight=weight)


def widened(n: Net) -> None:
    s = n.conv(n.add("GlobalAveragePool", n.x), n.c, 5, kernel=1)
    s = n.add("Expand", s, n.ints(1, n.some(1, 5), SIDE, SIDE))
    n.x, n.c = n.add("Concat", s, n.x, axis=1), n.c + 5


def softened(n: Net) -> None:
    n.x = n.add("Softmax", n.conv(n.x, n.c, 5), axis=n.some(1, 2))
    n.c = 5


def normalized_across(n: Net) -> None:
    n.x = n.add("LRN", n.x, size=3)


BLOCKS: tuple[Callable[[Net], None], ...] = (
    *(convolved, residual, dense, halves, gated, sliced, gathered, depthwise, grouped, shuffled, excited),
    *(excited_by_products, normed, instance_normed, scaled, pooled, resized, transposed, to_space, to_depth, attended),
    *(channels_last, several_users, shared_weights, widened, softened, normalized_across),
)


def flattened(n: Net) -> None:
    """A classifier that reads every pixel."""
    x = n.add("Flatten", n.x) if n.some(True, False) else n.reshape(n.x, 1, -1)
    n.outputs.append(n.add("Gemm", x, n.values(n.c * SIDE * SIDE, 3), n.values(3)))


def averaged(n: Net) -> None:
    """A classifier behind global pooling."""
    x = n.add("GlobalAveragePool", n.x)
    x = n.add("Squeeze", x, n.ints(2, 3)) if n.some(True, False) else n.reshape(x, 0, n.c)
    n.outputs.append(n.add("Add", n.add("MatMul", x, n.values(n.c, 3)), n.values(3)))


def mapped(n: Net) -> None:
    """A map."""
    n.outputs.append(n.conv(n.act(n.x), n.c, 2))


HEADS: tuple[Callable[[Net], None], ...] = (flattened, averaged, mapped)


def network(blocks: Sequence[int], head: int, seed: int, *, padded: bool = True) -> onnx.ModelProto:
    """The network of these blocks (places in BLOCKS), with a convolution before them, and this head."""
    n = Net(seed, padded=padded)
    convolved(n)
    for block in blocks:
        BLOCKS[block](n)
    HEADS[head](n)
    graph = helper.make_graph(
        n.nodes,
        "net",
        [helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in n.outputs],
        [numpy_helper.from_array(value, name) for name, value in n.weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", n.opset)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)
