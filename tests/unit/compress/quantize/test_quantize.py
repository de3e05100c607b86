"""`quantize`: what the file is made of, who runs it, and that it says what the numbers say."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import openvino
import pytest

from reconv.compress.quantize import CALIBRATIONS, TARGETS, quantize
from reconv.compress.quantize.place import find_layers, place
from reconv.compress.quantize.scheme import Codes, Scheme
from reconv.engine.tail import open_session
from reconv.errors import InputError, ModelError
from reconv.graph import Graph, check, parse, to_onnx
from reconv.graph.opset import at_least_opset
from reconv.optimize.values import RuntimeForward
from tests.unit.compress.quantize.nets import residual, samples, weights

Array = np.ndarray[Any, Any]
FORWARD = RuntimeForward(1)


def run(graph: Graph, feeds: dict[str, Array]) -> Array:
    return np.asarray(open_session(to_onnx(graph).SerializeToString(), 1).run(None, feeds)[0])


def noise_db(got: Array, expected: Array) -> float:
    return float(10 * np.log10(np.square(expected).sum() / np.square(got - expected).sum()))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("calibration", CALIBRATIONS)
def test_every_calibration_and_target_gives_a_valid_model_near_the_float_one(target: str, calibration: str) -> None:
    graph, feeds = residual(), samples()
    found = quantize(graph, feeds, FORWARD, calibration=calibration, target=target)
    check(found.graph)
    assert [str(i) for i in found.graph.inputs] == [str(i) for i in graph.inputs]
    got = np.concatenate([run(found.graph, feed) for feed in feeds])
    expected = np.concatenate([run(graph, feed) for feed in feeds])
    assert noise_db(got, expected) > 20
    assert not np.array_equal(got, expected)


@pytest.mark.parametrize("target", TARGETS)
def test_openvino_runs_the_file_unchanged(target: str) -> None:
    graph, feeds = residual(), samples()
    found = quantize(graph, feeds, FORWARD, target=target)
    core = openvino.Core()
    model = core.read_model(to_onnx(found.graph).SerializeToString())
    compiled = core.compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"})
    got = np.concatenate([compiled(feed)[0] for feed in feeds])
    assert noise_db(got, np.concatenate([run(graph, feed) for feed in feeds])) > 20


def test_onnxruntime_makes_integer_kernels_of_every_layer(tmp_path: Any) -> None:
    import onnxruntime

    found = quantize(residual(), samples(), FORWARD, target="onnxruntime")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "fused.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(found.model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "fused.onnx").graph.node]
    assert kinds.count("QLinearConv") == 4
    assert {"Conv", "Add", "Sigmoid", "Mul", "Relu", "Clip"}.isdisjoint(kinds)


def fake_quantized(x: Array, codes: Codes) -> Array:
    """What QuantizeLinear and DequantizeLinear leave, in plain numpy."""
    steps = np.rint(x / codes.scales) + codes.zero
    return np.asarray((np.clip(steps, 0, 255) - codes.zero) * codes.scales, np.float32)


def test_a_tiny_net_equals_plain_fake_quantization() -> None:
    random = np.random.default_rng(3)
    w, v = (random.normal(0, 1, shape).astype(np.float32) for shape in ((6, 4), (3, 6)))
    b = random.normal(0, 1, 6).astype(np.float32)
    graph = parse(
        """g (float[n, 4] x) => (float[n, 3] y) {
            a = Gemm <transB = 1> (x, w, b)
            r = Relu (a)
            y = Gemm <transB = 1> (r, v)
        }""",
        {"w": w, "b": b, "v": v},
    )
    x = random.normal(0, 1, (50, 4)).astype(np.float32)
    plain: dict[str, Any] = {"equalize": False, "correct_bias": False, "clip_weights": False, "calibration": "minmax"}
    found = quantize(graph, [{"x": x}], FORWARD, target="reconv", **plain)
    hidden = np.maximum(x @ w.T + b, 0)
    x_codes, r_codes = Codes.covering(x.min(), x.max()), Codes.covering(0, hidden.max())

    def rounded(weight: Array) -> Array:
        scale = (np.abs(weight).max(1, keepdims=True) / 127).astype(np.float32)
        return np.asarray(np.rint(weight / scale) * scale, np.float32)

    scale = x_codes.scales * (np.abs(w).max(1) / 127).astype(np.float32)
    bias = np.rint(b / scale) * scale
    made = np.maximum(fake_quantized(x, x_codes) @ rounded(w).T + bias, 0)
    expected = fake_quantized(made.astype(np.float32), r_codes) @ rounded(v).T
    step = float(r_codes.scales) * np.abs(v).max()  # a sum in another order may round to the next code
    got = run(found.graph, {"x": x})
    assert np.abs(got - expected).max() <= 1.01 * step
    assert np.mean(np.abs(got - expected) <= 1e-5) > 0.98


def test_excluded_layers_stay_float_bit_for_bit() -> None:
    graph = residual()
    layers = {layer.name: layer for layer in find_layers(graph)}
    first = next(iter(layers))
    found = quantize(graph, samples(), FORWARD, exclude=[first])
    node = next(n for n in found.graph.nodes if n.outputs[0] in ("a",))
    assert node.op_type == "Conv"
    assert node.inputs == ("x", "w1", "b1")  # not even its input is rounded
    for name in ("w1", "b1"):
        assert np.array_equal(found.graph.constants[name], graph.constants[name])
    nothing = quantize(graph, samples(), FORWARD, exclude=list(layers))
    for feed in samples(2, seed=9):
        assert np.array_equal(run(nothing.graph, feed), run(graph, feed))
    assert {x.name: x.facts["bits"] for x in found.report.layers} == {
        name: 32 if name == first else 8 for name in layers
    }


def test_only_takes_these_layers() -> None:
    graph = residual()
    last = find_layers(graph)[-1].name
    found = quantize(graph, samples(), FORWARD, only=[last], target="reconv")
    assert (
        sum(node.op_type == "QuantizeLinear" for node in found.graph.nodes) == 1 + 2
    )  # the map before pool and concat


def test_an_old_opset_is_raised_and_said() -> None:
    graph = residual(opset=11)
    found = quantize(graph, samples(), FORWARD)
    check(found.graph)
    assert found.graph.opset == 13
    assert any("opset 11" in note for note in found.report.notes)
    assert {n.name for n in at_least_opset(graph, 13).nodes} >= {n.name for n in graph.nodes}
    assert at_least_opset(graph, 11) is graph


def test_the_target_decides_where_codes_go() -> None:
    graph = residual()
    points = {target: set(place(graph, Scheme(target=target)).points) for target in TARGETS}
    assert points["openvino"] == points["reconv"]
    assert {"x", "b", "d", "m", "p", "k"} <= points["reconv"]
    assert not {"a", "c", "e", "f", "s", "q"} & points["reconv"]  # finished in float on the sums
    assert points["onnxruntime"] - points["reconv"] == {"e", "f", "s", "q"}
    shared = place(graph, Scheme()).points
    assert shared["p"] == shared["m"]  # a maximum has the scale of what it was taken from


def test_codes_per_channel_before_depthwise_layers() -> None:
    graph = parse(
        """g (float[1, 3, 12, 12] x) => (float[1, 8, 10, 10] y) {
            c = Conv (x, w, b)
            s = Sigmoid (c)
            a = Mul (c, s)
            y = Conv <group = 8> (a, v)
        }""",
        {"w": weights()["w1"], "b": weights()["b1"], "v": weights()["w2"][:, :, :1, :1]},
    )
    feeds = samples()
    found = {target: quantize(graph, feeds, FORWARD, target=target, correct_bias=False) for target in TARGETS}
    assert found["openvino"].graph.constants["a/scale"].shape == (8,)
    assert found["reconv"].graph.constants["a/scale"].shape == (8,)
    assert found["onnxruntime"].graph.constants["a/scale"].shape == ()
    assert len(set(found["reconv"].graph.constants["a/zero"].tolist())) == 1
    expected = run(graph, feeds[0])
    assert noise_db(run(found["openvino"].graph, feeds[0]), expected) > 30
    codes = Codes.per_channel(np.array([0.0, -1.0]), np.array([2.0, 1.0]))
    reals = np.array([[[1.9, 0.0], [-0.9, 0.9]]])
    off = np.abs(codes.rounded(reals) - reals)
    assert (off <= codes.scales[:, None] / 2 + 1e-7).all()
    assert off[0, 0, 1] == 0.0
    assert codes.zeros[0] == codes.zeros[1]
    assert (codes.scales < 3.4 / 255).all()
    only = Codes.per_channel(np.array([0.0, 0.0]), np.array([2.0, 0.0]))  # a channel that is never anything but zero
    assert only.zeros.tolist() == [0, 0]
    assert only.scales[1] == 1.0
    assert Codes.per_channel(np.array([-1.0, 0.0]), np.array([1.0, 3.0]), symmetric=True).zero == (128, 128)


def test_a_sum_of_two_layers_keeps_one_float() -> None:
    text = """g (float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y) {
        a = Conv (x, w)
        b = Conv (x, v)
        s = Add (a, b)
        y = Conv (s, w)
    }"""
    w = np.ones((2, 2, 1, 1), np.float32)
    assert set(place(parse(text, {"w": w, "v": w}), Scheme(target="reconv")).points) == {"x", "a", "s"}


def test_biases_fit_into_32_bits() -> None:
    tiny = weights()
    tiny["w1"] = tiny["w1"].copy()
    tiny["w1"][2] *= 1e-9  # a dead channel with a bias: its own scale would make the bias overflow
    graph = parse(
        "g (float[1, 3, 12, 12] x) => (float[1, 8, 5, 5] y) { y = Conv <strides = [2, 2]> (x, w1, b1) }", tiny
    )
    feeds = samples()
    found = quantize(graph, feeds, FORWARD, correct_bias=False)
    got, expected = run(found.graph, feeds[0]), run(graph, feeds[0])
    assert np.abs(got - expected)[:, 2].max() <= 0.02 * np.abs(expected).max()


def test_symmetric_activations_have_their_zero_in_the_middle() -> None:
    found = quantize(residual(), samples(), FORWARD, symmetric_activations=True)
    assert found.graph.constants["x/zero"] == 128
    assert found.graph.constants["b/zero"] == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"calibration": "median"}, "no calibration is called 'median'; there are mse"),
        ({"target": "tensorrt"}, "no target is called 'tensorrt'; there are onnxruntime"),
        ({"percentile": 5.0}, "the percentile is 5.0, expected more than 50"),
        ({"exclude": ["conv9"]}, "exclude names 'conv9', which is not a layer"),
        ({"only": ["conv9"]}, "only names 'conv9', which is not a layer"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        quantize(residual(), samples(), FORWARD, **settings)


def test_samples_that_do_not_fit() -> None:
    graph = residual()
    with pytest.raises(InputError, match="there are no samples"):
        quantize(graph, [], FORWARD)
    with pytest.raises(InputError, match="sample 0 lacks the input 'x'"):
        quantize(graph, [{"image": np.zeros(3)}], FORWARD)
    with pytest.raises(InputError, match="a sample does not fit the model"):
        quantize(graph, [{"x": np.zeros((1, 4, 8, 8), np.float32)}], FORWARD)


def test_a_model_without_layers_is_refused() -> None:
    graph = parse("g (float[1, 3] x) => (float[1, 3] y) { y = Relu (x) }", {})
    with pytest.raises(ModelError, match="there is nothing to quantize"):
        quantize(graph, [{"x": np.ones((1, 3), np.float32)}], FORWARD)
