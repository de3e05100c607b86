"""What quantization promises: histograms of chunks are those of the whole, corrected layers have no mean error,
evening out channels keeps the function."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from reconv.compress.quantize.calibrate import calibrate
from reconv.compress.quantize.clip import quantized_weights
from reconv.compress.quantize.correct import corrected_biases
from reconv.compress.quantize.equalize import equalize, find_groups
from reconv.compress.quantize.observers import BINS, Histogram, choose
from reconv.compress.quantize.place import find_layers, place
from reconv.compress.quantize.scheme import CALIBRATIONS, Codes, Scheme
from reconv.compress.quantize.write import bias_codes, weights_of
from reconv.engine.tail import open_session
from reconv.graph import parse, to_onnx
from reconv.optimize.values import RuntimeForward
from tests.unit.compress.quantize.nets import residual, samples

Array = np.ndarray[Any, Any]
FORWARD = RuntimeForward(1)
PLAIN = tuple(name for name in CALIBRATIONS if name != "layers")  # that one looks at layers, not at a histogram
VALUES = arrays(np.float32, st.integers(1, 60), elements=st.floats(-1e6, 1e6, width=32))


def histogram(*chunks: Array) -> Histogram:
    found = Histogram()
    for chunk in chunks:
        found.add(chunk)
    return found


def same(a: Histogram, b: Histogram) -> bool:
    facts = [(h.exponent, h.zeros, h.count, h.low, h.high) for h in (a, b)]
    return facts[0] == facts[1] and np.array_equal(a.counts, b.counts)


@pytest.mark.parametrize(("low", "high"), [(0.5, 2.0), (-2.0, -0.5), (0.0, 6.0), (-3.0, 3.0)])
@pytest.mark.parametrize("calibration", PLAIN)
def test_no_calibration_clips_what_there_is_most_of(calibration: str, low: float, high: float) -> None:
    """Also where no value lies near zero."""
    values = np.random.default_rng(0).uniform(low, high, 20_000).astype(np.float32)
    found = choose(histogram(values), calibration, 99.99)
    assert np.mean((values < found[0]) | (values > found[1])) < 0.06


@given(st.lists(VALUES, min_size=1, max_size=6))
@example([np.array([4096], np.float32), np.array([-1e-45], np.float32)])  # vanishes beside the other
@settings(max_examples=50, deadline=None)
def test_chunks_in_any_order_give_the_histogram_of_all_values(chunks: list[Array]) -> None:
    whole = histogram(np.concatenate(chunks))
    streamed = histogram(*reversed(chunks))
    merged = Histogram()
    for chunk in chunks:
        merged.merge(histogram(chunk))
    assert same(whole, streamed)
    assert same(whole, merged)
    assert whole.zeros + whole.counts.sum() == whole.count == sum(chunk.size for chunk in chunks)
    for calibration in PLAIN:
        assert choose(whole, calibration, 99.0) == choose(streamed, calibration, 99.0)


def test_a_lost_value_is_noticed() -> None:
    x = np.linspace(-1, 2, 50, dtype=np.float32)
    assert not same(histogram(x), histogram(x[:20], x[21:]))


@given(VALUES, st.sampled_from(PLAIN))
@settings(max_examples=100, deadline=None)
def test_ranges_lie_within_what_was_seen(x: Array, calibration: str) -> None:
    low, high = choose(histogram(x), calibration, 99.0)
    assert min(x.min(), 0) <= low <= high <= max(x.max(), 0) or low == high == 0 or calibration == "minmax"
    if calibration == "minmax" and x.any():
        assert (low, high) == (x.min(), x.max())


@given(st.integers(0, 2**31), st.floats(0.5, 4.0))
@settings(max_examples=40, deadline=None)
def test_mse_is_no_worse_than_the_full_range(seed: int, tail: float) -> None:
    random = np.random.default_rng(seed)
    x = (random.standard_t(tail, 3000)).astype(np.float32)
    seen = histogram(x)

    def error(calibration: str) -> float:
        codes = Codes.covering(*choose(seen, calibration, 99.9))
        return float(np.square(codes.rounded(x.astype(np.float64)) - x).sum())

    assert error("mse") <= error("minmax") * 1.02  # bins are no finer than a code over 8


@given(VALUES)
@settings(max_examples=100, deadline=None)
def test_codes_hold_zero_and_stay_within_the_range(x: Array) -> None:
    low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    codes = Codes.covering(low, high)
    assert codes.rounded(np.zeros(1)) == 0
    assert codes.zeros.shape == ()
    if low == 0 < high and codes != Codes(1.0, 0):
        assert codes.scales * np.float32(255) <= np.float32(high)


def test_bins_grow_by_pairs() -> None:
    seen = histogram(np.array([1.0], np.float32))
    exponent = seen.exponent
    assert exponent is not None
    seen.add(np.array([4.0, -4.0], np.float32))
    assert seen.exponent == exponent + 2
    assert seen.counts[BINS + int(1 / 2.0**seen.exponent)] == 1
    seen.add(np.array([np.nan, np.inf], np.float32))
    assert seen.count == 3


@given(st.integers(0, 2**31), st.booleans())
@settings(max_examples=30, deadline=None)
def test_clipped_weights_have_no_larger_error(seed: int, per_channel: bool) -> None:
    weight = np.random.default_rng(seed).standard_t(2, (5, 4, 3, 3)).astype(np.float32)

    def error(clip: bool) -> float:
        made = quantized_weights(weight, 0, per_channel=per_channel, clip=clip)
        return float(np.square(made.reals - weight).sum())

    assert error(True) <= error(False) * (1 + 1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_corrected_layers_have_no_mean_error_on_the_samples(seed: int) -> None:
    graph, feeds = residual(seed), samples(5, seed=seed)
    scheme = Scheme()
    places = place(graph, scheme)
    codes = calibrate(graph, places, feeds, FORWARD, scheme)
    biases = corrected_biases(graph, places, codes, feeds, FORWARD, scheme)
    assert set(biases) == {layer.name for layer in places.layers}
    for layer in places.layers:
        before = graph.constants[layer.bias] if layer.bias else np.float32(0)
        made = {"corrected": biases[layer.name], "before": before}
        means = {}
        for word, bias in made.items():
            total, size = 0.0, 0.0
            for values in FORWARD(graph, [layer.x, layer.y], feeds):
                old = graph.constants[layer.bias] if layer.bias else None
                weight = weights_of(graph, layer, codes[layer.x].scales, old, scheme).reals
                rounded = codes[layer.x].rounded(values[layer.x].astype(np.float64)).astype(np.float32)
                y = alone(layer, rounded, weight) + np.reshape(bias, (1, -1, 1, 1))
                total = total + (y - values[layer.y]).mean((0, 2, 3), dtype=np.float64)
                size += np.abs(values[layer.y]).mean()
            means[word] = np.abs(total).max() / size
        assert means["corrected"] < 1e-5
        assert means["before"] > 1e-4  # there was something to correct


def alone(layer: Any, x: Array, weight: Array) -> Array:
    """A layer without its bias."""
    attributes = dict(layer.node.attributes)
    text = ", ".join(f"{key} = {list(v) if isinstance(v, tuple) else v}" for key, v in attributes.items())
    shape = ", ".join(map(str, x.shape))
    graph = parse(
        f"g (float[{shape}] x) => (float[a, b, c, d] y) {{ y = Conv{text and f' <{text}> '} (x, w) }}", {"w": weight}
    )
    return np.asarray(open_session(to_onnx(graph).SerializeToString(), 1).run(None, {"x": x})[0])


@pytest.mark.parametrize("seed", range(4))
def test_evening_out_keeps_the_function(seed: int) -> None:
    graph, feeds = residual(seed), samples(4, seed=seed)
    evened, done = equalize(graph, feeds, FORWARD, Scheme())
    assert done  # the depthwise layer's rows differ by thirty
    assert any(not np.array_equal(evened.constants[name], graph.constants[name]) for name in ("w1", "w2", "w3"))
    wanted = [info.name for info in graph.outputs]
    for a, b in zip(FORWARD(graph, wanted, feeds), FORWARD(evened, wanted, feeds), strict=True):
        np.testing.assert_allclose(b["y"], a["y"], rtol=1e-4, atol=1e-5 * np.abs(a["y"]).max())


def test_a_clip_is_not_taken_for_homogeneous() -> None:
    graph, feeds = residual(), samples()
    louder = [{"x": feed["x"] * 50} for feed in feeds]  # now channels reach 6
    evened, _ = equalize(graph, louder, FORWARD, Scheme())
    wanted = [info.name for info in graph.outputs]
    for a, b in zip(FORWARD(graph, wanted, louder), FORWARD(evened, wanted, louder), strict=True):
        np.testing.assert_allclose(b["y"], a["y"], rtol=1e-4, atol=1e-5 * np.abs(a["y"]).max())


def test_what_meets_a_float_layer_is_left_alone() -> None:
    graph = residual()
    names = [layer.name for layer in find_layers(graph)]
    reasons = {group.values[0]: group.refused for group in find_groups(graph, Scheme(exclude=frozenset(names[1:2])))}
    assert "a layer stays float" in reasons.values()
    evened, _ = equalize(graph, samples(), FORWARD, Scheme(exclude=frozenset(names[1:2])))
    for name in ("w2", "b2"):
        assert np.array_equal(evened.constants[name], graph.constants[name])


@given(arrays(np.float32, 7, elements=st.floats(-50, 50, width=32)), st.floats(1e-3, 1.0))
@settings(max_examples=50, deadline=None)
def test_biases_are_within_half_a_step(bias: Array, x_scale: float) -> None:
    weights = quantized_weights(np.ones((7, 3, 1, 1), np.float32), 0, per_channel=True, clip=False)
    codes, scale = bias_codes(bias, np.array(x_scale), weights)
    assert np.all(np.abs(codes * scale.astype(np.float64) - bias) <= scale * 0.5001)
