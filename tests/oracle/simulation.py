"""What reuse saves, simulated densely: ONNX Runtime runs node after node over whole maps, without optimisations.

The input and every activated convolution (after the add of a shortcut, where one follows) are under the cutoff: a pixel
of the new map is kept only where

    sqrt(mean over channels of ((new - stored) / deviation)^2) > tolerance        deviation: of the first frame's map

and the stored pixel stays elsewhere. Adds, concats, pools, slices and resizes unite stale pixels. A convolution would
spend its multiply-adds on the output pixels whose window has a stale pixel (a window of ones over the stale pixels
finds them), and on those whose shortcut is stale. Nothing is saved here, and nothing is shared with the engine.

Knows the operators of YOLOX exports; a Reshape or Transpose ends the counting (the boxes behind the last convolution).
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

Array = np.ndarray[Any, Any]

POINTWISE = frozenset({"Add", "Mul", "Sigmoid", "Relu", "Concat"})
WINDOWS = frozenset({"MaxPool", "Slice", "Resize"})  # of stale pixels as of values
ENDS = frozenset({"Reshape", "Transpose"})


class Network:
    """The nodes of a model with a session each."""

    def __init__(self, path: Path) -> None:
        model = onnx.load(path)
        graph = model.graph
        self._opsets = model.opset_import
        self.constants = {weight.name: numpy_helper.to_array(weight) for weight in graph.initializer}
        self.nodes = list(graph.node)
        self.input = next(value.name for value in graph.input if value.name not in self.constants)
        self.output = graph.output[0].name
        self.cut = {self.input}
        self.shortcut: dict[str, str] = {}  # convolution -> the value that is added to its activated result
        for conv in (node for node in self.nodes if node.op_type == "Conv"):
            name = self._activated(conv)
            users = self._users(name)
            if [node.op_type for node in users] == ["Add"]:
                (self.shortcut[conv.name],) = (other for other in users[0].input if other != name)
                name = users[0].output[0]
            self.cut.add(name)
        self._sessions: dict[str, onnxruntime.InferenceSession] = {}

    def _users(self, name: str) -> list[onnx.NodeProto]:
        return [node for node in self.nodes if name in node.input]

    def _activated(self, conv: onnx.NodeProto) -> str:
        """The value behind the convolution's activation (x·sigmoid(x) or sigmoid(x)), else its own."""
        after = self._users(conv.output[0])
        if sorted(node.op_type for node in after) == ["Mul", "Sigmoid"]:
            return str(next(node.output[0] for node in after if node.op_type == "Mul"))
        if [node.op_type for node in after] == ["Sigmoid"]:
            return str(after[0].output[0])
        return str(conv.output[0])

    def run(self, node: onnx.NodeProto, values: dict[str, Array]) -> Array:
        """The node's output for these inputs of it; the others are constants of the model."""
        return self._run(node.output[0], node, values, self.constants)

    def stale(self, node: onnx.NodeProto, marks: list[Array]) -> Array:
        """(H, W) bool: the output pixels that depend on the marked pixels of the inputs."""
        united: Array = np.logical_or.reduce(marks)
        if node.op_type in POINTWISE:
            return united
        mask = united[None, None].astype(np.float32)
        if node.op_type == "Conv":
            kernel = self.constants[node.input[1]].shape[2:]
            kept = [a for a in node.attribute if a.name not in ("group", "kernel_shape")]
            ones = helper.make_node("Conv", [node.input[0], "ones"], [node.output[0]])
            ones.attribute.extend(kept)
            found = self._run(
                f"{node.output[0]}?", ones, {node.input[0]: mask}, {"ones": np.ones((1, 1, *kernel), np.float32)}
            )
        else:
            assert node.op_type in WINDOWS, f"{node.op_type} is not one of the operators of this simulation"
            found = self._run(f"{node.output[0]}?", node, {node.input[0]: mask}, self.constants)
        return np.asarray(found[0, 0] > 0)

    def _run(self, key: str, node: onnx.NodeProto, values: dict[str, Array], constants: dict[str, Array]) -> Array:
        if key not in self._sessions:
            fixed = [numpy_helper.from_array(constants[name], name) for name in node.input if name in constants]
            free = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in values]
            out = helper.make_tensor_value_info(node.output[0], onnx.TensorProto.FLOAT, None)
            graph = helper.make_graph([node], "node", free, [out], fixed)
            options = onnxruntime.SessionOptions()
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.intra_op_num_threads = 1
            options.log_severity_level = 4
            model = helper.make_model(graph, opset_imports=self._opsets, ir_version=8)
            self._sessions[key] = onnxruntime.InferenceSession(model.SerializeToString(), options)
        return np.asarray(self._sessions[key].run(None, values)[0])


class Simulation:
    """A stream: the stored maps, and what each step would have spent."""

    def __init__(self, network: Network, tolerance: float, uncut: Collection[str] = ()) -> None:
        """``uncut``: values that the cutoff passes over, because nobody stores them."""
        self._network, self._tolerance = network, tolerance
        self._under_cutoff = network.cut.difference(uncut)
        self._stored: dict[str, Array] = {}
        self._deviation: dict[str, Array] = {}
        self.spent: dict[str, int] = {}  # multiply-adds of the last step, by the name of the convolution
        self.total: dict[str, int] = {}  # of a dense run

    @property
    def share(self) -> float:
        """Of the multiply-adds of a dense run, in the last step."""
        return sum(self.spent.values()) / sum(self.total.values())

    def step(self, frame: Array) -> Array:
        """A frame (1, 3, H, W) -> the network's output, from stored values wherever the cutoff kept them."""
        network = self._network
        values, stale = {}, {}
        values[network.input], stale[network.input] = self._cut(network.input, frame)
        for node in network.nodes:
            own = {name: values[name] for name in dict.fromkeys(node.input) if name not in network.constants}
            out, new = node.output[0], network.run(node, own)
            values[out] = new
            if node.op_type in ENDS or not all(name in stale for name in own):
                continue
            stale[out] = network.stale(node, [stale[name] for name in own])
            if node.op_type == "Conv":
                macs = network.constants[node.input[1]].size
                if node.name in network.shortcut:
                    stale[out] |= stale[network.shortcut[node.name]]
                self.spent[node.name], self.total[node.name] = macs * int(stale[out].sum()), macs * stale[out].size
            if out in self._under_cutoff:
                values[out], stale[out] = self._cut(out, new)
        return values[network.output]

    def _cut(self, name: str, new: Array) -> tuple[Array, Array]:
        if name not in self._stored:
            deviation = new[0].std(axis=(1, 2))
            least = 0.05 * np.sqrt(np.mean(deviation**2))
            self._deviation[name] = np.maximum(deviation, least)[:, None, None]
            self._stored[name] = new
            return new, np.ones(new.shape[2:], bool)
        stored = self._stored[name]
        moved = np.sqrt((((new - stored)[0] / self._deviation[name]) ** 2).mean(axis=0)) > self._tolerance
        self._stored[name] = np.where(moved, new, stored)
        return self._stored[name], moved
