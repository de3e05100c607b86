"""Where two graphs differ, cut out of both."""

from __future__ import annotations

import numpy as np
import onnxruntime

from reconv.exchange.region import region
from reconv.exchange.rule import Rule
from reconv.exchange.rules.pool_before_conv1x1 import RULE
from reconv.exchange.view import View, look, look_again
from reconv.graph import Rewrite, load, parse

TEXT = """g (float[1, 6, 8, 8] x) => (float[1, 4, 4, 4] y) {
    far = Exp (x)
    near = Neg (far)
    c = Conv (near, w)
    p = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (c)
    one = Relu (p)
    two = Sigmoid (one)
    three = Tanh (two)
    y = Neg (three)
}"""


def _swapped(view: View, rule: Rule = RULE) -> View:
    for node in view.graph.nodes:
        answer = rule.match(view, node)
        if isinstance(answer, Rewrite):
            return look_again(view, answer)
    raise AssertionError("the rule does not fire")


def test_it_takes_along_the_neighbours_and_nothing_else() -> None:
    view = look(parse(TEXT, {"w": np.ones((4, 6, 1, 1), np.float32)}))
    found = region(view, _swapped(view))
    assert found is not None
    before, after = load(found.before), load(found.after)
    assert [node.op_type for node in before.nodes] == ["Neg", "Conv", "AveragePool", "Relu", "Sigmoid"]
    assert [node.op_type for node in after.nodes] == ["Neg", "AveragePool", "Conv", "Relu", "Sigmoid"]
    assert found.shapes == {"far": (1, 6, 8, 8)}
    assert [info.name for info in before.outputs] == [info.name for info in after.outputs] == ["two"]


def test_both_parts_run_and_agree() -> None:
    weights = np.random.default_rng(0).standard_normal((4, 6, 1, 1)).astype(np.float32)
    view = look(parse(TEXT, {"w": weights}))
    found = region(view, _swapped(view))
    assert found is not None
    feeds = {"far": np.random.default_rng(1).standard_normal((1, 6, 8, 8)).astype(np.float32)}
    results = [
        onnxruntime.InferenceSession(part, providers=["CPUExecutionProvider"]).run(None, feeds)[0]
        for part in (found.before, found.after)
    ]
    np.testing.assert_allclose(results[0], results[1], atol=1e-6)


def test_the_same_graph_does_not_differ() -> None:
    view = look(parse(TEXT, {"w": np.ones((4, 6, 1, 1), np.float32)}))
    assert region(view, view) is None


def test_what_another_branch_reads_is_an_output_of_the_part() -> None:
    text = """g (float[1, 6, 8, 8] x) => (float[1, 4, 4, 4] y, float[1, 6, 8, 8] z) {
        near = Neg (x)
        z = Exp (near)
        c = Conv (near, w)
        y = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (c)
    }"""
    view = look(parse(text, {"w": np.ones((4, 6, 1, 1), np.float32)}))
    found = region(view, _swapped(view))
    assert found is not None
    assert {info.name for info in load(found.before).outputs} == {"near", "y"}


def test_a_free_size_cannot_be_cut() -> None:
    text = """g (float[1, 6, h, w] x) => (float[1, 4, p, q] y) {
        c = Conv (x, w)
        y = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (c)
    }"""
    graph = parse(text, {"w": np.ones((4, 6, 1, 1), np.float32)})
    free, fixed = look(graph), look(graph, {"x": (1, 6, 8, 8)})
    assert region(free, _swapped(free)) is None
    assert region(fixed, _swapped(fixed)) is not None
