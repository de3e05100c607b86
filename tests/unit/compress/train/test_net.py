"""A graph as a torch module: the same results, the right constants as weights, and the way back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reconv.compress.train.net import Net
from reconv.compress.train.operators import OPERATORS
from reconv.engine.lower import LOWERINGS
from reconv.errors import InputError, ModelError
from reconv.graph import parse
from tests.unit.compress.train.nets import Array, blobs, by_runtime, classifier, number, quantized, tensors


def test_every_operator_of_the_engine_has_a_function() -> None:
    assert set(LOWERINGS) <= set(OPERATORS)


def test_results_are_those_of_onnx_runtime_and_nothing_changes() -> None:
    graph = classifier()
    feeds = {"x": np.concatenate([sample["x"] for sample in blobs(5)[0]])}
    net = Net(graph).eval()
    with torch.no_grad():
        found = net(tensors(feeds))["logits"].numpy()
    np.testing.assert_allclose(found, by_runtime(graph, feeds)[0], atol=1e-5)
    again = net.graph()
    assert again.nodes == graph.nodes
    for name, array in graph.constants.items():
        np.testing.assert_array_equal(again.constants[name], array)


def test_values_inside_can_be_asked_for() -> None:
    net = Net(classifier()).eval()
    found = net(tensors(blobs(1)[0][0]), ["p", "x", "w1"])
    assert found["p"].shape == (1, 6, 1, 1)
    assert found["x"].shape == (1, 2, 8, 8)
    with pytest.raises(InputError, match="no value 'nothing'"):
        net(tensors(blobs(1)[0][0]), ["nothing"])
    with pytest.raises(InputError, match="input 'x' is missing"):
        net({})


def test_weights_are_constants_that_layers_read_and_no_others() -> None:
    assert set(Net(classifier()).trained) == {"w1", "w2", "b2", "head", "bias", "scale", "shift"}
    swish = parse(
        """s (float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y) {
            centred = Sub (x, means) c = Conv (centred, w) biased = Add (c, bias) t = Add (biased, three)
            k = Clip (t, low, high) y = Mul (biased, k) }""",
        {
            "means": np.ones((1, 2, 1, 1), np.float32), "w": np.ones((2, 2, 1, 1), np.float32),
            "bias": np.ones((1, 2, 1, 1), np.float32), "three": number(3), "low": number(0),
            "high": number(6),
        },
    )  # fmt: skip
    assert set(Net(swish).trained) == {"w", "bias"}


def test_weights_behind_moves_and_codebooks_are_found() -> None:
    graph = parse(
        """s (float[1, 2, 4, 4] x) => (float[1, 3, 4, 4] y) {
            flat = Gather (book, places) w = Reshape (flat, shape) y = Conv (x, w) }""",
        {
            "book": np.array([0.5, -0.25], np.float32), "places": np.array([0, 1, 1, 0, 1, 1], np.uint8),
            "shape": np.array([3, 2, 1, 1], np.int64),
        },
    )  # fmt: skip
    net = Net(graph)
    assert net.trained == ("book",)
    net(tensors({"x": np.ones((1, 2, 4, 4), np.float32)}))["y"].sum().backward()
    np.testing.assert_allclose(net.gradients()["book"], [32, 64])


def test_gradients_are_the_slopes() -> None:
    """Against differences in float64 numbers of the loss, along random directions."""
    graph = classifier(norm=False)
    feeds = tensors({"x": np.concatenate([sample["x"] for sample in blobs(4)[0]])})
    net = Net(graph).eval()
    net(feeds)["logits"].square().sum().backward()
    slopes = net.gradients()
    for name in net.trained:
        direction = np.random.default_rng(3).standard_normal(graph.constants[name].shape)
        losses = []
        for sign in (1, -1):
            moved = Net(graph).double().eval()
            weight = moved.parameter(name)
            assert weight is not None
            weight.data += sign * 1e-4 * torch.tensor(direction)
            losses.append(float(moved({"x": feeds["x"].double()})["logits"].square().sum().detach()))
        slope = (losses[0] - losses[1]) / 2e-4
        assert float((slopes[name] * direction).sum()) == pytest.approx(slope, rel=2e-3, abs=1e-3)


def test_batch_norms_learn_their_statistics_or_are_frozen() -> None:
    graph = classifier()
    feeds = tensors({"x": np.concatenate([sample["x"] for sample in blobs(16)[0]])})
    learning, frozen = Net(graph).train(), Net(graph, norm="frozen").train()
    maps = learning(feeds, ["c", "n"])
    frozen(feeds)
    mean = maps["c"].detach().mean((0, 2, 3)).numpy()
    np.testing.assert_allclose(
        learning.graph().constants["mean"], 0.9 * graph.constants["mean"] + 0.1 * mean, rtol=1e-4, atol=1e-6
    )
    np.testing.assert_array_equal(frozen.graph().constants["mean"], graph.constants["mean"])
    spread = (maps["n"].detach() / learning.parameter("scale").reshape(-1, 1, 1)).var((0, 2, 3))  # type: ignore[union-attr]
    np.testing.assert_allclose(spread.detach().numpy(), np.ones(6), atol=0.02)


def test_learnt_weights_come_back_and_the_nodes_stay() -> None:
    graph = classifier()
    net = Net(graph)
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.125)
    back = net.graph()
    feeds = {"x": blobs(1)[0][0]["x"]}
    np.testing.assert_array_equal(back.constants["w2"], graph.constants["w2"] + np.float32(0.125))
    with torch.no_grad():
        np.testing.assert_allclose(by_runtime(back, feeds)[0], net.eval()(tensors(feeds))["logits"].numpy(), atol=1e-5)


# --- codes


def frames() -> dict[str, Array]:
    return {"x": np.random.default_rng(2).normal(0, 1, (3, 2, 6, 6)).astype(np.float32)}


def test_codes_give_the_very_results_of_onnx_runtime() -> None:
    graph = quantized()
    net = Net(graph).eval()
    assert set(net.trained) == {"codes", "bias"}
    with torch.no_grad():
        found = net(tensors(frames()))["y"].numpy()
    off = np.abs(found - by_runtime(graph, frames())[0]) / 0.05
    assert off.max() < 1.01  # one code, where a sum lies on the border between two
    assert (off > 0.01).mean() < 0.01
    for name, array in net.graph().constants.items():
        np.testing.assert_array_equal(array, graph.constants[name])


def test_codes_learn_straight_through_and_come_back_as_codes() -> None:
    graph = quantized()
    net = Net(graph)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.2)
    target = torch.zeros(3, 4, 6, 6)
    losses = []
    for _ in range(15):
        loss = (net(tensors(frames()))["y"] - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 2
    back = net.graph()
    assert back.constants["codes"].dtype == np.int8
    assert (back.constants["codes"] != graph.constants["codes"]).any()
    with torch.no_grad():
        found = net(tensors(frames()))["y"].numpy()
    assert np.abs(found - by_runtime(back, frames())[0]).max() <= 0.051


def test_scales_learn_by_the_formula_of_lsq_and_stay_equal() -> None:
    graph = quantized()
    net = Net(graph, scales="learned")
    assert set(net.trained) == {"codes", "bias", "xs", "ys", "ws"}  # bs is a product of two of them
    net(tensors(frames()))["y"].sum().backward()
    with torch.no_grad():
        for name in ("xs", "ys", "ws"):
            weight = net.parameter(name)
            assert weight is not None
            assert weight.grad is not None
            assert (weight.grad != 0).any()
            weight.mul_(1.25)
    back = net.graph()
    np.testing.assert_allclose(back.constants["xs"], 0.025, rtol=1e-6)
    np.testing.assert_allclose(back.constants["bs"], back.constants["xs"] * back.constants["ws"], rtol=1e-6)
    with torch.no_grad():
        found = net(tensors(frames()))["y"].numpy()
    off = np.abs(found - by_runtime(back, frames())[0])
    assert off.max() <= 0.0626
    assert (off > 1e-4).mean() < 0.02


def test_a_scale_has_the_slope_of_lsq() -> None:
    """Inside round(x / s) - x / s, beyond the codes their bound: Esser et al. (2020), formula 3."""
    graph = parse(
        """g (float[4] x) => (float[4] y) { q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z) }""",
        {"s": number(0.5), "z": number(0, "int8")},
    )
    net = Net(graph, scales="learned")
    net({"x": torch.tensor([0.6, -1.9, 100.0, -100.0])})["y"].sum().backward()
    gain = 1 / np.sqrt(127)
    slope = (1 - 1.2) + (-4 + 3.8) + 127 - 128
    np.testing.assert_allclose(net.gradients()["s"], slope * gain, rtol=1e-4)


BELOW_SIX = float(np.nextafter(np.float32(6 / 255), np.float32(0)))  # 255 times the float next to 6 / 255 are above 6


@pytest.mark.parametrize(
    ("clip", "scale", "zero", "wanted"),
    [
        ("Clip (x, low, six)", BELOW_SIX, 0, BELOW_SIX),
        ("Clip (x, low, six)", 0.02, 0, BELOW_SIX),
        ("Clip (x, below, six)", 0.01, 128, 2 / 128),
        ("Clip (x, low, six)", 0.03, 0, None),  # began above: the Clip does something
        ("Clip (x, , six)", 0.01, 128, None),  # open below, where there are codes
        ("Clip (x, , six)", 0.01, 0, 6 / 255),
        ("Relu (x)", 0.02, 0, None),
    ],
)
def test_a_scale_that_learns_behind_a_clip_ends_with_it(
    clip: str, scale: float, zero: int, wanted: float | None
) -> None:
    graph = parse(
        f"g (float[4] x) => (float[4] y) {{ c = {clip} q = QuantizeLinear (c, s, z) y = DequantizeLinear (q, s, z) }}",
        {"s": np.asarray(scale, np.float32), "z": number(zero, "uint8"),
         "low": number(0), "below": number(-2), "six": number(6)},
    )  # fmt: skip
    net = Net(graph, scales="learned")
    weight = net.parameter("s")
    assert weight is not None
    with torch.no_grad():
        weight.mul_(10)
    found = net.graph().constants["s"]
    np.testing.assert_allclose(found, 10 * scale if wanted is None else wanted, rtol=1e-6)
    if wanted is not None:
        assert found * np.float32(255 - zero) <= 6
        net({"x": torch.tensor([0.6, 1.9, 0.7, 1.1])})["y"].sum().backward()
        assert weight.grad is not None
        assert weight.grad != 0  # it may come back


# --- what cannot be trained


def test_an_unknown_operator_is_named() -> None:
    graph = parse("g (float[4] x) => (float[4] y) { y = Cos (x) }", {})
    with pytest.raises(ModelError, match=r"Cos.*cannot be trained: no torch function"):
        Net(graph)


def test_random_numbers_are_refused() -> None:
    graph = parse("g (float[4] x) => (float[4] y) { r = RandomNormalLike (x) y = Add (x, r) }", {})
    with pytest.raises(ModelError, match="draws random numbers"):
        Net(graph)


def test_sizes_that_do_not_fit_are_one_line() -> None:
    with pytest.raises(ModelError, match=r"'Conv_0' \(Conv\) does not work in training"):
        Net(classifier())({"x": torch.zeros(1, 5, 8, 8)})


def test_shapes_computed_on_the_way_follow_the_sizes() -> None:
    graph = parse(
        """g (float[n, 2, h, w] x) => (float[n, m] y) {
            s = Shape (x) first = Gather (s, zero) lead = Unsqueeze (first, axes) to = Concat <axis = 0> (lead, rest)
            y = Reshape (x, to) }""",
        {"zero": number(0, "int64"), "axes": np.array([0], np.int64), "rest": np.array([-1], np.int64)},
    )
    net = Net(graph)
    for shape in ((1, 2, 4, 4), (3, 2, 4, 6)):
        x = torch.rand(shape)
        torch.testing.assert_close(net({"x": x})["y"], x.reshape(shape[0], -1))
