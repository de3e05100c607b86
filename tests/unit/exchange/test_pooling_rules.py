"""What rules read as a pooling over space, which windows may be empty, and the odd forms that files have."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules import RULES, conv1x1_before_pool, max_pool_before_activation, pool_before_conv1x1
from reconv.exchange.rules.affine import Weights
from reconv.exchange.rules.pooling import Pool, read_pool
from reconv.exchange.view import View, look, look_again
from reconv.graph import Rewrite, to_onnx


def _view(text: str, weights: Weights | None = None, opset: int = 17) -> View:
    return look(Example(text, weights or {}, opset).graph())


def _answers(rule: Rule, view: View) -> list[Answer]:
    return [answer for node in view.graph.nodes if (answer := rule.match(view, node)) is not None]


def _pool(op: str, x: str = "float[1, 2, 8, 8]") -> Pool:
    view = _view(f"g ({x} x) => (float[1, 2, h, w] y) {{ y = {op} (x) }}", opset=19)
    found = read_pool(view, view.graph.nodes[0])
    assert isinstance(found, Pool)
    return found


@pytest.mark.parametrize(
    ("attributes", "empty"),
    [
        ("kernel_shape = [2, 2]", False),
        ("kernel_shape = [1, 1], strides = [3, 3]", False),
        ("kernel_shape = [3, 3], pads = [1, 1, 1, 1]", False),
        ("kernel_shape = [3, 3], pads = [2, 2, 2, 2]", False),
        ("kernel_shape = [3, 3], pads = [0, 3, 0, 0]", True),
        ("kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1], ceil_mode = 1", False),
        ("kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1", False),
        ("kernel_shape = [2, 2], strides = [3, 3], ceil_mode = 1", True),
        ("kernel_shape = [2, 2], strides = [2, 2], pads = [0, 0, 1, 1], ceil_mode = 1", True),
        ("kernel_shape = [2, 2], dilations = [3, 3]", False),
        ("kernel_shape = [2, 2], dilations = [3, 3], pads = [1, 1, 1, 1]", True),
        ('kernel_shape = [3, 3], auto_pad = "SAME_LOWER", strides = [2, 2]', False),
        ('kernel_shape = [2, 2], auto_pad = "VALID", strides = [2, 2]', False),
    ],
)
def test_windows_that_may_be_empty(attributes: str, empty: bool) -> None:
    assert _pool(f"MaxPool <{attributes}>").empty_window is empty


@pytest.mark.parametrize("begin", range(3))
@pytest.mark.parametrize("end", range(3))
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("ceil", [0, 1])
def test_no_window_that_counts_as_full_is_empty(begin: int, end: int, stride: int, ceil: int) -> None:
    """At every size up to 9, over the formula of the output's size in ONNX's page of MaxPool."""
    op = f"MaxPool <kernel_shape = [3], strides = [{stride}], pads = [{begin}, {end}], ceil_mode = {ceil}>"
    pool = _pool(op, "float[1, 2, n]")
    for size in range(1, 10):
        span = size + begin + end - 3
        if span < 0:
            continue
        count = (-(-span // stride) if ceil else span // stride) + 1
        starts = [at * stride - begin for at in range(count)]
        if any(start + 2 < 0 or start >= size for start in starts):
            assert pool.empty_window


@pytest.mark.parametrize(
    ("op", "shrinks"),
    [
        ("GlobalAveragePool", True),
        ("AveragePool <kernel_shape = [8, 8]>", True),
        ("AveragePool <kernel_shape = [3, 3]>", False),
        ("AveragePool <kernel_shape = [3, 3], strides = [1, 2]>", True),
    ],
)
def test_what_shrinks(op: str, shrinks: bool) -> None:
    assert _pool(op).shrinks is shrinks


def test_a_large_window_at_a_free_size_does_not_count_as_shrinking() -> None:
    assert not _pool("AveragePool <kernel_shape = [8, 8]>", "float[1, 2, h0, w0]").shrinks


@pytest.mark.parametrize(
    ("opset", "axes", "fires"),
    [
        (13, "<axes = [2, 3]>", True),
        (13, "<axes = [-1, -2], keepdims = 0>", True),
        (13, "<axes = [3]>", False),
        (13, "<axes = [1, 2, 3]>", False),
        (13, "", False),
        (18, "a", True),
        (18, "", False),
    ],
)
def test_means_over_space(opset: int, axes: str, fires: bool) -> None:
    more, attributes = (", a", "") if axes == "a" else ("", axes)
    rank = "float[1, 3]" if "keepdims = 0" in axes else "float[?, ?, ?, ?]"
    text = f"g (float[1, 6, 5, 4] x) => ({rank} y) {{ c = Conv (x, w, b)  y = ReduceMean {attributes} (c{more}) }}"
    weights: Weights = {"w": (3, 6, 1, 1), "b": (3,), **({"a": np.array([-2, 3])} if more else {})}
    view = _view(text, weights, opset)
    answers = _answers(pool_before_conv1x1.RULE, view)
    assert [isinstance(answer, Rewrite) for answer in answers] == [True] * fires
    for answer in answers:
        assert isinstance(answer, Rewrite)
        x = np.random.default_rng(0).standard_normal((1, 6, 5, 4)).astype(np.float32)
        models = (to_onnx(view.graph), to_onnx(look_again(view, answer).graph))
        old, new = (
            onnxruntime.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})
            for m in models
        )
        np.testing.assert_allclose(new[0], old[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("outs", "last"), [(3, "AveragePool"), (9, "Conv"), (6, "")])
def test_the_two_orders_at_stride_1_do_not_go_round(outs: int, last: str) -> None:
    """Whichever order has fewer channels under the pooling, and its result stays as it is."""
    for first, second in (("Conv {} (x, w)", "AveragePool {} (c)"), ("AveragePool {} (x)", "Conv {} (c, w)")):
        lines = [line.format("<kernel_shape = [3, 3]>" if "Pool" in line else "") for line in (first, second)]
        text = f"g (float[1, 6, 9, 9] x) => (float[1, {outs}, 7, 7] y) {{ c = {lines[0]}  y = {lines[1]} }}"
        view = _view(text, {"w": (outs, 6, 1, 1)})
        steps = 0
        while step := next(
            (
                answer
                for module in (conv1x1_before_pool, pool_before_conv1x1)
                for answer in _answers(module.RULE, view)
                if isinstance(answer, Rewrite)
            ),
            None,
        ):
            view = look_again(view, step)
            steps += 1
            assert steps < 3
        made = view.producer("y")
        assert made is not None
        assert made.op_type == (last or second.split()[0])


@pytest.mark.parametrize("kind", ["Relu", "Sigmoid", "Softplus", "PRelu", "Selu", "Celu"])
def test_only_float32_moves(kind: str) -> None:
    more, weights = (", a", {"a": np.ones((2, 1, 1))}) if kind == "PRelu" else ("", {})
    text = f"""g (double[1, 2, 8, 8] x) => (double[1, 2, 4, 4] y) {{
        r = {kind} (x{more})
        y = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (r)
    }}"""
    (answer,) = _answers(max_pool_before_activation.RULE, _view(text, weights))
    assert isinstance(answer, Refusal)
    assert "not of float32" in answer.reason


def test_bounds_of_a_clip_may_be_computed() -> None:
    text = """g (float[1, 2, 8, 8] x, float low) => (float[1, 2, 4, 4] y) {
        r = Clip (x, low)
        y = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (r)
    }"""
    (answer,) = _answers(max_pool_before_activation.RULE, _view(text))
    assert isinstance(answer, Rewrite)
    assert answer.after[1].inputs[1] == "low"


@pytest.mark.parametrize("rule", [pytest.param(r, id=r.name) for r in RULES if r.family in ("batch norm", "pooling")])
def test_another_domain_is_another_operator(rule: Rule) -> None:
    view = look(rule.example.graph())
    assert [rule.match(view, replace(node, domain="mine")) for node in view.graph.nodes] == [None] * len(
        view.graph.nodes
    )
