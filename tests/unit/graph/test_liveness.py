"""Bytes of maps that are alive at once."""

from __future__ import annotations

import numpy as np

from reconv.exchange.view import look
from reconv.graph import live_bytes, operations, parse, peak_bytes, value_bytes


def test_a_chain_needs_two_maps_at_once() -> None:
    view = look(
        parse(
            """g (float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y) {
                a = Relu (x)
                b = Neg (a)
                y = Relu (b)
            }""",
            {},
        )
    )
    one = 2 * 4 * 4 * 4
    assert live_bytes(view.graph, view.sizes, view.types) == (2 * one, 2 * one, 2 * one)
    assert peak_bytes(view.graph, view.sizes, view.types) == 2 * one


def test_a_skip_is_alive_until_it_is_read() -> None:
    view = look(
        parse(
            """g (float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y) {
                a = Relu (x)
                b = Neg (a)
                c = Relu (b)
                y = Add (a, c)
            }""",
            {},
        )
    )
    one = 2 * 4 * 4 * 4
    assert live_bytes(view.graph, view.sizes, view.types) == (2 * one, 2 * one, 3 * one, 3 * one)


def test_outputs_live_to_the_end_and_constants_do_not_count() -> None:
    view = look(
        parse(
            "g (float[4] x) => (float[4] y, float[4] z) { y = Add (x, k) z = Neg (y) }", {"k": np.ones(4, np.float32)}
        )
    )
    assert live_bytes(view.graph, view.sizes, view.types) == (32, 32)


def test_a_size_that_is_not_known_has_no_bytes() -> None:
    assert value_bytes("x", {"x": (1, None)}, {}) is None
    assert value_bytes("x", {}, {}) is None
    assert value_bytes("x", {"x": (3,)}, {"x": np.dtype(np.int64)}) == 24


def test_operations_count_products_or_elements() -> None:
    view = look(
        parse(
            """g (float[1, 3, 8, 8] x) => (float[1, 4, 4, 4] y) {
                a = Conv (x, w)
                b = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (a)
                y = Relu (b)
            }""",
            {"w": np.ones((4, 3, 1, 1), np.float32)},
        )
    )
    sizes = {**view.sizes, "w": (4, 3, 1, 1)}
    assert [operations(node, sizes) for node in view.graph.nodes] == [4 * 64 * 3, 4 * 64, 4 * 16]
    assert operations(view.graph.nodes[2], {}) is None
