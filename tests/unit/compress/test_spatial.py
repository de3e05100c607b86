"""Smaller inputs and earlier strides: what runs, what it computes, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from reconv.compress.spatial import shrink_input
from reconv.compress.stride import earlier_stride, strides_to_move
from reconv.engine.tail import open_session
from reconv.errors import InputError, ModelError
from reconv.graph import Graph, load, multiply_adds, shapes_of, to_onnx
from reconv.graph.declare import declared
from reconv.optimize.values import RuntimeForward
from tests.contract.small_residual import graph, inputs
from tests.unit.small import cnn, text

Array = np.ndarray[Any, Any]


def run(made: Graph, feeds: dict[str, Array]) -> Array:
    return np.asarray(open_session(to_onnx(made).SerializeToString(), 1).run(None, feeds)[0])


def work(made: Graph) -> int:
    shapes = {**shapes_of(made), **{name: array.shape for name, array in made.constants.items()}}
    return sum(multiply_adds(node, shapes) or 0 for node in made.nodes)


def test_half_the_size_is_the_mean_of_two_by_two_pixels() -> None:
    source = graph()
    made = shrink_input(source, scale=0.5)
    (sample,) = inputs(1)
    small = sample["x"].reshape(1, 3, 8, 2, 8, 2).mean(axis=(3, 5))
    declared = shrink_input(source, scale=0.5, inside=False)
    assert declared.graph.inputs[0].shape == (1, 3, 8, 8)
    assert made.graph.inputs[0].shape == (1, 3, 16, 16)
    np.testing.assert_allclose(run(made.graph, sample), run(declared.graph, {"x": small}), rtol=0, atol=1e-5)
    assert work(made.graph) < 0.3 * work(source)
    assert made.report.layers[0].facts["after"] == (1, 3, 8, 8)


def test_pictures_with_their_channels_last() -> None:
    source = load(
        text(
            "g (float[1, 16, 12, 3] x) => (float[1, 3, 1, 1] y) "
            "{ t = Transpose <perm = [0, 3, 1, 2]> (x) y = GlobalMaxPool (t) }"
        )
    )
    made = shrink_input(source, scale=0.5)
    assert made.report.layers[0].facts["after"] == (1, 8, 6, 3)
    x = np.random.default_rng(0).standard_normal((1, 16, 12, 3)).astype(np.float32)
    small = x.reshape(1, 8, 2, 6, 2, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(run(made.graph, {"x": x}).reshape(3), small.max(axis=(0, 1, 2)), rtol=0, atol=1e-5)


def test_outputs_that_would_change_are_refused_unless_that_is_wanted() -> None:
    source = load(cnn(24, 32, 1))
    with pytest.raises(ModelError, match=r"output 'y' has shape \(1, 8, 6, 8\) instead of \(1, 8, 12, 16\)"):
        shrink_input(source, scale=0.5)
    made = shrink_input(source, scale=0.5, may_change=True)
    assert run(made.graph, {"x": np.zeros((1, 3, 24, 32), np.float32)}).shape == (1, 8, 6, 8)
    assert shapes_of(load(to_onnx(made.graph)))["y"] == (1, 8, 6, 8)
    assert made.report.notes


def test_a_model_that_is_tied_to_its_size_is_refused() -> None:
    source = load(text("g (float[1, 3, 8, 8] x, int64[2] s) => (float[1, 192] y) { y = Reshape (x, s) }"))
    feeds = {"x": np.zeros((1, 3, 8, 8), np.float32), "s": np.array([1, 192])}
    with pytest.raises(ModelError, match=r"does not run at 0\.5 of its size"):
        shrink_input(source, samples=[feeds], forward=RuntimeForward(1))


@pytest.mark.parametrize(("scale", "match"), [(0.0, "between 0 and 1"), (1.0, "between 0 and 1")])
def test_senseless_scales_are_told(scale: float, match: str) -> None:
    with pytest.raises(InputError, match=match):
        shrink_input(graph(), scale=scale)
    with pytest.raises(InputError, match="multiple"):
        shrink_input(graph(), multiple=0)


def test_sizes_are_rounded_to_a_multiple() -> None:
    made = shrink_input(graph(), scale=0.6, multiple=4)
    assert made.report.layers[0].facts["after"] == (1, 3, 8, 8)
    assert run(made.graph, inputs(1)[0]).shape == (1, 10)
    with pytest.raises(ModelError, match="does not make 16x16 smaller in multiples of 8"):
        shrink_input(graph(), scale=0.9, multiple=8)


def test_models_of_any_size_take_both() -> None:
    made = shrink_input(load(cnn("h", "w", 1)), scale=0.5, may_change=True)
    assert run(made.graph, {"x": np.zeros((1, 3, 24, 32), np.float32)}).shape == (1, 8, 6, 8)
    free = declared(graph(), {"x": (1, 3, "h", "w")})
    x = np.random.default_rng(1).standard_normal((1, 3, 13, 13)).astype(np.float32)
    known = shrink_input(free, scale=0.7, multiple=4, samples=[{"x": x}], forward=RuntimeForward(1)).graph
    (small,) = (node.outputs[0] for node in known.nodes if node.op_type == "Resize")
    assert next(RuntimeForward(1)(known, [small], [{"x": x}]))[small].shape == (1, 3, 8, 8)
    moved = earlier_stride(free).graph
    for size in (16, 13):
        x = np.random.default_rng(0).standard_normal((1, 3, size, size)).astype(np.float32)
        before, after = (next(RuntimeForward(1)(g, ["c1", "c3"], [{"x": x}])) for g in (free, moved))
        assert before["c3"].shape == after["c3"].shape
        assert after["c1"].shape[2] == -(-size // 2)


def test_inputs_that_are_no_pictures_are_refused() -> None:
    with pytest.raises(ModelError, match="no picture"):
        shrink_input(load(text("g (float[1, 8] x) => (float[1, 8] y) { y = Relu (x) }")))
    with pytest.raises(ModelError, match="leaves its size open"):
        shrink_input(load(cnn("h", "w", 1)), inside=False)


def test_the_stride_moves_and_all_later_maps_keep_their_sizes() -> None:
    source = graph()
    assert strides_to_move(source) == ["conv1"]
    made = earlier_stride(source)
    before, after = shapes_of(source), shapes_of(made.graph)
    assert after["c1"] == (1, 16, 8, 8)
    assert all(after[name] == before[name] for name in ("c3", "r3", "p", "y"))
    assert work(made.graph) < 0.5 * work(source)
    assert run(made.graph, inputs(1)[0]).shape == (1, 10)
    # the first layer computes every second pixel of what it computed
    dense = np.asarray(next(RuntimeForward(1)(source, ["c1"], inputs(1)))["c1"])
    few = np.asarray(next(RuntimeForward(1)(made.graph, ["c1"], inputs(1)))["c1"])
    np.testing.assert_allclose(few, dense[:, :, ::2, ::2], rtol=0, atol=1e-5)


def test_poolings_of_two_by_two_lose_their_stride_too() -> None:
    source = load(
        text(
            "g (float[1, 3, 8, 8] x) => (float[1, 3, 1, 1] y) { m = MaxPool <kernel_shape = [3, 3], "
            "pads = [1, 1, 1, 1]> (x) r = Relu (m) p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (r) "
            "y = GlobalAveragePool (p) }"
        )
    )
    made = earlier_stride(source)
    assert shapes_of(made.graph)["p"] == (1, 3, 4, 4)
    assert run(made.graph, {"x": np.ones((1, 3, 8, 8), np.float32)}).reshape(3) == pytest.approx([1, 1, 1])


def test_layers_whose_map_is_needed_elsewhere_keep_their_stride() -> None:
    with pytest.raises(InputError, match="stride 1 that keeps the size"):
        earlier_stride(graph(), node="conv3")
    with pytest.raises(InputError, match=r"joins it with 'r1', which keeps the old size"):
        earlier_stride(graph(), node="conv2")
    with pytest.raises(InputError, match="no node of that name"):
        earlier_stride(graph(), node="conv9")
    with pytest.raises(ModelError, match="no layer can take the stride"):
        earlier_stride(load(cnn(24, 32, 1)))
