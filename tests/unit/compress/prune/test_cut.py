"""The smaller graph: what a cut refuses, what it leaves alone, and what becomes of constants that layers share."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from reconv.compress.prune.cut import cut
from reconv.compress.prune.groups import groups_of
from reconv.compress.prune.moments import Moments, moments
from reconv.compress.prune.table import trace
from reconv.engine.tail import open_session
from reconv.errors import ModelError
from reconv.graph import Graph, check, parse, to_onnx
from reconv.optimize.values import RuntimeForward

Array = np.ndarray[Any, Any]


def some(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def ints(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


def run(graph: Graph, x: Array) -> list[Array]:
    return [np.asarray(y) for y in open_session(to_onnx(graph).SerializeToString(), 1).run(None, {"x": x})]


TWO = "g (float[1, 3, 5, 5] x) => (float[1, 2, 5, 5] y) { c = Conv (x, w, b) r = Relu (c) y = Conv (r, v) }"


def two(**more: Array) -> Graph:
    return parse(TWO, {"w": some(8, 3, 1, 1), "b": some(8), "v": some(2, 8, 1, 1, seed=1), **more})


def test_a_unit_that_has_to_stay_is_refused() -> None:
    walk = trace(two())
    with pytest.raises(ModelError, match="has to stay: y is an output"):
        cut(walk, walk.atoms.roots(walk.layers[1].outs)[:1].tolist())


def test_one_channel_of_several_that_go_together_is_refused() -> None:
    graph = parse(
        "g (float[1, 3, 5, 5] x) => (float[1, 2, 5, 5] y) "
        "{ c = Conv (x, w) d = Conv (x, u) s = Add (c, d) y = Conv (s, v) }",
        {"w": some(8, 3, 1, 1), "u": some(8, 3, 1, 1), "v": some(2, 8, 1, 1)},
    )
    walk = trace(graph)
    with pytest.raises(ModelError, match="goes together with others"):
        cut(walk, walk.layers[1].outs[:1].tolist())


def test_channels_that_were_not_followed_rightly_are_seen() -> None:
    """What an Add reads is taken apart by hand: one side loses a channel, the other does not."""
    graph = parse(
        "g (float[1, 3, 5, 5] x) => (float[1, 2, 5, 5] y) "
        "{ c = Conv (x, w) d = Conv (x, u) s = Add (c, d) y = Conv (s, v) }",
        {"w": some(8, 3, 1, 1), "u": some(8, 3, 1, 1), "v": some(2, 8, 1, 1)},
    )
    walk = trace(graph)
    walk.sites = [site for site in walk.sites if site.node.inputs[site.place] != "u"]
    with pytest.raises(ModelError, match=r"not followed rightly|cannot be inferred"):
        cut(walk, list(groups_of(walk)[0].roots[:2]))


def test_names_stay_and_sizes_inside_are_inferred_again() -> None:
    graph = two()
    walk = trace(graph)
    made = cut(walk, list(groups_of(walk)[0].roots[:3]))
    assert {name: array.shape for name, array in made.constants.items()} == {
        "w": (5, 3, 1, 1), "b": (5,), "v": (2, 5, 1, 1),
    }  # fmt: skip
    assert [node.name for node in made.nodes] == [node.name for node in graph.nodes]
    shapes = {i.name: [d.dim_value for d in i.type.tensor_type.shape.dim] for i in to_onnx(made).graph.value_info}
    assert shapes["r"] == [1, 5, 5, 5]
    check(made)
    x = some(1, 3, 5, 5)
    kept = run(graph, x)[0] - np.einsum("oc,nchw->nohw", graph.constants["v"][:, :3, 0, 0], _relu(graph, x)[:, :3])
    np.testing.assert_allclose(run(made, x)[0], kept, atol=1e-5)


def _relu(graph: Graph, x: Array) -> Array:
    w, b = graph.constants["w"], graph.constants["b"]
    return np.asarray(np.maximum(np.einsum("oc,nchw->nohw", w[:, :, 0, 0], x) + b[:, None, None], 0))


def test_a_constant_that_two_layers_read_is_written_twice_where_they_lose_different_channels() -> None:
    graph = parse(
        "g (float[1, 3, 5, 5] x) => (float[1, 2, 5, 5] y) "
        "{ c = Conv (x, w, b) r = Relu (c) d = Conv (r, u, b) s = Relu (d) y = Conv (s, v) }",
        {"w": some(8, 3, 1, 1), "b": some(8), "u": some(8, 8, 1, 1), "v": some(2, 8, 1, 1)},
    )
    walk = trace(graph)
    first, second = groups_of(walk)
    made = cut(walk, [*first.roots[:2], *second.roots[4:]])
    reads = {node.outputs[0]: node.inputs[2] for node in made.nodes if node.op_type == "Conv" and len(node.inputs) > 2}
    np.testing.assert_array_equal(made.constants[reads["c"]], graph.constants["b"][2:])
    np.testing.assert_array_equal(made.constants[reads["d"]], graph.constants["b"][:4])


@pytest.mark.parametrize("opset", [9, 11, 13, 18])
def test_splits_and_slices_follow_in_every_opset(opset: int) -> None:
    constants = {
        "w": some(8, 3, 1, 1),
        "v": some(2, 8, 1, 1),
        "a": ints(0),
        "e": ints(5),
        "k": ints(1),
    }
    by_attribute = opset < 13
    split = "p, q = Split <axis = 1, split = [3, 5]> (c)" if by_attribute else "p, q = Split <axis = 1> (c, sizes)"
    cropped = "r = Slice <axes = [1], starts = [0], ends = [5]> (q)" if opset < 10 else "r = Slice (q, a, e, k)"
    if not by_attribute:
        constants["sizes"] = ints(3, 5)
    text = f"g (float[1, 3, 5, 5] x) => (float[1, 2, 5, 5] y) {{ c = Conv (x, w) {split} {cropped} "
    graph = parse(text + "s = Concat <axis = 1> (r, p) y = Conv (s, v) }", constants, opset)
    walk = trace(graph)
    gone = [group.roots[0] for group in groups_of(walk)]
    assert len(gone) == 2
    made = cut(walk, gone)
    onnx.checker.check_model(to_onnx(made), full_check=True)
    sizes = {i.name: i.type.tensor_type.shape.dim[1].dim_value for i in to_onnx(made).graph.value_info}
    assert (sizes["p"], sizes["q"], sizes["r"], sizes["s"]) == (2, 4, 4, 6)


def test_what_stays_stands_in_for_what_goes() -> None:
    """Channels that are sums of others are removed without a trace, once samples have shown that they are."""
    w, b = some(8, 3, 1, 1), some(8)
    w[6], b[6] = w[0] + 2 * w[1], b[0] + 2 * b[1] + 3
    w[7], b[7] = 0, 1.5
    text = TWO.replace("r = Relu (c)", "r = Identity (c)")
    graph = parse(text, {"w": w, "b": b, "v": some(2, 8, 1, 1, seed=1)})
    walk = trace(graph)
    samples = [{"x": some(1, 3, 5, 5, seed=seed)} for seed in range(6)]
    (group,) = groups_of(walk)
    gone = [group.roots[6], group.roots[7]]
    x = some(1, 3, 5, 5, seed=99)
    plain, known = cut(walk, gone), cut(walk, gone, moments(walk, RuntimeForward(), samples, together=True))
    want = run(graph, x)[0]
    assert np.abs(run(plain, x)[0] - want).max() > 0.5
    np.testing.assert_allclose(run(known, x)[0], want, atol=0.02)  # the ridge is a thousandth of the variance


def test_the_mean_error_is_zero_on_the_samples() -> None:
    graph = two()
    walk = trace(graph)
    samples = [{"x": some(1, 3, 5, 5, seed=seed)} for seed in range(4)]
    for together in (False, True):
        made = cut(
            walk, list(groups_of(walk)[0].roots[1:5]), moments(walk, RuntimeForward(), samples, together=together)
        )
        off = np.mean([run(made, s["x"])[0] - run(graph, s["x"])[0] for s in samples], axis=(0, 1, 3, 4))
        np.testing.assert_allclose(off, 0, atol=1e-5)


def test_moments_of_many_samples_are_those_of_all_values_together() -> None:
    graph = two()
    walk = trace(graph)
    samples = [{"x": some(1, 3, 5, 5, seed=seed) + 5} for seed in range(5)]
    found = moments(walk, RuntimeForward(), samples, together=True)["r"]
    rows = np.concatenate([_relu(graph, s["x"])[0].reshape(8, -1) for s in samples], axis=1).astype(np.float64)
    np.testing.assert_allclose(found.mean, rows.mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(found.variance, rows.var(axis=1), rtol=1e-4, atol=1e-6)
    assert found.covariance is not None
    np.testing.assert_allclose(found.covariance, np.cov(rows, bias=True), rtol=1e-4, atol=1e-5)


def test_without_covariances_a_channel_is_stood_in_for_by_its_mean() -> None:
    factors, rest = Moments(np.array([1.0, 2.0, 3.0]), np.array([2.0, 5.0, 10.0])).stand_in(
        np.array([True, False, True])
    )
    assert not factors.any()
    assert rest.tolist() == [2.0]
