"""Random resizes against ONNX Runtime: the sizes of the results, and which lines are the nearest, to the last bit."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import helper

from reconv.engine import load
from tests.unit.small import Array, network

COORDINATES = ["half_pixel", "pytorch_half_pixel", "half_pixel_symmetric", "asymmetric", "align_corners"]
ROUNDINGS = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]


def _check(x: Array, by: Array, opset: int = 19, **attributes: Any) -> bool:
    """Compare one resize, by scales (float) or to sizes (int); whether it ran without a tail."""
    position = 1 if opset < 11 else 2 if by.dtype == np.float32 else 3
    node = helper.make_node("Resize", ["x", *[""] * (position - 1), "by"], ["y"], **attributes)
    proto = network([node], {"by": by}, list(x.shape), ["y"])
    proto.opset_import[0].version = opset
    del proto.graph.value_info[:]
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    expected = session.run(None, {"x": x})[0]
    model = load(proto, threads=1)
    got = model.run(x)["y"]
    assert got.shape == expected.shape, (x.shape, by, attributes)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4, err_msg=f"{x.shape} {by} {attributes}")
    return not model.placement().tail


def _frame(height: int, width: int) -> Array:
    return np.random.default_rng(height * 64 + width).random((1, 2, height, width), np.float32)


@pytest.mark.parametrize("coordinates", COORDINATES)
def test_random_resizes(coordinates: str) -> None:
    draw = random.Random(coordinates)
    native = 0
    for _ in range(60):
        height, width, rows, columns = (draw.randint(1, 40) for _ in range(4))
        by = np.array([1, 2, rows, columns], np.int64)
        if draw.random() < 0.4:
            by = np.array([1, 1, rows / height, columns / width], np.float32)
            if (np.floor(np.array([height, width], np.float32) * by[2:]) < 1).any():
                continue
        mode = draw.choice(["nearest", "nearest", "linear"])
        rounding: dict[str, Any] = {"nearest_mode": draw.choice(ROUNDINGS)} if mode == "nearest" else {}
        native += _check(_frame(height, width), by, mode=mode, coordinate_transformation_mode=coordinates, **rounding)
    assert native >= 15


def test_a_scale_that_float32_rounds_up_gives_one_more_line() -> None:
    scales = np.array([1, 1, 19 / 18, 19 / 18], np.float32)
    _check(_frame(18, 18), scales, mode="linear")


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("scale", [2, 4, 3, 1.5, 0.5, 0.25])
def test_common_scales_need_no_tail(scale: float, rounding: str) -> None:
    for coordinates in ("half_pixel", "asymmetric"):
        scales = np.array([1, 1, scale, scale], np.float32)
        attributes: dict[str, Any] = {"coordinate_transformation_mode": coordinates, "nearest_mode": rounding}
        assert _check(_frame(12, 20), scales, mode="nearest", **attributes)


def test_opset_10_rounds_up_where_it_shrinks() -> None:
    for scale in (0.75, 0.5, 1.5, 2):
        assert _check(_frame(12, 20), np.array([1, 1, scale, scale], np.float32), opset=10, mode="nearest")
