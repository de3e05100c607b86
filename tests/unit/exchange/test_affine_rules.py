"""What the batch norm rules read as an affine map, and into what they fold it: the odd forms that files have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from reconv.exchange.proof import prove
from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules import (
    affine_into_layer_after,
    affine_into_layer_before,
    affine_twice,
    norm_around_relu,
    pool_before_affine,
)
from reconv.exchange.rules.affine import Affine, Weights, example_norm, read_affine, rounded
from reconv.exchange.view import View, look, look_again
from reconv.graph import Rewrite

Array = np.ndarray[Any, Any]
NORM = example_norm(4)
ONE_EACH = np.array([1, 2, 3, 4], np.float32).reshape(4, 1, 1)


def _view(text: str, weights: Weights, opset: int = 17) -> View:
    return look(Example(text, weights, opset).graph())


def _read(node: str, weights: Mapping[str, Array], x: str = "float[1, 4, 5, 5]", opset: int = 17) -> object:
    view = _view(f"g ({x} x) => (float[?, ?, ?, ?] y) {{ {node} }}", weights, opset)
    return read_affine(view, view.graph.nodes[-1])


def _answers(rule: Rule, view: View) -> list[Answer]:
    return [answer for node in view.graph.nodes if (answer := rule.match(view, node)) is not None]


@pytest.mark.parametrize(
    ("node", "scale", "shift"),
    [
        ("y = Mul (x, k)", [1, 2, 3, 4], [0, 0, 0, 0]),
        ("y = Mul (k, x)", [1, 2, 3, 4], [0, 0, 0, 0]),
        ("y = Add (k, x)", [1, 1, 1, 1], [1, 2, 3, 4]),
        ("y = Sub (x, k)", [1, 1, 1, 1], [-1, -2, -3, -4]),
        ("y = Sub (k, x)", [-1, -1, -1, -1], [1, 2, 3, 4]),
        ("y = Div (x, k)", [1, 1 / 2, 1 / 3, 1 / 4], [0, 0, 0, 0]),
    ],
)
def test_arithmetic_by_constants(node: str, scale: list[float], shift: list[float]) -> None:
    found = _read(node, {"k": ONE_EACH})
    assert isinstance(found, Affine)
    assert found.x == "x"
    np.testing.assert_array_equal(found.scale, scale)
    np.testing.assert_array_equal(found.shift, shift)


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("constant", [ONE_EACH[:, :, 0], ONE_EACH[None, :, :, 0], np.full((1, 1), 2, np.float32)])
def test_a_map_per_channel_behind_a_mean_that_drops_an_axis(constant: Array, batch: int) -> None:
    """(4, 1) is per channel beside (N, 4, L), and per item of the batch beside (N, 4)."""
    text = f"""g (float[{batch}, 4, 8] x) => (float[{batch}, 4] y) {{
        a = Mul (x, k)
        y = ReduceMean <axes = [2], keepdims = 0> (a)
    }}"""
    view = _view(text, {"k": constant}, 13)
    (answer,) = _answers(pool_before_affine.RULE, view)
    assert isinstance(answer, Rewrite)
    proof = prove(view, answer)
    assert proof.holds, proof


def test_epsilon_of_a_batch_norm() -> None:
    weights = {name: np.array(value, np.float32) for name, value in {"s": [3], "t": [5], "m": [2], "v": [3]}.items()}
    found = _read("y = BatchNormalization <epsilon = 1.0> (x, s, t, m, v)", weights, "float[2, 1, 5, 5]")
    assert isinstance(found, Affine)
    assert (found.scale.item(), found.shift.item()) == (1.5, 2.0)


@pytest.mark.parametrize(
    ("node", "k", "x"),
    [
        ("y = Div (k, x)", ONE_EACH, "float[1, 4, 5, 5]"),
        ("y = Mul (x, x)", ONE_EACH, "float[1, 4, 5, 5]"),
        ("y = Mul (x, k)", np.ones((1, 1, 5), np.float32), "float[1, 4, 5, 5]"),  # differs along x
        ("y = Mul (x, k)", np.ones(4, np.float32), "float[1, 4, 5, 4]"),  # along the last axis, not the channels
        ("y = Mul (x, k)", ONE_EACH, "float[1, 1, 5, 5]"),  # makes four channels of one
        ("y = Mul (x, k)", ONE_EACH, "float[1, c, 5, 5]"),  # might
        ("y = Mul (x, k)", np.ones((2, 1, 1, 1), np.float32), "float[1, 4, 5, 5]"),  # makes two maps of one
        ("y = Mul (x, k)", np.ones((1, 1, 1, 1, 1), np.float32), "float[1, 4, 5, 5]"),  # adds an axis
    ],
)
def test_arithmetic_that_is_no_affine_map_of_channels(node: str, k: Array, x: str) -> None:
    assert _read(node, {"k": k}, x) is None


@pytest.mark.parametrize(
    ("node", "weights", "x", "reason"),
    [
        ("y = Div (x, k)", {"k": 0 * ONE_EACH}, "float", "division by zero"),
        ("y = Mul (x, k)", {"k": np.float32(np.inf) * ONE_EACH}, "float", "not a finite number"),
        ("y = Mul (x, k)", {"k": ONE_EACH.astype(np.float64)}, "double", "float64; rules are proved for float32"),
        (
            "y = BatchNormalization (x, s, t, m, v)",
            {name: w.astype(np.float64) for name, w in NORM.items()},
            "double",
            "not of float32",
        ),
        ("y = BatchNormalization (x, s, t, m, v)", {**NORM, "v": -NORM["v"]}, "float", "not positive"),
    ],
)
def test_numbers_that_cannot_be_used(node: str, weights: dict[str, Array], x: str, reason: str) -> None:
    found = _read(node, weights, f"{x}[1, 4, 5, 5]")
    assert isinstance(found, Refusal)
    assert reason in found.reason


def test_running_statistics_as_outputs_of_old_files() -> None:
    view = _view(
        "g (float[1, 4, 5, 5] x) => (float[1, 4, 5, 5] y, float[4] a) { y, a, b = BatchNormalization (x, s, t, m, v) }",
        NORM,
        opset=9,
    )
    found = read_affine(view, view.graph.nodes[0])
    assert isinstance(found, Refusal)
    assert "running statistics" in found.reason


def test_rounding_is_refused_where_float32_ends() -> None:
    assert isinstance(rounded(np.array([1e39])), Refusal)
    assert isinstance(rounded(np.array([1e-37, 0.0])), Refusal)
    fine = rounded(np.array([1e-41, 1.0, 0.0]))
    assert not isinstance(fine, Refusal)
    assert fine.dtype == np.float32


@pytest.mark.parametrize(
    ("shape", "reason"),
    [((3, 1), "differs from row to row"), ((3, 3), "differs from row to row"), ((1, 3), ""), ((3,), ""), ((), "")],
)
def test_the_bias_of_a_product(shape: tuple[int, ...], reason: str) -> None:
    """(3, 1) has as many values as the product has columns, but gives each row its own."""
    weights: Weights = {"w": (4, 3), "c": shape, "k": np.array([1, 2, 3], np.float32)}
    view = _view("g (float[3, 4] x) => (float[3, 3] y) { p = Gemm (x, w, c)  y = Mul (p, k) }", weights)
    (answer,) = _answers(affine_into_layer_before.RULE, view)
    if reason:
        assert isinstance(answer, Refusal)
        assert reason in answer.reason
    else:
        assert isinstance(answer, Rewrite)


@pytest.mark.parametrize("text", ["p = Gemm <transA = 1> (x, w)", "p = MatMul (x, w)"])
def test_products_whose_columns_are_not_channels(text: str) -> None:
    x, y = ("float[4, 5]", "float[5, 3]") if "Gemm" in text else ("float[2, 5, 4]", "float[2, 5, 3]")
    view = _view(f"g ({x} x) => ({y} y) {{ {text}  y = Mul (p, k) }}", {"w": (4, 3), "k": np.array(2, np.float32)})
    (answer,) = _answers(affine_into_layer_before.RULE, view)
    assert isinstance(answer, Refusal)
    assert "not its channels" in answer.reason


def test_a_size_that_is_free_does_not_matter_to_a_fold() -> None:
    text = """g (float[n, 3, h, w0] x) => (float[n, 4, a, b0] y) {
        c = Conv <auto_pad = "SAME_UPPER", strides = [2, 2]> (x, w)
        y = BatchNormalization (c, s, t, m, v)
    }"""
    (answer,) = _answers(affine_into_layer_before.RULE, _view(text, {"w": (4, 3, 3, 3), **NORM}))
    assert isinstance(answer, Rewrite)


def test_padding_that_depends_on_a_free_size_keeps_a_shift_out() -> None:
    text = """g (float[n, 4, h, w0] x) => (float[n, 2, a, b0] y) {
        c = BatchNormalization (x, s, t, m, v)
        y = Conv <auto_pad = "SAME_UPPER", strides = [2, 2]> (c, w)
    }"""
    (answer,) = _answers(affine_into_layer_after.RULE, _view(text, {"w": (2, 4, 2, 2), **NORM}))
    assert isinstance(answer, Refusal)
    assert "at a free size" in answer.reason


def test_maps_that_undo_each_other_leave_nothing() -> None:
    text = "g (float[1, 4, 5, 5] x) => (float[1, 4, 5, 5] y) { a = Mul (x, k)  y = Div (a, k) }"
    view = _view(text, {"k": np.array(3, np.float32)})
    (answer,) = _answers(affine_twice.RULE, view)
    assert isinstance(answer, Rewrite)
    assert [node.op_type for node in answer.after] == ["Identity"]
    assert look_again(view, answer).producer("y") is answer.after[0]


def test_a_mean_without_the_axes_of_space_keeps_constants_in_place() -> None:
    text = """g (float[2, 4, 5, 5] x) => (float[2, 4] y) {
        a = Mul (x, k)
        y = ReduceMean <axes = [-1, 2], keepdims = 0> (a)
    }"""
    (answer,) = _answers(pool_before_affine.RULE, _view(text, {"k": ONE_EACH}))
    assert isinstance(answer, Rewrite)
    assert [array.shape for array in answer.constants.values()] == [(4,)]


@pytest.mark.parametrize(("first", "op"), [(1.0, "Max"), (-1.0, "Min"), (0.0, "Max")])
def test_the_sign_of_the_scales_says_which_bound(first: float, op: str) -> None:
    s = np.array([first, 2 * np.sign(first) or 1, 0, np.sign(first) or 1], np.float32)
    text = """g (float[1, 4, 5, 5] x) => (float[1, 2, 5, 5] y) {
        n = BatchNormalization (x, s, t, m, v)
        r = Relu (n)
        y = Conv (r, w)
    }"""
    (answer,) = _answers(norm_around_relu.RULE, _view(text, {**NORM, "s": s, "w": (2, 4, 1, 1)}))
    assert isinstance(answer, Rewrite)
    assert [node.op_type for node in answer.after] == [op, "Conv"]
