"""Models whose sizes do not fit together: one clear error, which ONNX Runtime words, and never a bare one of numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
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


@pytest.mark.parametrize("before", [None, "Conv"])
def test_a_variance_below_0_is_no_number_in_silence(before: str | None) -> None:
    """As ONNX Runtime has it; a warning of numpy would be an error here."""
    random = np.random.default_rng(0)
    weights = {name: random.normal(size=3).astype(np.float32) for name in ("scale", "shift", "mean")}
    weights["variance"] = np.array([-1, 0.5, 1], np.float32)
    first = [helper.make_node(before, ["x", "w"], ["c"])] if before else []
    if before:
        weights["w"] = random.normal(size=(3, 3, 3, 3)).astype(np.float32)
    norm = helper.make_node("BatchNormalization", [first[0].output[0] if first else "x", *list(weights)[:4]], ["y"])
    proto, x = network([*first, norm], weights, [1, 3, 6, 6], ["y"]), random.normal(size=(1, 3, 6, 6))
    frame = x.astype(np.float32)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    expected = onnxruntime.InferenceSession(proto.SerializeToString(), options).run(None, {"x": frame})[0]
    model = load(proto, threads=1)
    with model.stream() as stream:
        for found in (model.run(frame)["y"], stream(frame)["y"], stream(frame)["y"]):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert np.isnan(expected[:, 0]).all()
    assert np.isfinite(expected[:, 1:]).all()
