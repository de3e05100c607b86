"""Streams on quantized models: the two invariants of the engine, on plans that the lowering makes of random QDQ graphs.

exact    at tolerance 0 every stored map, of codes or of floats, equals a dense run bit for bit
bounded  at tolerance t every stored pixel under cutoff is within t of its op applied to the stored inputs, as the slow
         core applies it; codes that are under no cutoff are equal to that
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconv import _core
from reconv.engine.lower import Lowered, lower
from reconv.graph import Graph, load
from tests.oracle import slow_codes
from tests.oracle.quantized_drawn import draw_model
from tests.property.profiles import examples

Array = np.ndarray[Any, Any]
SEEDS = st.integers(0, 2**32 - 1)


def drawn(seed: int, curved: bool, steps: int) -> tuple[onnx.ModelProto, tuple[int, ...]]:
    random = np.random.default_rng(seed)
    model = draw_model(lambda *options: options[int(random.integers(len(options)))], seed, curved, steps=steps)
    return model, tuple(size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim)


def frames(shape: tuple[int, ...], seed: int, count: int = 5) -> list[Array]:
    """Frames: each differs from the one before in a patch, in faint noise that moves few codes, or not at all."""
    random = np.random.default_rng(seed)
    frame = random.normal(0, 1, shape).astype(np.float32)
    found = [frame]
    for _ in range(count):
        frame = frame.copy()
        y, x = int(random.integers(shape[2])), int(random.integers(shape[3]))
        patch = frame[:, :, y : y + int(random.integers(1, 4)), x : x + int(random.integers(1, 4))]
        kind = int(random.integers(4))
        if kind == 0:
            frame += random.normal(0, 0.003, shape).astype(np.float32)
        elif kind < 3:
            patch[...] = random.normal(0, 1, patch.shape)
        found.append(frame)
    return found


def held(lowered: Lowered, state: Any) -> dict[int, Array]:
    """All maps that a state keeps and that the model's nodes or borders name."""
    maps = {placed.out_map for placed in lowered.nodes if placed.out_map is not None}
    maps |= {border.map for border in (*lowered.inputs, *lowered.outputs)}
    return {x: np.array(state.array(x)) for x in sorted(maps) if lowered.plan.stored(x)}


def same_bits(a: Array, b: Array) -> bool:
    return a.dtype == b.dtype and np.array_equal(
        np.ascontiguousarray(a).view(np.uint8), np.ascontiguousarray(b).view(np.uint8)
    )


@pytest.mark.parametrize("isa", _core.isas())
@examples(40)
@given(seed=SEEDS)
def test_a_stream_equals_a_dense_run(isa: str, seed: int) -> None:
    model, shape = drawn(seed, curved=True, steps=8)
    lowered = lower(load(model), {"x": shape}, lambda: _core.Plan(isa))
    streams = [_core.State(lowered.plan, _core.Threads(count), False, 0.0) for count in (1, 2)]
    dense_only = _core.State(lowered.plan, _core.Threads(2), True, 0.0)
    inputs = len(lowered.inputs)
    for frame in frames(shape, seed):
        fresh = _core.State(lowered.plan, _core.Threads(1), False, 0.0)
        fresh.step([frame] * inputs)
        expected = held(lowered, fresh)
        for stream in streams:
            stream.step([frame] * inputs)
            for x, array in held(lowered, stream).items():
                assert same_bits(array, expected[x]), f"{isa}: map {x}"
        dense_only.step([frame] * inputs)
        for border in lowered.outputs:
            outputs = [np.empty(border.shape, np.float32) for _ in range(2)]
            dense_only.read(border.index, outputs[0])
            fresh.read(border.index, outputs[1])
            assert same_bits(*outputs), f"{isa}: output {border.name}"


def test_still_frames_cost_nothing_and_faint_noise_little() -> None:
    """The cutoff of codes works: noise far below a step of the codes dies at the first quantization."""
    model, shape = drawn(5, curved=False, steps=10)
    lowered = lower(load(model), {"x": shape})
    state = _core.State(lowered.plan, _core.Threads(1), False, 0.0)
    frame = frames(shape, 1, 0)[0]
    state.step([frame])
    state.step([frame])
    assert state.recomputed_macs == 0
    state.step([frame * np.float32(1 + 1e-6)])
    assert state.recomputed_macs < lowered.plan.macs // 4


def slowly(graph: Graph, shape: tuple[int, ...]) -> Any:
    """The slow core's plan of a graph: the same ids in the same order."""
    make: Any = slow_codes.Plan
    return lower(graph, {"x": shape}, make).plan


def check_bounded(lowered: Lowered, slow: Any, state: Any, tolerance: float) -> int:
    """Invariant 2 of one state; how many ops were looked at."""
    cut, looked = set(lowered.plan.cut_maps), 0
    for op in slow.ops:
        maps = (op.out, *op.inputs)
        if op.parts or not all(lowered.plan.stored(x) for x in maps):
            continue
        looked += 1
        out, *inputs = (np.asarray(state.array(x), np.float32) for x in maps)
        with np.errstate(all="ignore"):
            fresh = op.compute(*inputs).astype(np.float32)
        codes = slow._zero(op.out) is not None
        if op.out not in cut:
            slack = 0.0 if codes else 1e-4 * (1 + np.abs(fresh).max())
            assert np.abs(out - fresh).max() <= slack, f"map {op.out} is off without cutoff"
            continue
        sigma = state.deviation(op.out).astype(np.float64)
        if not np.isfinite(sigma).all():
            continue
        near = (np.rint(np.abs(out - fresh)) if codes else np.abs(out - fresh)).astype(np.float64)
        norm = np.sqrt((near**2 / (sigma**2 * len(sigma))).sum(axis=2))
        ties = np.sqrt((1 / (sigma**2 * len(sigma))).max()) if codes else 1e-4
        assert norm.max() <= tolerance * (1 + 1e-5) + ties, f"map {op.out} is off by {norm.max()}, {tolerance} allowed"
    return looked


@pytest.mark.parametrize("isa", _core.isas())
@examples(12)
@given(seed=SEEDS, tolerance=st.sampled_from((0.02, 0.2, 1.0)))
def test_stored_codes_are_within_the_tolerance(isa: str, seed: int, tolerance: float) -> None:
    model, shape = drawn(seed, curved=False, steps=6)
    graph = load(model)
    lowered = lower(graph, {"x": shape}, lambda: _core.Plan(isa))
    slow = slowly(graph, shape)
    state = _core.State(lowered.plan, _core.Threads(2), False, tolerance)
    for frame in frames(shape, seed):
        state.step([frame] * len(lowered.inputs))
        check_bounded(lowered, slow, state, tolerance)


def test_the_bound_sees_a_pixel_that_is_too_far_off() -> None:
    """A checker that cannot fail checks nothing: a state that ran with a large tolerance breaks a small one."""
    model, shape = drawn(11, curved=False, steps=8)
    graph = load(model)
    lowered = lower(graph, {"x": shape})
    slow = slowly(graph, shape)
    state = _core.State(lowered.plan, _core.Threads(1), False, 3.0)
    first, last = (frames(shape, seed, 0)[0] for seed in (4, 5))
    looked = 0
    with pytest.raises(AssertionError, match="is off by"):  # noqa: PT012
        for share in np.linspace(0, 1, 12, dtype=np.float32):
            state.step([first * (1 - share) + last * share])
            looked += check_bounded(lowered, slow, state, 1e-3)
    assert looked > 3
