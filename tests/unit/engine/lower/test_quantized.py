"""How QDQ nodes are lowered: what becomes of each, what stays float or goes to the tail, and why."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper, parser

import reconv
from reconv import _core
from reconv.engine.lower import Lowered, lower
from reconv.engine.tolerance import MapProfile, Profile
from reconv.graph import load

Array = np.ndarray[Any, Any]
RANDOM = np.random.default_rng(3)
VALUES: dict[str, Any] = {
    **{name: np.float32(value) for name, value in (("s", 0.02), ("t", 0.03), ("u", 0.05))},
    **{name: np.uint8(value) for name, value in (("z", 120), ("o", 0))},
    "k": np.int8(-5),
    "wz": np.zeros(8, np.int8),
    "w": RANDOM.integers(-127, 128, (8, 3, 3, 3)).astype(np.int8),
    "h": RANDOM.integers(-127, 128, (8, 8, 3, 3)).astype(np.int8),
    "ws": RANDOM.uniform(0.001, 0.01, 8).astype(np.float32),
    "is": RANDOM.uniform(0.001, 0.01, 3).astype(np.float32),
    "iz": np.zeros(3, np.int8),
    "wide": RANDOM.integers(0, 256, (8, 3, 3, 3)).astype(np.uint8),
    "widez": np.zeros(8, np.uint8),
    "f": RANDOM.normal(0, 0.2, (8, 3, 3, 3)).astype(np.float32),
    "b": RANDOM.integers(-500, 500, 8).astype(np.int32),
    "low": np.float32(0),
    "high": np.float32(6),
    "cs": RANDOM.uniform(0.01, 0.03, 3).astype(np.float32),
    "shape": np.asarray([1, 297], np.int64),
}
X = "fq = QuantizeLinear (x, s, z) f0 = DequantizeLinear (fq, s, z) "
W = "v = DequantizeLinear <axis = 0> (w, ws, wz) "


def made(body: str, output: str = "float y", opset: int = 17, **more: Any) -> Any:
    text = f'<ir_version: 8, opset_import: ["" : {opset}]> g (float[1,3,9,11] x) => ({output}) {{ {body} }}'
    model = parser.parse_model(text)
    read = {name for node in model.graph.node for name in node.input}
    values = VALUES | more
    arrays = {name: np.asarray(values[name]) for name in sorted(read & values.keys())}
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    for info in model.graph.output:
        info.type.tensor_type.ClearField("shape")
    return model


def fates(body: str, **more: Any) -> tuple[dict[str, str], Lowered]:
    lowered = lower(load(made(body, **more)), {"x": (1, 3, 9, 11)})
    names = {placed.node.name: placed.node.outputs[0] for placed in lowered.nodes}
    found = {}
    for placed in lowered.nodes:
        said = placed.reason
        for name, output in names.items():
            said = said.replace(f"'{name}'", output)
        found[placed.node.outputs[0]] = f"{placed.where}: {said}"
    return found, lowered


def test_a_convolution_between_q_and_dq_is_one_op_with_what_is_around_it() -> None:
    body = X + W + "a = Conv (f0, v) r = Relu (a) q = QuantizeLinear (r, t, o) y = DequantizeLinear (q, t, o)"
    found, lowered = fates(body)
    assert found["fq"] == "engine: own op"
    assert found["f0"] == "engine: passed over: its readers take its codes"
    assert found["v"] == "folded: constant"
    assert found["a"] == "engine: own op, in 8 bits"
    assert found["r"] == found["q"] == "engine: fused into Conv a"
    assert found["y"] == "engine: own op"
    assert len(lowered.plan.op_macs()) == 3
    assert lowered.plan.macs == 7 * 9 * 8 * 27
    assert sorted(lowered.scales.values()) == [pytest.approx(0.02), pytest.approx(0.03)]


def test_a_convolution_of_codes_may_give_floats() -> None:
    found, lowered = fates(X + W + "a = Conv (f0, v) y = Sigmoid (a)")
    assert found["a"] == "engine: own op, in 8 bits"
    assert found["y"] == "engine: fused into Conv a"
    assert len(lowered.plan.op_macs()) == 2


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (W + "y = Conv (x, v)", ""),
        (X + "n = Relu (f0) " + W + "y = Conv (n, v)", "its input is not quantized"),
        (X + "y = Conv (f0, f)", "its weights are not quantized, or not per output channel"),
        (
            X + "v = DequantizeLinear <axis = 1> (w, is, iz) y = Conv (f0, v)",
            "its weights are not quantized, or not per output channel",
        ),
        (X + "v = DequantizeLinear <axis = 0> (wide, ws, widez) y = Conv (f0, v)", "its weights need more than 8 bits"),
    ],
)
def test_a_convolution_that_stays_float_says_why(body: str, why: str) -> None:
    """In a model without codes there is nothing to say."""
    found, _ = fates(body)
    assert found["y"] == (f"engine: own op, in float: {why}" if why else "engine: own op")


def test_sums_that_leave_32_bits_stay_float() -> None:
    large = np.full((1, 80_000, 1, 1), 127, np.int8)
    body = """r = Reshape (x, rows) q = QuantizeLinear (r, s, z) g = DequantizeLinear (q, s, z)
        v = DequantizeLinear (large, t, k0) y = Conv (g, v)"""
    text = f'<ir_version: 8, opset_import: ["" : 17]> g (float[1,2,200,200] x) => (float y) {{ {body} }}'
    model = parser.parse_model(text)
    values = {**VALUES, "large": large, "k0": np.int8(0), "rows": np.asarray([1, 80_000, 1, 1], np.int64)}
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(values[name]), name) for name in ("rows", "s", "z", "large", "t", "k0")
    )
    lowered = lower(load(model), {"x": (1, 2, 200, 200)})
    assert lowered.nodes[-1].reason == "own op, in float: its sums need more than 32 bits"
    x = np.ones((1, 2, 200, 200), np.float32)
    state = _core.State(lowered.plan, _core.Threads(1), True, 0.0)
    state.step([x])
    y = np.empty(lowered.outputs[0].shape, np.float32)
    state.read(0, y)
    np.testing.assert_allclose(y, 80_000 * 127 * np.float32(0.03), rtol=1e-3)


@pytest.mark.parametrize(
    ("body", "output", "where", "why"),
    [
        (
            "q = QuantizeLinear (x, s, z) c = Cast <to = 1> (q) y = Relu (c)",
            "float y",
            "q",
            "its codes are read by Cast",
        ),
        ("q = QuantizeLinear (x, s, z) y = Relu (x)", "float y, uint8 q", "q", "its codes are an output of the model"),
        ("q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, k)", "float y", "q", "codes of type int8"),
        (
            "n = Neg (t) q = QuantizeLinear (x, n, z) y = DequantizeLinear (q, s, z)",
            "float y",
            "q",
            "scales () of type",
        ),
        ("q = QuantizeLinear (x, ws, wz) y = DequantizeLinear (q, ws, wz)", "float y", "q", "8 scales along axis 1"),
    ],
)
def test_what_is_not_understood_is_tail(body: str, output: str, where: str, why: str) -> None:
    graph = load(made(body, output))
    lowered = lower(graph, {"x": (1, 3, 9, 11)})
    found = {placed.node.outputs[0]: placed for placed in lowered.nodes}
    assert found[where].where == "tail"
    assert why in found[where].reason


def test_codes_that_the_tail_reads_come_from_the_tail() -> None:
    """The whole model runs: quantized by the tail where its codes are an output."""
    model = reconv.load(made("q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z)", "float y, uint8 q"))
    x = RANDOM.normal(0, 1, (1, 3, 9, 11)).astype(np.float32)
    outputs = model.run({"x": x})
    assert outputs["q"].dtype == np.uint8
    np.testing.assert_allclose(outputs["y"], (outputs["q"].astype(np.float32) - 120) * np.float32(0.02), rtol=1e-6)


@pytest.mark.parametrize("opset", [10, 11, 13, 17, 19, 21])
def test_every_opset_that_has_them(opset: int) -> None:
    flat = "v = DequantizeLinear (w, t, k0) " if opset < 13 else W  # no axis before opset 13
    body = X + flat + "a = Conv (f0, v) q = QuantizeLinear (a, u, z) y = DequantizeLinear (q, u, z)"
    lowered = lower(load(made(body, opset=opset, k0=np.int8(0))), {"x": (1, 3, 9, 11)})
    assert not lowered.tail_nodes
    assert "in 8 bits" in next(placed.reason for placed in lowered.nodes if placed.node.op_type == "Conv")


def test_weights_that_the_file_quantizes_itself() -> None:
    """Float weights behind Q and DQ, as training with quantization in mind writes them: both fold."""
    body = X + "p = QuantizeLinear <axis = 0> (f, ws, wz) v = DequantizeLinear <axis = 0> (p, ws, wz) y = Conv (f0, v)"
    found, _ = fates(body)
    assert found["p"] == found["v"] == "folded: constant"
    assert found["y"] == "engine: own op, in 8 bits"


def test_a_table_stands_for_a_function_of_one_code() -> None:
    body = (
        X + "g = Sigmoid (f0) p = QuantizeLinear (g, s, o) n = DequantizeLinear (p, s, o) m = Mul (f0, n) "
        "q = QuantizeLinear (m, t, z) y = DequantizeLinear (q, t, z)"
    )
    found, lowered = fates(body)
    assert found["m"] == "engine: own op, in 8 bits"
    assert found["g"] == "engine: passed over: its readers take its input"
    assert len(lowered.plan.op_macs()) == 3  # quantize, table, dequantize


def test_unaligned_parts_of_a_concat_go_through_floats() -> None:
    """Views of codes begin at whole words of four: 3 channels beside 3 others have no such place."""
    body = X + "n = Concat <axis = 1> (f0, f0) q = QuantizeLinear (n, t, z) y = DequantizeLinear (q, t, z)"
    x = RANDOM.normal(0, 1, (1, 3, 9, 11)).astype(np.float32)
    model = made(body)
    lowered = lower(load(model), {"x": x.shape})
    state = _core.State(lowered.plan, _core.Threads(1), True, 0.0)
    state.step([x])
    y = np.empty((1, 6, 9, 11), np.float32)
    state.read(0, y)
    codes = np.clip(np.rint(x * (1 / np.float32(0.02))), -120, 135)
    again = np.rint(codes.astype(np.float32) * np.float32(0.02) * (1 / np.float32(0.03)))
    np.testing.assert_array_equal(y[:, :3], np.clip(again, -120, 135).astype(np.float32) * np.float32(0.03))
    np.testing.assert_array_equal(y[:, :3], y[:, 3:])


def test_profiles_speak_of_reals_where_the_map_holds_codes() -> None:
    """Deviations that are said in a profile do what the same measured ones do."""
    body = X + W + "a = Conv (f0, v) q = QuantizeLinear (a, u, z) n = DequantizeLinear (q, u, z) "
    body += "m = DequantizeLinear <axis = 0> (h, ws, wz) y = Conv (n, m)"
    model = reconv.load(made(body))
    frames = [RANDOM.normal(0, 1, (1, 3, 9, 11)).astype(np.float32)]
    for _ in range(3):
        frames.append(frames[-1] + RANDOM.normal(0, 0.5, (1, 3, 9, 11)).astype(np.float32))
    lowered = lower(load(made(body)), {"x": (1, 3, 9, 11)})
    placed = next(placed for placed in lowered.nodes if placed.node.outputs[0] == "q")
    state = _core.State(lowered.plan, _core.Threads(1), False, 0.3)
    state.step([frames[0]])
    assert placed.out_map is not None
    deviation = state.deviation(placed.out_map) * np.float32(0.05)
    said = Profile(0.3, {"q": MapProfile(deviation=tuple(float(v) for v in deviation))})
    other = Profile(0.3, {"q": MapProfile(deviation=tuple(float(v) * 100 for v in deviation))})
    shares: list[list[float]] = []
    for profile in (Profile(0.3), said, other):
        stream = model.stream(profile=profile)
        shares.append([])
        for frame in frames:
            stream({"x": frame})
            shares[-1].append(stream.last.recomputed)
    assert shares[0] == shares[1]
    assert shares[0] != shares[2]


def test_bytes_of_codes_are_a_quarter() -> None:
    body = X + W + "a = Conv (f0, v) q = QuantizeLinear (a, u, z) y = DequantizeLinear (q, u, z)"
    placement = reconv.load(made(body)).placement({"x": (1, 3, 9, 11)})
    found = {placed.name: placed.bytes for placed in placement if placed.op_type in ("QuantizeLinear", "Conv")}
    sizes = [placed.bytes for placed in placement if placed.op_type == "QuantizeLinear"]
    assert sizes == [3 * 9 * 11, 8 * 7 * 9]
    assert len(found) == 3
