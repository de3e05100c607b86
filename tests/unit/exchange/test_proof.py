"""The proof of one firing: what it says of rewrites that are right, wrong, or beyond it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from reconv.exchange.border import SIDE, Border
from reconv.exchange.proof import Proof, prove
from reconv.exchange.view import View, look
from reconv.graph import Node, Rewrite, parse

Array = np.ndarray[Any, Any]

POOLED = """g (float[1, 6, {0}, {1}] x) => (float[1, 4, h, w] y) {{
    c = Conv (x, w, b)
    y = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (c)
}}"""


def _weights(**shapes: tuple[int, ...]) -> dict[str, Array]:
    random = np.random.default_rng(3)
    return {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def _node(op_type: str, inputs: str, output: str, domain: str = "", **attributes: Any) -> Node:
    return Node(f"{output}/{op_type}/new", op_type, domain, tuple(inputs.split()), (output,), attributes)


def _rewrite(view: View, *after: Node, constants: Mapping[str, Array] | None = None) -> Rewrite:
    return Rewrite(view.graph.nodes, after, constants or {})


def _pooled(size: tuple[int, int] = (9, 7)) -> tuple[View, Node]:
    """A view, and the pooling that would come first."""
    view = look(parse(POOLED.format(*size), _weights(w=(4, 6, 1, 1), b=(4,)), 17))
    return view, _node("AveragePool", "x", "p", kernel_shape=(2, 2), strides=(2, 2))


def test_a_right_rewrite_holds() -> None:
    view, pool = _pooled()
    proof = prove(view, _rewrite(view, pool, _node("Conv", "p w b", "y")))
    assert proof.holds
    assert proof.reason == ""
    assert proof.cases >= 8
    assert 0 <= proof.worst <= 1


def test_it_says_the_same_twice() -> None:
    view, pool = _pooled()
    wrong = _rewrite(view, pool, _node("Conv", "p w", "y"))
    assert prove(view, wrong) == prove(view, wrong)


def test_another_value_is_objected_to_and_named() -> None:
    view, pool = _pooled()
    proof = prove(view, _rewrite(view, pool, _node("Conv", "p w", "y")))  # the bias is gone
    assert not proof.holds
    assert proof.worst > 1e5
    assert proof.reason.startswith("'y' is ")
    assert "times the tolerance off, on normal inputs of 1x6x9x7" in proof.reason


def test_another_shape_is_objected_to() -> None:
    view, _ = _pooled()
    pool = _node("AveragePool", "x", "p", kernel_shape=(2, 2), strides=(2, 2), ceil_mode=1)
    proof = prove(view, _rewrite(view, pool, _node("Conv", "p w b", "y")))
    assert not proof.holds
    assert "'y' is of shape (1, 4, 5, 4) instead of (1, 4, 4, 3)" in proof.reason


def test_what_the_evaluator_does_not_know_is_not_proved() -> None:
    view = look(parse("g (float[2, 3] x) => (float[2, 3] y) { y = Hardmax (x) }", {}, 17))
    proof = prove(view, _rewrite(view, _node("Identity", "x", "y")))
    assert not proof.holds
    view, _ = _pooled()
    proof = prove(view, _rewrite(view, _node("Mystery", "x", "y", domain="com.example")))
    assert not proof.holds
    assert not proof.evaluated
    assert "the new side fails: the operator com.example.Mystery is not known" in proof.reason


def test_an_objection_is_told_from_what_could_not_be_evaluated() -> None:
    view, pool = _pooled()
    assert prove(view, _rewrite(view, pool, _node("Conv", "p w", "y"))).evaluated  # the bias is gone
    assert prove(view, _rewrite(view, pool, _node("Conv", "p w b", "y", group=0))).evaluated
    assert prove(view, _rewrite(view, pool, _node("Conv", "p w b", "y"))).evaluated
    resize = 'Resize <keep_aspect_ratio_policy = "not_larger"> (x, , k)'
    text = f"g (float[2, 3] x) => (float[2, 3] y) {{ s = {resize} y = Relu (s) }}"
    view = look(parse(text, {"k": np.ones(2, np.float32)}, 18))
    proof = prove(view, _rewrite(view, _node("Relu", "x", "y")))
    assert "keep_aspect_ratio_policy cannot be evaluated" in proof.reason
    assert not proof.evaluated


def test_maps_that_do_not_fit_into_memory_are_not_proved() -> None:
    text = "g (float[1, 3, 3000000, 3000000] x) => (float[n, c, h, w] y) { r = Relu (x) y = Reshape (r, to) }"
    view = look(parse(text, {"to": np.array([1, 3, 9000000, 1000000], np.int64)}, 17))
    proof = prove(view, _rewrite(view, _node("Reshape", "x to", "r1"), _node("Relu", "r1", "y")))
    assert proof == Proof(False, float("inf"), "the maps are too large to be evaluated", 0, evaluated=False)


@pytest.mark.parametrize("big", [1e3, 1e6, 1e9, 1e12])
def test_a_large_channel_hides_nothing_in_a_small_one(big: float) -> None:
    weights = _weights(w=(2, 3, 3, 3))
    weights["w"][0] *= np.float32(big)
    view = look(parse("g (float[1, 3, 8, 8] x) => (float[1, 2, h, w] y) { y = Conv (x, w) }", weights, 17))
    for off in (0.0, 1e-5, 1e-3, 1e-1):
        other = weights["w"].copy()
        other[1, 0] *= np.float32(1 + off)
        proof = prove(view, _rewrite(view, _node("Conv", "x w2", "y"), constants={"w2": other}))
        assert proof.holds == (off == 0), (off, proof)


def test_without_sizes_there_is_no_proof() -> None:
    view, pool = _pooled()
    blind = View(view.graph, {}, {}, view.types)
    proof = prove(blind, _rewrite(view, pool, _node("Conv", "p w b", "y")))
    assert proof == Proof(False, float("inf"), "the sizes of 'x' are not known", 0, evaluated=False)


def test_nothing_to_compare_is_no_proof() -> None:
    view, _ = _pooled()
    proof = prove(view, _rewrite(view, _node("Relu", "x", "z")))
    assert proof == Proof(False, float("inf"), "the rewrite has no output to compare", 0)


def test_nan_on_one_side_only_is_objected_to() -> None:
    view = look(parse("g (float[2, 3] x) => (float[2, 3] y) { r = Relu (x) y = Sqrt (r) }", {}, 17))
    proof = prove(view, _rewrite(view, _node("Sqrt", "x", "y")))
    assert not proof.holds
    assert "'y' is nan instead of 0.0 at" in proof.reason


def test_nan_on_both_sides_is_equal_but_proves_nothing_alone() -> None:
    text = "g (float[2, 3] x) => (float[2, 3] y) {{ a = Abs (x) n = Neg (a) {0} }}"
    view = look(parse(text.format("s = Log (n) y = Mul (s, two)"), {"two": np.array([2], np.float32)}, 17))
    same = (_node("Abs", "x", "a1"), _node("Neg", "a1", "n1"), _node("Log", "n1", "s1"), _node("Mul", "two s1", "y"))
    proof = prove(view, _rewrite(view, *same))
    assert not proof.holds
    assert proof.reason == "no input gives finite results"
    assert not proof.evaluated


def test_integers_have_to_be_equal() -> None:
    view = look(parse("g (float[2, 3] x) => (int64[2] y) { y = Shape (x) }", {}, 17))
    right = prove(view, _rewrite(view, _node("Identity", "k", "y"), constants={"k": np.array([2, 3])}))
    assert right.holds
    wrong = prove(view, _rewrite(view, _node("Identity", "k", "y"), constants={"k": np.array([2, 4])}))
    assert not wrong.holds
    assert "has other integers" in wrong.reason


def test_another_type_is_objected_to() -> None:
    view = look(parse("g (float[2, 3] x) => (int64[2] y) { y = Shape (x) }", {}, 17))
    proof = prove(view, _rewrite(view, _node("Identity", "k", "y"), constants={"k": np.array([2, 3], np.int32)}))
    assert "is of type int32 instead of int64" in proof.reason


def test_a_new_constant_may_be_off_by_its_rounding_and_no_more() -> None:
    text = "g (float[1, 8, 6, 6] x) => (float[1, 8, 6, 6] y) { a = Mul (x, s) y = Mul (a, t) }"
    weights = _weights(s=(8, 1, 1), t=(8, 1, 1))
    view = look(parse(text, weights, 17))
    product = weights["s"].astype(np.float64) * weights["t"]
    for off, holds in ((0.0, True), (1e-7, True), (5e-6, False)):
        rounded = (product * (1 + off)).astype(np.float32)
        proof = prove(view, _rewrite(view, _node("Mul", "x st", "y"), constants={"st": rounded}))
        assert proof.holds == holds, (off, proof)


def test_without_new_constants_both_sides_agree_to_double_precision() -> None:
    text = "g (float[1, 8, 6, 6] x) => (float[1, 8, 6, 6] y) { a = Mul (x, s) y = Mul (a, t) }"
    weights = _weights(s=(8, 1, 1), t=(8, 1, 1))
    view = look(parse(text, {**weights, "t2": weights["t"] * np.float32(1 + 2**-20)}, 17))
    right = prove(view, _rewrite(view, _node("Mul", "x t", "a1"), _node("Mul", "a1 s", "y")))
    assert right.holds
    wrong = prove(view, _rewrite(view, _node("Mul", "x t2", "a1"), _node("Mul", "a1 s", "y")))
    assert not wrong.holds


def test_real_activations_are_tried_too() -> None:
    """Two sides that differ beyond a threshold which drawn inputs do not reach."""
    text = "g (float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y) { y = Identity (x) }"
    view = look(parse(text, {"far": np.array(1e6, np.float32)}, 17))
    rewrite = _rewrite(view, _node("Min", "x far", "y"))
    assert prove(view, rewrite).holds
    assert prove(view, rewrite, [{"x": np.ones((1, 2, 4, 4), np.float32)}]).holds
    proof = prove(view, rewrite, [{}, {"x": np.full((1, 2, 4, 4), 2e6, np.float32)}])
    assert not proof.holds
    assert "on real inputs of 1x2x4x4" in proof.reason


def test_a_lacking_activation_is_drawn() -> None:
    text = "g (float[1, 2, 4, 4] x, float[1, 2, 4, 4] z) => (float[1, 2, 4, 4] y) { y = Add (x, z) }"
    view = look(parse(text, {}, 17))
    rewrite = _rewrite(view, _node("Add", "z x", "y"))
    drawn = prove(view, rewrite).cases
    assert prove(view, rewrite, [{"x": np.ones((1, 2, 4, 4), np.float32)}]).cases == drawn + 1


def test_large_maps_shrink_and_keep_their_remainders() -> None:
    view, pool = _pooled((333, 256))
    border = Border(view, _rewrite(view, pool, _node("Conv", "p w b", "y")))
    (shapes,) = border.sizes()
    assert max(shapes["x"][2:]) <= SIDE + border.multiple
    assert [n % 2 for n in shapes["x"][2:]] == [1, 0]
    feed = np.zeros((1, 6, 333, 256), np.float32)
    assert border.cropped({"x": feed}, np.random.default_rng(0))["x"].shape == shapes["x"]


def test_free_sizes_are_tried_odd_and_even() -> None:
    """Right at even sizes only, and the model takes any."""
    text = "g (float[1, 2, {0}, 8] x) => (float[1, 2, k, 4] y) {{ y = MaxPool <{1}> (x) }}"
    pool = "kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1"
    after = _node("MaxPool", "x", "y", kernel_shape=(2, 2), strides=(2, 2))
    fixed = look(parse(text.format(8, pool), {}, 17))
    assert prove(fixed, _rewrite(fixed, after)).holds
    free = look(parse(text.format("rows", pool), {}, 17), {"x": (1, 2, 8, 8)})
    proof = prove(free, _rewrite(free, after))
    assert not proof.holds
    assert "of shape" in proof.reason


def test_maps_do_not_shrink_where_sizes_matter() -> None:
    text = "g (float[1, 2, 40, 30] x) => (float[1, 60, 40] y) { y = Reshape (x, to) }"
    view = look(parse(text, {"to": np.array([1, 60, 40], np.int64)}, 17))
    after = _node("Reshape", "x to2", "y")
    right = _rewrite(view, after, constants={"to2": np.array([1, -1, 40], np.int64)})
    assert next(Border(view, right).sizes()) == {"x": (1, 2, 40, 30)}
    assert prove(view, right).holds


def test_maps_of_several_sizes_shrink_together() -> None:
    text = """g (float[1, 2, 80, 60] x, float[1, 2, 40, 30] z) => (float[1, 2, 80, 60] y) {
        r = Resize <mode = "nearest"> (z, , up)
        y = Add (x, r)
    }"""
    view = look(parse(text, {"up": np.array([1, 1, 2, 2], np.float32)}, 17))
    rewrite = _rewrite(
        view, Node("r/new", "Resize", "", ("z", "", "up"), ("r1",), {"mode": "nearest"}), _node("Add", "r1 x", "y")
    )
    (shapes,) = Border(view, rewrite).sizes()
    assert [2 * n for n in shapes["z"][2:]] == list(shapes["x"][2:])
    assert max(shapes["x"]) < 80
    assert prove(view, rewrite).holds


def test_a_gate_of_one_pixel_stays_one() -> None:
    text = "g (float[1, 4, 90, 80] x, float[1, 4, 1, 1] z) => (float[1, 4, 90, 80] y) { y = Mul (x, z) }"
    view = look(parse(text, {}, 17))
    rewrite = _rewrite(view, _node("Mul", "z x", "y"))
    border = Border(view, rewrite)
    (shapes,) = border.sizes()
    assert shapes["z"] == (1, 4, 1, 1)
    assert max(shapes["x"]) <= SIDE
    feed = {"x": np.ones((1, 4, 90, 80), np.float32), "z": np.ones((1, 4, 1, 1), np.float32)}
    assert prove(view, rewrite, [feed]).holds
    assert {name: a.shape for name, a in border.cropped(feed, np.random.default_rng(0)).items()} == shapes


def test_a_window_wider_than_a_shrunk_map_takes_a_larger_one() -> None:
    view = look(
        parse(
            "g (float[1, 2, 70, 70] x) => (float[1, 3, h, w] y) { y = Conv <dilations = [18, 18]> (x, w) }",
            _weights(w=(3, 2, 3, 3)),
            17,
        )
    )
    assert prove(view, _rewrite(view, _node("Conv", "x w", "y", dilations=(18, 18)))).holds
    assert not prove(view, _rewrite(view, _node("Conv", "x w", "y", dilations=(18, 17)))).holds


@pytest.mark.parametrize("attributes", [{"strides": (0, 0)}, {"strides": (2,)}, {"group": 0}, {"pads": (1,)}])
def test_attributes_that_make_no_sense_are_objected_to(attributes: dict[str, Any]) -> None:
    view, pool = _pooled()
    proof = prove(view, _rewrite(view, pool, _node("Conv", "p w b", "y", **attributes)))
    assert not proof.holds
    assert proof.reason


def test_constants_alone_are_compared_once() -> None:
    view = look(
        parse(
            "g () => (float[2] y) { y = Add (a, b) }",
            {"a": np.array([1, 2], np.float32), "b": np.array([3, 4], np.float32)},
            17,
        )
    )
    assert (
        prove(view, _rewrite(view, _node("Identity", "c", "y"), constants={"c": np.array([4, 6], np.float32)})).cases
        == 1
    )
    assert not prove(
        view, _rewrite(view, _node("Identity", "c", "y"), constants={"c": np.array([4, 7], np.float32)})
    ).holds


def test_a_shape_that_the_model_computes_is_the_one_that_comes_out() -> None:
    text = """g (float[2, 3, 4] x, int64[2] to) => (float[6, 4] y) { y = Reshape (x, to) }"""
    view = look(parse(text, {}, 17))
    after = _node("Reshape", "x fixed", "y")
    view = View(view.graph, view.shapes, {**view.sizes, "y": (6, 4)}, view.types)
    assert prove(view, _rewrite(view, after, constants={"fixed": np.array([-1, 4])})).holds
    assert not prove(view, _rewrite(view, after, constants={"fixed": np.array([4, -1])})).holds
