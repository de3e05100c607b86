"""ONNX's own node tests through the engine, with the tail forbidden.

Every one-node test of ``onnx.backend.test`` whose operator is in `LOWERINGS` runs. The inputs that a network would
have as weights become constants; the others arrive as frames. What is left out is left out by a line of `LEFT_OUT`,
with its reason; a line that a passing case would match is a failure, and so is a case that fails without a line.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests

from reconv import _core
from reconv.engine.lower import LOWERINGS, lower
from reconv.graph import load

Array = np.ndarray[Any, Any]

# operator -> positions of the inputs that are frames; "all" of them; the default is the first
FRAMES: dict[str, Sequence[int] | str] = dict.fromkeys(
    ("Add", "Sub", "Mul", "Div", "Min", "Max", "Pow", "Sum", "Concat"), "all"
)

# (pattern of case names, why the engine does not run them); the first that matches counts
OTHER_TYPES = "maps are float32"
LEFT_OUT: tuple[tuple[str, str], ...] = (
    (r"test_cast_.*|test_castlike_.*", OTHER_TYPES),
    (r"test_(add|sub|mul|div|max|min)_u?int\d+(_trunc)?|test_(max|min)_float64", OTHER_TYPES),
    (r"test_pow_types_.*int.*|test_clip_default_int8_.*|test_maxpool_2d_uint8", OTHER_TYPES),
    (r"test_(edge|reflect|wrap)_pad|test_gathernd_example_int32.*|test_reduce_max_.*bool.*", OTHER_TYPES),
    (r"test_quantizelinear.*", "codes do not leave the engine: they are between two of its own nodes"),
    (r"test_dequantizelinear_(?!axis$).*", "codes of 4 or 16 bits, of floats, or in blocks"),
    (r"test_identity_(opt|sequence)", "sequences and optionals are no tensors"),
    (r"test_(reduce_\w+_empty_set.*|split_zero_size_splits_.*|reshape_allowzero_reordered)", "maps are not empty"),
    (r"test_slice_start_out_of_bounds", "maps are not empty"),
    (r"test_averagepool_3d_.*|test_conv3d.*|test_convtranspose_3d|test_maxpool_3d_.*", "maps have two dimensions"),
    (r"test_convtranspose_group_2_image_3", "a batch: the engine loops over its items"),
    (r"test_matmul_(1d_3d|3d|4d|bcast)", "a batch of constant matrices"),
    (r"test_maxpool_with_argmax_2d_.*", "the positions of the maxima"),
    (r"test_batchnorm_\w+_training_mode|test_training_dropout_.*|test_training_dropout", "training"),
    (r"test_resize_.*_antialias", "antialiased resizing"),
    (r"test_resize_.*_cubic.*", "cubic resizing"),
    (r"test_resize_tf_crop_and_resize.*", "resizing of a region"),
    (r"test_resize_.*_not_(larger|smaller)", "keep_aspect_ratio_policy"),
    (
        r"test_resize_downsample_scales_linear_align_corners",
        "the case takes the size before rounding down; ONNX Runtime, which the engine follows, takes it after",
    ),
)


class RefusedError(Exception):
    """The engine leaves a node to the tail."""


@cache
def one_node_cases() -> dict[str, Any]:
    """ONNX's cases of a single node of its own domain."""
    with warnings.catch_warnings():  # of numpy, while onnx computes what it expects of the casts
        warnings.simplefilter("ignore")
        all_cases = load_model_tests(kind="node")
    nodes = {case.name: case.model.graph.node if case.model is not None else [] for case in all_cases}
    return {c.name: c for c in all_cases if len(nodes[c.name]) == 1 and nodes[c.name][0].domain in ("", "ai.onnx")}


@cache
def cases() -> dict[str, Any]:
    """The one-node cases of operators that the engine lowers."""
    return {name: case for name, case in one_node_cases().items() if case.model.graph.node[0].op_type in LOWERINGS}


def reason(name: str) -> str:
    return next((why for pattern, why in LEFT_OUT if re.fullmatch(pattern, name)), "")


def with_weights(model: onnx.ModelProto, inputs: Sequence[Array]) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """The model with the inputs that are not frames as initializers, and the frames by name."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    node = fixed.graph.node[0]
    frames = FRAMES.get(node.op_type, (0,))
    names = [name for position, name in enumerate(node.input) if frames == "all" or position in frames]
    feeds = {}
    for info, array in zip(model.graph.input, inputs, strict=True):
        if not isinstance(array, (np.ndarray, np.generic)):
            raise RefusedError(f"{info.name} is a {type(array).__name__}")
        if info.name in names:
            feeds[info.name] = np.asarray(array)
        else:
            fixed.graph.initializer.append(numpy_helper.from_array(np.asarray(array), info.name))
    return fixed, feeds


def run(model: onnx.ModelProto, feeds: dict[str, Array]) -> Iterator[Array]:
    """The model's outputs by the native core alone."""
    graph = load(model)
    lowered = lower(graph, {name: array.shape for name, array in feeds.items()})
    for placed in lowered.nodes:
        if placed.where == "tail":
            raise RefusedError(placed.reason)
    state = _core.State(lowered.plan, _core.Threads(1), False, 0.0)
    state.step([np.ascontiguousarray(feeds[border.name], np.float32) for border in lowered.inputs])
    borders = {border.name: border for border in lowered.outputs}
    for info in graph.outputs:
        if info.name not in borders:
            yield np.asarray(lowered.constants[info.name])
            continue
        array = np.empty(borders[info.name].shape, np.float32)
        state.read(borders[info.name].index, array)
        yield array


def judge(name: str) -> None:
    """Run one case; raise what is wrong with it."""
    case = cases()[name]
    for inputs, wanted in case.data_sets:
        model, feeds = with_weights(case.model, inputs)
        for array, expected in zip(run(model, feeds), wanted, strict=True):
            np.testing.assert_allclose(array, expected, rtol=case.rtol, atol=max(case.atol, 1e-6))
            assert array.shape == np.shape(expected)


@pytest.mark.parametrize("name", [name for name in cases() if not reason(name)])
def test_case(name: str) -> None:
    judge(name)


@pytest.mark.parametrize("name", [name for name in cases() if reason(name)])
def test_what_is_left_out_still_fails(name: str) -> None:
    with pytest.raises((RefusedError, AssertionError)):
        judge(name)


def test_every_line_leaves_something_out() -> None:
    for pattern, _ in LEFT_OUT:
        assert any(re.fullmatch(pattern, name) for name in cases()), pattern


def test_count(capsys: pytest.CaptureFixture[str]) -> None:
    """Prints how many of ONNX's cases pass and why the others are left out."""
    left_out = [name for name in cases() if reason(name)]
    with capsys.disabled():
        print(f"\nONNX node tests through the engine: {len(cases()) - len(left_out)} of {len(cases())}")  # noqa: T201
        for pattern, why in LEFT_OUT:
            count = sum(bool(re.fullmatch(pattern, name)) for name in left_out)
            print(f"{count:6d} left out: {why}  ({pattern})")  # noqa: T201
    assert len(cases()) > 300
