"""Thin layers: exact where the rank is low, cheaper always, nearer on real activations with samples than without."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper

from reconv.compress.lowrank import factorize
from reconv.engine.tail import open_session
from reconv.errors import InputError, ModelError
from reconv.graph import Graph, load, multiply_adds, shapes_of, to_onnx, with_constants
from reconv.optimize.values import RuntimeForward
from tests.contract.small_residual import graph, inputs
from tests.unit.small import text

Array = np.ndarray[Any, Any]
FORWARD = RuntimeForward(1)


def outputs(made: Graph, samples: list[dict[str, Array]]) -> Array:
    session = open_session(to_onnx(made).SerializeToString(), 1)
    return np.concatenate([session.run(None, sample)[0] for sample in samples])


def work(made: Graph) -> int:
    shapes = {**shapes_of(made), **{name: array.shape for name, array in made.constants.items()}}
    return sum(multiply_adds(node, shapes) or 0 for node in made.nodes)


def of_rank(shape: tuple[int, ...], r_out: int, r_in: int) -> Array:
    """A kernel whose axes of channels have these ranks."""
    random = np.random.default_rng(5)
    core = random.standard_normal((r_out, r_in, *shape[2:]))
    left, right = random.standard_normal((shape[0], r_out)), random.standard_normal((shape[1], r_in))
    kernel: Array = np.einsum("rs...,or,is->oi...", core, left, right).astype(np.float32) * 0.1
    return kernel


def model(body: str, **weights: Array) -> Graph:
    proto = text(body)
    for name, value in weights.items():
        proto.graph.initializer.append(numpy_helper.from_array(value, name))
    return load(proto)


LAYERS = {
    "kxk with stride": model(
        "g (float[1, 24, 10, 10] x) => (float[1, 20, 5, 5] y) "
        "{ y = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (x, w, b) }",
        w=of_rank((20, 24, 3, 3), 4, 5), b=np.ones(20, np.float32),
    ),
    "one axis": model(
        "g (float[1, 24, 9, 9] x) => (float[1, 20, 5, 5] y) { y = Conv <dilations = [2, 2]> (x, w) }",
        w=of_rank((20, 24, 3, 3), 4, 24),
    ),
    "1x1": model(
        "g (float[1, 40, 9, 9] x) => (float[1, 20, 9, 9] y) { y = Conv (x, w, b) }",
        w=of_rank((20, 40, 1, 1), 4, 4), b=np.ones(20, np.float32),
    ),
    "more outputs than inputs": model(
        "g (float[1, 20, 9, 9] x) => (float[1, 40, 9, 9] y) { y = Conv (x, w) }", w=of_rank((40, 20, 1, 1), 4, 4)
    ),
    "1-D": model(
        "g (float[1, 24, 30] x) => (float[1, 20, 30] y) { y = Conv <pads = [1, 1]> (x, w) }",
        w=of_rank((20, 24, 3), 4, 5),
    ),
    "Gemm": model(
        "g (float[1, 40] x) => (float[1, 20] y) { y = Gemm (x, w, b) }",
        w=of_rank((40, 20), 4, 4), b=np.ones(20, np.float32),
    ),
    "Gemm with transB": model(
        "g (float[1, 40] x) => (float[1, 20] y) { y = Gemm <transB = 1> (x, w) }", w=of_rank((20, 40), 4, 4)
    ),
    "MatMul": model("g (float[1, 7, 40] x) => (float[1, 7, 20] y) { y = MatMul (x, w) }", w=of_rank((40, 20), 4, 4)),
}  # fmt: skip


@pytest.mark.parametrize("aware", [False, True], ids=["weights", "activations"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_kernel_of_low_rank_is_met_exactly_with_fewer_multiply_adds(name: str, aware: bool) -> None:
    source = LAYERS[name]
    random = np.random.default_rng(0)
    shape = tuple(int(n) for n in source.inputs[0].shape if isinstance(n, int))
    samples = [{"x": random.standard_normal(shape).astype(np.float32) + 0.3} for _ in range(60)]
    known: dict[str, Any] = {"samples": samples, "forward": FORWARD} if aware else {}
    made = factorize(source, energy=1 - 1e-9, multiple=1, **known)
    old, new = outputs(source, samples[:4]), outputs(made.graph, samples[:4])
    assert work(made.graph) < work(source)
    assert made.report.layers[0].facts["multiply_adds"] == pytest.approx(work(made.graph) / work(source), rel=1e-6)
    assert set(made.report.layers[0].facts["ranks"]) <= {4, 5}
    np.testing.assert_allclose(new, old, rtol=0, atol=2e-4 * np.abs(old).max())


@pytest.mark.parametrize("ratio", [0.7, 0.4])
def test_each_layer_stays_below_its_share_of_the_multiply_adds(ratio: float) -> None:
    made = factorize(graph(), ratio=ratio, multiple=1)
    assert {layer.name for layer in made.report.layers} >= {"conv2", "conv3"}
    assert all(layer.facts["multiply_adds"] <= ratio for layer in made.report.layers)


def test_samples_bring_the_outputs_nearer_than_weights_alone() -> None:
    source, random = graph(), np.random.default_rng(9)
    mix = random.standard_normal((3, 3)).astype(np.float32)  # inputs whose channels are not alike
    mix[2] = mix[0] * 0.99 + 0.05 * mix[2]
    samples = [{"x": np.einsum("ij,bjhw->bihw", mix, sample["x"]) + 1} for sample in inputs(24)]
    right = outputs(source, samples[16:])
    errors = []
    aware: dict[str, Any] = {"samples": samples[:16], "forward": FORWARD}
    for known in ({}, aware):
        made = factorize(source, ratio=0.5, multiple=1, **known)
        errors.append(float(np.square(outputs(made.graph, samples[16:]) - right).sum()))
    assert errors[1] < 0.5 * errors[0]


def test_one_sample_does_not_make_a_classifier_forget_its_weights() -> None:
    source = model(
        "g (float[1, 40] x) => (float[1, 30] y) { y = Gemm <transB = 1> (x, w) }",
        w=np.random.default_rng(1).standard_normal((30, 40)).astype(np.float32),
    )
    random = np.random.default_rng(2)
    samples = [{"x": random.standard_normal((1, 40)).astype(np.float32)} for _ in range(9)]
    made = factorize(source, ratio=0.8, multiple=1, samples=samples[:1], forward=FORWARD)
    right = outputs(source, samples[1:])
    assert np.linalg.norm(outputs(made.graph, samples[1:]) - right) < 0.7 * np.linalg.norm(right)


def test_the_mean_of_what_is_left_out_goes_into_the_bias() -> None:
    source = graph()
    samples = inputs(16)
    offsets = []
    aware: dict[str, Any] = {"samples": samples, "forward": FORWARD}
    for known in ({}, aware):
        made = factorize(source, ratio=0.3, multiple=1, only=["conv3"], **known).graph
        pairs = zip(FORWARD(made, ["c3"], samples), FORWARD(source, ["c3"], samples), strict=True)
        offsets.append(np.abs(np.mean([new["c3"] - old["c3"] for new, old in pairs], axis=(0, 1, 3, 4))).max())
    assert offsets[1] < 0.3 * offsets[0]


def test_kept_channels_are_multiples() -> None:
    made = factorize(graph(), energy=0.6, multiple=8)
    assert made.report.layers
    assert all(rank % 8 == 0 for layer in made.report.layers for rank in layer.facts["ranks"])


def test_grouped_layers_and_layers_that_do_not_get_cheaper_stay() -> None:
    source = model(
        "g (float[1, 8, 9, 9] x) => (float[1, 8, 7, 7] y) { y = Conv <group = 2> (x, w) }",
        w=of_rank((8, 4, 3, 3), 1, 1),
    )
    with pytest.raises(ModelError, match="no layer gets cheaper"):
        factorize(source, ratio=0.5)
    with pytest.raises(ModelError, match="no layer gets cheaper"):
        factorize(graph(), energy=0.9999999, multiple=1)


def test_weights_that_are_not_finite_are_left_alone() -> None:
    source = graph()
    broken = with_constants(source, {"w2": np.full_like(source.constants["w2"], np.nan)})
    assert "conv2" not in [layer.name for layer in factorize(broken, ratio=0.5, multiple=1).report.layers]


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"ratio": 0.5, "energy": 0.5}, "not both"),
        ({"ratio": 0.0}, "share between 0 and 1"),
        ({"energy": 1.0}, "share between 0 and 1"),
        ({"multiple": 0}, "multiple"),
        ({"samples": inputs(1)}, "nothing that runs"),
        ({"samples": [{"z": np.zeros(1, np.float32)}], "forward": FORWARD}, "lacks the input 'x'"),
        ({"only": ["x"]}, "no layer with weights called 'x'"),
    ],
)
def test_mistakes_are_told(settings: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        factorize(graph(), **settings)
