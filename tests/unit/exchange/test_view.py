"""A graph as rules look at it."""

from __future__ import annotations

import numpy as np

from reconv.exchange.view import look, look_again
from reconv.graph import Rewrite, load, parse, to_onnx

TEXT = """g (float[n, 3, h, w] x) => (float[n, 4, p, q] y, float[n, 4, p, q] z) {
    c = Conv <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (x, w)
    y = Relu (c)
    t = Transpose <perm = [0, 1, 2, 3]> (y)
    z = Add (c, t)
}"""
WEIGHTS = {"w": np.ones((4, 3, 3, 3), np.float32)}


def test_shapes_hold_at_every_size_and_sizes_at_one() -> None:
    view = look(parse(TEXT, WEIGHTS), {"x": (1, 3, 8, 10)})
    assert view.shape("c") == (None, 4, None, None)
    assert view.sizes["c"] == (1, 4, 4, 5)
    assert view.shape("nothing") is None


def test_an_input_without_a_shape_has_no_rank_that_holds() -> None:
    proto = to_onnx(
        parse("g (float x, float s) => (float[n] y) { a = Add (x, k) y = Relu (a) }", {"k": np.ones(3, np.float32)})
    )
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    view = look(load(proto), {"x": (1, 3), "s": ()})
    assert (view.shape("x"), view.shape("a"), view.shape("s")) == (None, None, ())
    assert (view.sizes["x"], view.sizes["a"]) == ((1, 3), (1, 3))


def test_who_makes_and_who_reads() -> None:
    view = look(parse(TEXT, WEIGHTS))
    made = view.producer("y")
    assert made is not None
    assert made.op_type == "Relu"
    assert view.producer("x") is None
    assert [node.op_type for node in view.readers("c")] == ["Relu", "Add"]
    assert view.only_reader("c") is None  # two read it
    assert view.only_reader("y") is None  # it is an output too
    only = view.only_reader("t")
    assert only is not None
    assert only.op_type == "Add"
    assert view.is_output("z")
    assert not view.is_output("c")


def test_types() -> None:
    text = "g (float16[2] a, float[2] b) => (float16[2] y, float[2] z) { y = Neg (a) z = Add (b, k) }"
    view = look(parse(text, {"k": np.ones(2, np.float32)}))
    assert [view.is_float(name) for name in ("a", "b", "y", "z", "k", "nothing")] == [
        False,
        True,
        False,
        True,
        True,
        False,
    ]
    assert view.constant("b") is None
    assert view.constant("k") is not None


def test_fresh_names_are_never_given_twice() -> None:
    view = look(parse(TEXT, WEIGHTS))
    names = [view.fresh("c"), view.fresh("c"), view.fresh("w"), view.fresh("new"), view.fresh("")]
    assert len({*names, "c", "w", ""}) == 8
    node = view.node("Relu", ("c",), "out", alpha=None, beta=1)
    assert node.attributes == {"beta": 1}


def test_names_of_what_was_taken_out_stay_taken() -> None:
    view = look(parse(TEXT, WEIGHTS))
    relu = view.producer("y")
    assert relu is not None
    zero = view.fresh("zero")
    after = look_again(view, Rewrite((relu,), (view.node("Max", ("c", zero), "y"),), {zero: np.array(0, np.float32)}))
    assert after.fresh(relu.name) != relu.name


def test_after_a_rewrite_the_new_values_have_shapes_and_types() -> None:
    view = look(parse(TEXT, WEIGHTS), {"x": (1, 3, 8, 10)})
    relu = view.producer("y")
    assert relu is not None
    zero, between = view.fresh("zero"), view.fresh("between")
    nodes = (view.node("Max", ("c", zero), between), view.node("Identity", (between,), "y"))
    after = look_again(view, Rewrite((relu,), nodes, {zero: np.array(0, np.float32)}))
    assert after.shape(between) == (None, 4, None, None)
    assert after.sizes[between] == (1, 4, 4, 5)
    assert after.is_float(between)
    assert after.sizes["z"] == view.sizes["z"]


def test_a_model_without_nodes() -> None:
    view = look(parse("g (float[2] x) => (float[2] x) { }", {}))
    assert view.graph.nodes == ()
