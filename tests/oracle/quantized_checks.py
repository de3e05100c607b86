"""The engine's quantized values against the integer reference, value by value as the model names them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from reconv.engine.lower import Lowered
from tests.oracle.quantized_reference import Codes, Reference, near_tie

Array = NDArray[Any]


def tensor_of(array: Array, shape: tuple[int, ...]) -> Array | None:
    """A map (H, W, C) as the tensor (1, C, H, W), (1, C, W) or (1, C) that it usually is; None for any other."""
    channels = array.shape[2]
    if len(shape) >= 2 and shape[:2] == (1, channels) and array[:, :, 0].size == int(np.prod(shape[2:])):
        return array.transpose(2, 0, 1).reshape(shape)
    return None


@dataclass
class Comparison:
    """What `check` was asked to compare; ``exact``: no value may differ, else those near a tie may.

    A quantized value in the middle of a function of one code (x * sigmoid(x), each quantized) is not held by the
    engine; where it is near a tie the function may come out one code apart as well.
    """

    model: onnx.ModelProto
    lowered: Lowered
    state: Any
    exact: bool
    names: list[str] = field(default_factory=list)
    ties: int = 0
    doubts: dict[tuple[int, ...], Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        plan = self.lowered.plan
        self.maps = {
            placed.node.outputs[0]: (placed.out_map, placed.out_shape)
            for placed in self.lowered.nodes
            if placed.node.op_type == "QuantizeLinear" and placed.out_map is not None and plan.stored(placed.out_map)
        }
        bare = {tensor.name: numpy_helper.to_array(tensor).tobytes() for tensor in self.model.graph.initializer}
        said = {
            node.output[0]: (node.input[0], *(bare.get(name, b"") for name in node.input[1:]))
            for node in self.model.graph.node
            if node.op_type == "QuantizeLinear"
        }
        first = {key: name for name, key in said.items() if name in self.maps}
        for name, key in said.items():  # the same said twice is done once
            if name not in self.maps and key in first:
                self.maps[name] = self.maps[first[key]]

    def check(self, name: str, real: Array, code: Array, codes: Codes) -> Array:
        if name not in self.maps:
            if not self.exact:
                before = self.doubts.get(code.shape, np.zeros(code.shape, np.bool_))
                self.doubts[code.shape] = before | near_tie(real, codes)
            return code
        x, shape = self.maps[name]
        assert x is not None
        assert shape is not None
        found = tensor_of(self.state.array(x), shape)
        if found is None:
            return code
        found = found.astype(np.int64)
        self.names.append(name)
        other = found != code
        if other.any():
            where = tuple(np.argwhere(other)[0])
            said = (
                f"{name}: {other.sum()} of {other.size} codes differ, first {where}: {found[where]} for {code[where]}"
            )
            assert not self.exact, said
            doubted = near_tie(real, codes) | self.doubts.get(code.shape, np.zeros((), np.bool_))
            assert doubted[other].all(), said
            assert np.abs(found - code).max() == 1, said
            self.ties += int(other.sum())
        return found


def compare(
    model: onnx.ModelProto, lowered: Lowered, state: Any, x: Array, exact: bool
) -> tuple[Comparison, dict[str, Array]]:
    """Run the reference beside what a state holds of this frame; what was compared, and all values of the reference."""
    comparison = Comparison(model, lowered, state, exact)
    values = Reference(model, comparison.check).run({model.graph.input[0].name: x})
    return comparison, values
