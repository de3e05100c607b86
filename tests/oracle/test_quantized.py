"""QDQ graphs against the integer reference, bit for bit: the lowering on the slow core, and the native core.

Where only whole numbers, sums of two floats and clipping are involved no code may differ; with activations such as SiLU
a code may differ where the exact value is next to where rounding changes, by one.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from reconv import _core
from reconv.compress.quantize import TARGETS, quantize
from reconv.engine.lower import Lowered, lower
from reconv.graph import load, to_onnx
from reconv.optimize.values import RuntimeForward
from tests.oracle import slow_codes
from tests.oracle.quantized_checks import compare
from tests.oracle.quantized_drawn import draw_model
from tests.oracle.quantized_reference import Reference
from tests.property.profiles import examples

Array = np.ndarray[Any, Any]
PLANS: dict[str, Any] = {"slow": slow_codes.Plan} | {isa: partial(_core.Plan, isa) for isa in _core.isas()}
SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def models(draw: Any, curved: bool) -> tuple[onnx.ModelProto, Array]:
    """A model and a frame."""
    seed = draw(SEEDS)
    model = draw_model(lambda *choices: draw(st.sampled_from(choices)), seed, curved)
    shape = tuple(size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim)
    return model, np.random.default_rng(seed + 1).normal(0, 1, shape).astype(np.float32)


def choices(seed: int) -> Any:
    """As hypothesis' choices, of a seed: less alike, but they do not shrink."""
    random = np.random.default_rng(seed)
    return lambda *options: options[int(random.integers(len(options)))]


def check(model: onnx.ModelProto, x: Array, core: str, exact: bool) -> Lowered:
    onnx.checker.check_model(model)
    lowered = lower(load(model), {"x": x.shape}, PLANS[core])
    assert not lowered.tail_nodes, [placed for placed in lowered.nodes if placed.where == "tail"]
    made = slow_codes if core == "slow" else _core
    state: Any = made.State(lowered.plan, made.Threads(1), False, 0.0)
    state.step([x] * len(lowered.inputs))
    comparison, values = compare(model, lowered, state, x, exact)
    for border in lowered.outputs:
        y = np.empty(border.shape, np.float32)
        state.read(border.index, y)
        # a float output that no island is before is a sum in whole numbers, or a code: the same bits
        np.testing.assert_allclose(y, values[border.name], rtol=2e-5, atol=2e-5, err_msg=border.name)
    assert comparison.names, "no map of codes was looked at"
    assert exact or comparison.ties <= 8
    return lowered


@pytest.mark.parametrize("core", PLANS)
@examples(15)
@given(drawn=models(curved=False))
def test_whole_numbers_are_the_same_bits(core: str, drawn: tuple[onnx.ModelProto, Array]) -> None:
    check(*drawn, core, exact=True)


@pytest.mark.parametrize("core", PLANS)
@examples(8)
@given(drawn=models(curved=True))
def test_curved_activations_differ_next_to_ties_alone(core: str, drawn: tuple[onnx.ModelProto, Array]) -> None:
    check(*drawn, core, exact=False)


@pytest.mark.parametrize("core", ["slow", _core.default_isa()])
@pytest.mark.parametrize("seed", range(15))
def test_larger_graphs_of_a_seed(core: str, seed: int) -> None:
    model = draw_model(choices(seed), seed, curved=seed % 3 == 2, steps=14)
    shape = tuple(size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim)
    check(model, np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32), core, exact=seed % 3 < 2)


def test_most_of_what_is_drawn_runs_in_8_bits() -> None:
    """The tests above say little if layers stay float: of convolutions with quantized operands none does."""
    reasons = []
    for seed in range(20):
        model = draw_model(choices(seed), seed, curved=False, steps=10)
        shape = tuple(size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim)
        lowered = lower(load(model), {"x": shape}, PLANS["slow"])
        products = ("Conv", "ConvTranspose", "Gemm", "MatMul")
        reasons += [placed.reason for placed in lowered.nodes if placed.node.op_type in products]
    eight = sum("in 8 bits" in reason or "no output" in reason for reason in reasons)
    assert len(reasons) > 40
    assert eight == len(reasons)


@pytest.mark.parametrize("core", ["slow", _core.default_isa()])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("channels", "starts"), [(3, "00 10 01 11"), (4, "00 10 01 11"), (3, "11 00"), (3, "00 01")])
def test_a_stride_of_codes_is_taken_by_the_convolution(core: str, target: str, channels: int, starts: str) -> None:
    """Focus layers: parts of a map side by side as channels; those of 3 do not begin at whole words of codes."""
    random = np.random.default_rng(3)
    parts = starts.split()
    slices = "\n".join(f"a{part} = Slice (x, s{part}, e, ax, two)" for part in parts)
    joined = ", ".join(f"a{part}" for part in parts)
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 13]> g (float[1,{channels},8,12] x) => (float y) {{ {slices}
        g = Concat <axis = 1> ({joined}) y = Conv <pads = [1,1,1,1]> (g, w) }}"""
    )
    constants = {f"s{part}": np.array([int(part[0]), int(part[1])]) for part in parts}
    constants |= {"e": np.array([8, 12]), "ax": np.array([2, 3]), "two": np.array([2, 2])}
    weight = random.normal(0, 0.5, (8, channels * len(parts), 3, 3)).astype(np.float32)
    for name, value in {**constants, "w": weight}.items():
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    x = random.normal(0, 1, (1, channels, 8, 12)).astype(np.float32)
    graph = quantize(load(model), [{"x": x}], RuntimeForward(1), target=target, equalize=False).graph
    lowered = check(to_onnx(graph), x, core, exact=True)
    assert len(lowered.plan.op_macs()) <= 3  # quantize, conv, dequantize


@pytest.mark.parametrize("core", PLANS)
@pytest.mark.parametrize("readers", [1, 2])
def test_scales_of_channels_stay_with_the_layers(core: str, readers: int) -> None:
    """Depthwise layers behind a curved activation: who makes the codes multiplies, who reads them takes it in."""
    random = np.random.default_rng(4)
    deep = "\n".join(
        f"d{i} = Conv <group = 8, pads = [1,1,1,1]> (a, v{i}) p{i} = Conv (d{i}, k)" for i in range(readers)
    )
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 13]> g (float[1,3,9,11] x) => (float y) {{ c = Conv (x, w, b)
        s = Sigmoid (c) a = Mul (c, s) {deep}
        y = Add (p0, p{readers - 1}) }}"""
    )
    spread = 4.0 ** np.arange(-4, 4)[:, None, None, None]  # channels of unlike ranges
    constants = {"w": random.normal(0, 0.4, (8, 3, 3, 3)) * spread, "b": random.normal(0, 0.1, 8)}
    constants |= {f"v{i}": random.normal(0, 0.4, (8, 1, 3, 3)) / spread for i in range(readers)}
    constants["k"] = random.normal(0, 0.4, (6, 8, 1, 1))
    for name, value in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
    x = random.normal(0, 1, (1, 3, 9, 11)).astype(np.float32)
    graph = quantize(load(model), [{"x": x}], RuntimeForward(1), target="reconv").graph
    assert graph.constants["a/scale"].shape == (8,)
    lowered = check(to_onnx(graph), x, core, exact=False)
    products = [placed for placed in lowered.nodes if placed.node.op_type == "Conv"]
    assert len(products) == 1 + 2 * readers
    assert all("in 8 bits" in placed.reason for placed in products), [placed.reason for placed in products]


@pytest.mark.parametrize("what", ["weights", "bias", "zero", "scale"])
def test_the_comparison_sees_a_wrong_constant(what: str) -> None:
    """A checker that cannot fail checks nothing: change one number of the model that the reference sees."""
    seed = 3
    model = draw_model(choices(seed), seed, curved=False)
    shape = tuple(size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim)
    x = np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)
    lowered = lower(load(model), {"x": shape}, PLANS["slow"])
    plan: Any = lowered.plan
    state = slow_codes.State(plan, slow_codes.Threads(1), False, 0.0)
    state.step([x])
    compare(model, lowered, state, x, True)
    wrong = onnx.ModelProto()
    wrong.CopyFrom(model)
    makers = {name: node for node in wrong.graph.node for name in node.output}
    conv = next(node for node in wrong.graph.node if node.op_type == "Conv" and len(node.input) > 2)
    tensors = {tensor.name: tensor for tensor in wrong.graph.initializer}
    name = {
        "weights": makers[conv.input[1]].input[0],
        "bias": makers[conv.input[2]].input[0] if conv.input[2] in makers else conv.input[2],
        "zero": makers[conv.input[0]].input[2],
        "scale": makers[conv.input[0]].input[1],
    }[what]
    array = numpy_helper.to_array(tensors[name]).copy()
    array[...] = {
        "weights": lambda v: v ^ 64,
        "bias": lambda v: v + 3000,
        "zero": lambda v: v ^ 8,
        "scale": lambda v: v * 2,
    }[what](array)
    tensors[name].CopyFrom(numpy_helper.from_array(array, name))
    with pytest.raises(AssertionError, match="codes differ"):
        compare(wrong, lowered, state, x, True)


def test_the_reference_gives_what_qdq_means() -> None:
    """One convolution by hand: codes 3 and 5 of zero 1, weights 2 and -4, bias 6, steps 0.5 and 0.25."""
    text = """<ir_version: 8, opset_import: ["" : 13]>
        g (float[1,2,1,1] x) => (float y)
        <float xs = {0.5}, uint8 xz = {1}, int8[1,2,1,1] w = {2, -4}, float ws = {0.25}, int8 wz = {0},
         int32[1] b = {6}, float bs = {0.125}, int32 bz = {0}, float ys = {0.5}, uint8 yz = {10}> {
        q = QuantizeLinear (x, xs, xz) f = DequantizeLinear (q, xs, xz) v = DequantizeLinear (w, ws, wz)
        c = DequantizeLinear (b, bs, bz) a = Conv (f, v, c) p = QuantizeLinear (a, ys, yz)
        y = DequantizeLinear (p, ys, yz) }"""
    model = onnx.parser.parse_model(text)
    x = np.asarray([1.0, 2.0], np.float32).reshape(1, 2, 1, 1)
    values = Reference(model).run({"x": x})
    assert values["q"].ravel().tolist() == [3, 5]
    # (3 - 1) * 2 + (5 - 1) * -4 + 6 = -6, times 0.125 is -0.75, in steps of 0.5 it is -1.5, half to even is -2
    assert float(values["a"].reshape(())) == -0.75
    assert int(values["p"].reshape(())) == 8
    assert float(values["y"].reshape(())) == -1.0
