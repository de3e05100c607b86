"""Models whose sizes do not fit together: one clear error, which ONNX Runtime words, and never a bare one of numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

from reconv.engine import load
from reconv.errors import TailError
from tests.unit.small import network

MISTAKES: dict[str, tuple[str, dict[str, Any], list[Any]]] = {
    "a statistic of the wrong length": ("BatchNormalization", {}, [np.ones(3, np.float32)] * 4),
    "a bias of the wrong length": ("Conv", {}, [np.ones((2, 4, 1, 1), np.float32), np.ones(3, np.float32)]),
    "a stride of 0": ("Conv", {"strides": [0, 1]}, [np.ones((2, 4, 1, 1), np.float32)]),
    "operands that do not broadcast": ("Add", {}, [np.ones((1, 4, 5, 6), np.float32)]),
    "an expansion that does not broadcast": ("Expand", {}, [np.array([1, 3, 1, 1])]),
    "a short perm": ("Transpose", {"perm": [0, 1, 2]}, []),
    "a squeeze of a longer axis": ("Squeeze", {}, [np.array([1])]),
    "parts that are too large": ("Split", {"axis": 1}, [np.array([3, 3])]),
    "an axis that is not there": ("Softmax", {"axis": 7}, []),
    "a Gemm of rank 4": ("Gemm", {}, [np.ones((6, 3), np.float32)]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_is_one_error(mistake: str) -> None:
    kind, attributes, constants = MISTAKES[mistake]
    names = [f"c{i}" for i in range(len(constants))]
    outputs = ["y", "z"] if kind == "Split" else ["y"]
    node = helper.make_node(kind, ["x", *names], outputs, **attributes)
    proto = network([node], {}, [1, 4, 6, 6], ["y"])
    proto.graph.initializer.extend(network([], dict(zip(names, constants, strict=True)), [1], []).graph.initializer)
    model = load(proto, threads=1)
    with pytest.raises(TailError) as raised:
        model.run(np.ones((1, 4, 6, 6), np.float32))
    assert "\n" not in str(raised.value)


def test_an_input_of_too_many_values_is_read_by_the_tail_alone() -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    model = load(network([node], {}, [1, 3, "h", "w"], ["y"]), threads=1)
    assert model.placement({"x": (1, 3, 1 << 15, 1 << 15)}).tail
