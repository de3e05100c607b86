"""Whether two whole models give the same result, by a tolerance measured on the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from reconv.errors import ModelError
from reconv.graph import Graph, parse, with_constants
from reconv.optimize.whole import prove_whole

TEXT = """g (float[1, 3, 8, 8] x) => (float[1, 5, 8, 8] y, int64[1, 8, 8] top) {
    a = Conv <pads = [1, 1, 1, 1]> (x, w)
    b = Relu (a)
    y = Conv (b, v, c)
    top = ArgMax <axis = 1, keepdims = 0> (y)
}"""
SHAPES = {"x": (1, 3, 8, 8)}


def _weights() -> dict[str, np.ndarray[Any, Any]]:
    random = np.random.default_rng(0)
    draw = {"w": (16, 3, 3, 3), "v": (5, 16, 1, 1), "c": (5,)}
    return {name: random.standard_normal(shape).astype(np.float32) for name, shape in draw.items()}


def _graph() -> Graph:
    return parse(TEXT, _weights())


def _frames() -> list[dict[str, np.ndarray[Any, Any]]]:
    random = np.random.default_rng(1)
    return [{"x": (random.standard_normal(SHAPES["x"]) * scale).astype(np.float32)} for scale in (1, 100)]


def test_a_model_equals_itself() -> None:
    proof = prove_whole(_graph(), _graph(), _frames(), SHAPES)
    assert proof.holds
    assert not proof.reason
    assert set(proof.differences) == {"y", "top"}


def test_rounding_is_let_through() -> None:
    """Scaled by 3 and back: every weight is rounded twice more."""
    weights = _weights()
    other = with_constants(_graph(), {"w": weights["w"] * np.float32(3), "v": weights["v"] / np.float32(3)})
    proof = prove_whole(_graph(), other, _frames(), SHAPES)
    assert proof.holds
    assert 0 < proof.differences["y"] < 1


@pytest.mark.parametrize("by", [1e-4, 1e-2, 1.0])
@pytest.mark.parametrize("name", ["w", "v", "c"])
def test_one_wrong_weight_is_seen(name: str, by: float) -> None:
    array = _weights()[name].copy()
    array.flat[2] += np.float32(by * np.abs(array).max())
    proof = prove_whole(_graph(), with_constants(_graph(), {name: array}), _frames(), SHAPES)
    assert not proof.holds
    assert "'y'" in proof.reason


def test_another_shape_is_seen() -> None:
    other = parse(TEXT.replace("pads = [1, 1, 1, 1]", "dilations = [1, 1]"), _weights())
    proof = prove_whole(_graph(), other, _frames(), SHAPES)
    assert proof.differences["y"] == float("inf")
    assert not proof.holds


def test_not_a_number_on_one_side_is_seen() -> None:
    array = _weights()["c"].copy()
    array[0] = np.nan
    assert not prove_whole(_graph(), with_constants(_graph(), {"c": array}), _frames(), SHAPES).holds


def test_the_scales_of_a_resize_are_not_moved() -> None:
    """1.9999999 times 8 pixels are 15."""
    text = """g (float[1, 3, 8, 8] x) => (float[1, 3, 16, 16] y) {
        a = Conv (x, w)
        y = Resize <mode = "nearest"> (a, , scales)
    }"""
    weights = {"w": np.ones((3, 3, 1, 1), np.float32), "scales": np.array([1, 1, 2, 2], np.float32)}
    graph = parse(text, weights)
    assert prove_whole(graph, graph, _frames(), SHAPES).holds


def test_random_outputs_are_not_compared_and_said_so() -> None:
    text = """g (float[1, 3, 8, 8] x) => (float[1, 3, 8, 8] y, float[1, 3, 8, 8] z) {
        y = RandomNormalLike (x)
        z = Relu (x)
    }"""
    graph = parse(text, {})
    proof = prove_whole(graph, graph, _frames(), SHAPES)
    assert proof.random == ("y",)
    assert set(proof.differences) == {"z"}
    assert proof.holds


def test_sequences_are_compared_part_by_part() -> None:
    text = """g (float[1, 3, 8, 8] x) => (seq(float[1, n, 8, 8]) y) {
        a = Mul (x, w)
        y = SplitToSequence <axis = 1> (a)
    }"""
    weights = {"w": np.full((1, 3, 1, 1), 1.5, np.float32)}
    graph = parse(text, weights)
    assert prove_whole(graph, graph, _frames(), SHAPES).holds
    weights["w"][0, 2] *= np.float32(1.01)
    assert not prove_whole(graph, parse(text, weights), _frames(), SHAPES).holds


def test_a_model_that_does_not_run_is_one_line() -> None:
    graph = parse("g (float[1, 3, 8, 8] x) => (float[1, 3, 8, 8] y) { y = mine.Op (x) }", {})
    with pytest.raises(ModelError, match="does not run the untouched model"):
        prove_whole(graph, graph, _frames(), SHAPES)
    right = _graph()
    assert "does not run the new model" in prove_whole(right, graph, _frames(), SHAPES).reason
