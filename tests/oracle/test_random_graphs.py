"""Random graphs against ONNX Runtime: whatever combination of layouts, views, concats and fusions comes up.

The graphs are drawn from a seed: a failure names it. Both cores run; a stream over frames in which a patch moves gives
the very bits of a dense run on the native one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from reconv.engine.lower import lower
from reconv.graph import load
from tests.oracle.test_lowering import CORES, Array, frames, outputs_of, reference


class Drawn:
    """A random graph over maps (1, C, H, W), with detours through other shapes."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.weights: dict[str, Array] = {}
        shape = (1, self.pick(2, 3, 4), self.pick(4, 6, 8), self.pick(4, 5, 6))
        self.shape = shape
        self.values: list[tuple[str, tuple[int, ...]]] = [("x", shape)]
        for _ in range(int(self.random.integers(3, 12))):
            self.step()
        ends = {name for name, _ in self.values} - {name for node in self.nodes for name in node.input}
        ends.add(self.values[-1][0])
        self.outputs = sorted(ends - {"x"})

    def pick(self, *choices: Any) -> Any:
        return choices[int(self.random.integers(len(choices)))]

    def weight(self, *shape: int) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = self.random.normal(0, 0.4, shape).astype(np.float32)
        return name

    def ints(self, *values: int) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = np.asarray(values, np.int64)
        return name

    def add(
        self, kind: str, inputs: list[str], shape: tuple[int, ...], **attributes: Any
    ) -> tuple[str, tuple[int, ...]]:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        self.values.append((name, shape))
        return name, shape

    def step(self) -> None:
        name, shape = self.pick(*self.values[-4:])
        twice = (self.conv, self.conv, self.act, self.concat)
        once = (self.conv, self.act, self.pool, self.concat, self.arithmetic, self.slice, self.resize, self.detour)
        kinds = (*twice, *once, self.transposed, self.pad, self.gate)
        self.pick(*kinds)(name, shape)

    def conv(self, name: str, shape: tuple[int, ...]) -> None:
        _, c, h, w = shape
        k, stride = self.pick(1, 1, 3), self.pick(1, 1, 2)
        groups = self.pick(1, 1, c)
        out = groups * self.pick(1, 2) if groups > 1 else self.pick(2, 4, c)
        pad = k // 2
        size = ((h + 2 * pad - k) // stride + 1, (w + 2 * pad - k) // stride + 1)
        weights = [self.weight(out, c // groups, k, k), self.weight(out)]
        self.add("Conv", [name, *weights], (1, out, *size), pads=[pad] * 4, strides=[stride] * 2, group=groups)

    def transposed(self, name: str, shape: tuple[int, ...]) -> None:
        _, c, h, w = shape
        if h * w > 64:
            return
        self.add("ConvTranspose", [name, self.weight(c, 2, 2, 2)], (1, 2, 2 * h, 2 * w), strides=[2, 2])

    def act(self, name: str, shape: tuple[int, ...]) -> None:
        self.add(self.pick("Relu", "Sigmoid", "Tanh", "LeakyRelu", "HardSwish"), [name], shape)

    def gate(self, name: str, shape: tuple[int, ...]) -> None:
        gate, _ = self.add("Sigmoid", [name], shape)
        self.add("Mul", [gate, name], shape)

    def pool(self, name: str, shape: tuple[int, ...]) -> None:
        kind = self.pick("MaxPool", "AveragePool", "GlobalAveragePool")
        if kind == "GlobalAveragePool":
            self.add(kind, [name], (*shape[:2], 1, 1))
            return
        if min(shape[2:]) < 2:
            return
        self.add(kind, [name], (*shape[:2], *((n + 2 - 3) // 2 + 1 for n in shape[2:])), kernel_shape=[3, 3],
                 strides=[2, 2], pads=[1] * 4)  # fmt: skip

    def concat(self, name: str, shape: tuple[int, ...]) -> None:
        axis = self.pick(1, 1, 1, 2, 3)
        fits = [
            v for v in self.values if all(a == b for i, (a, b) in enumerate(zip(v[1], shape, strict=True)) if i != axis)
        ]
        chosen = [(name, shape), *(self.pick(*fits) for _ in range(self.pick(1, 2)))]
        total = sum(s[axis] for _, s in chosen)
        if total > 24:
            return
        made = list(shape)
        made[axis] = total
        self.add("Concat", [n for n, _ in chosen], tuple(made), axis=axis)

    def arithmetic(self, name: str, shape: tuple[int, ...]) -> None:
        if self.pick(True, False):
            constant = self.pick((1,), (shape[1], 1, 1), (1, *shape[1:]), (shape[3],))
            self.add(self.pick("Add", "Mul", "Sub"), [name, self.weight(*constant)], shape)
            return
        fits = [v for v in self.values if all(a in (1, b) for a, b in zip(v[1], shape, strict=True))]
        self.add(self.pick("Add", "Add", "Mul", "Max"), [name, self.pick(*fits)[0]], shape)

    def slice(self, name: str, shape: tuple[int, ...]) -> None:
        axis = self.pick(1, 1, 2, 3)
        if shape[axis] < 2:
            return
        start, step = int(self.random.integers(shape[axis] // 2 + 1)), self.pick(1, 1, 2)
        made = list(shape)
        made[axis] = -(-(shape[axis] - start) // step)
        ends = [self.ints(start), self.ints(shape[axis]), self.ints(axis), self.ints(step)]
        self.add("Slice", [name, *ends], tuple(made))

    def resize(self, name: str, shape: tuple[int, ...]) -> None:
        if shape[2] * shape[3] > 64:
            return
        made = (*shape[:2], 2 * shape[2], 2 * shape[3])
        self.add("Resize", [name, "", "", self.ints(*made)], made, mode=self.pick("nearest", "linear"))

    def pad(self, name: str, shape: tuple[int, ...]) -> None:
        made = (*shape[:2], shape[2] + 1, shape[3] + 2)
        self.add("Pad", [name, self.ints(0, 0, 1, 1, 0, 0, 0, 1)], made)

    def detour(self, name: str, shape: tuple[int, ...]) -> None:
        """Through (1, C, H*W), transposed, with something done there, and back."""
        _, c, h, w = shape
        at, _ = self.add("Reshape", [name, self.ints(1, c, h * w)], shape)
        self.values.pop()
        for _ in range(self.pick(1, 2)):
            at = self._flat(at, c, h * w)
        self.add("Reshape", [at, self.ints(*shape)], shape)

    def _flat(self, at: str, c: int, pixels: int) -> str:
        done = self.pick("scale", "rows", "softmax", "shuffle", "join")
        choices: dict[str, list[tuple[str, list[str], dict[str, Any]]]] = {
            "scale": [("Mul", [self.weight(c, 1)], {})],
            "rows": [("Transpose", [], {"perm": [0, 2, 1]}), ("MatMul", [self.weight(c, c)], {}),
                     ("Transpose", [], {"perm": [0, 2, 1]})],
            "softmax": [("Softmax", [], {"axis": self.pick(1, 2)})],
            "shuffle": [("Reshape", [self.ints(1, pixels, c)], {}), ("Transpose", [], {"perm": [0, 2, 1]})],
            "join": [("Tanh", [], {})],
        }  # fmt: skip
        if done == "join":  # halves the other way round
            half = max(1, pixels // 2)
            first = self.add("Slice", [at, self.ints(half), self.ints(pixels), self.ints(2)], ())[0]
            second = self.add("Slice", [at, self.ints(0), self.ints(half), self.ints(2)], ())[0]
            del self.values[-2:]
            if pixels > half:
                at = self.add("Concat", [first, second], (), axis=2)[0]
                self.values.pop()
        for kind, rest, attributes in choices[done]:
            at = self.add(kind, [at, *rest], (), **attributes)[0]
            self.values.pop()
        return at

    def model(self) -> Any:
        graph = helper.make_graph(
            self.nodes,
            "drawn",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in self.outputs],
            [numpy_helper.from_array(value, name) for name, value in self.weights.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("seed", range(60))
def test_random_graph(seed: int) -> None:
    drawn = Drawn(seed)
    model = drawn.model()
    moving = frames(drawn.shape)
    expected = [reference(model, {"x": frame}) for frame in moving]
    for core in CORES.values():
        lowered = lower(load(model), {"x": drawn.shape}, core.Plan)
        assert not lowered.tail_nodes, [placed for placed in lowered.nodes if placed.where == "tail"]
        dense = core.State(lowered.plan, core.Threads(1), True, 0.0)
        stream = core.State(lowered.plan, core.Threads(1), False, 0.0)
        for frame, wanted in zip(moving, expected, strict=True):
            found = []
            for state in (dense, stream):
                state.step([frame] * len(lowered.inputs))
                found.append(outputs_of(lowered, state))
            for name in drawn.outputs:
                np.testing.assert_allclose(found[0][name], wanted[name], rtol=2e-4, atol=5e-5, err_msg=name)
                assert np.array_equal(found[0][name], found[1][name]), name
