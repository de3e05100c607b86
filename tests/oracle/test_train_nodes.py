"""ONNX's own node tests through the torch functions of training, compared with what ONNX expects.

Every one-node test of floats or 8-bit codes whose operator is in `OPERATORS` runs, but for the lines of `LEFT_OUT`; a
line that a passing case would match is a failure.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from reconv.compress.train.net import Net
from reconv.compress.train.operators import OPERATORS
from reconv.errors import InputError, ModelError
from reconv.graph import load
from tests.oracle.test_onnx_nodes import RefusedError, one_node_cases, with_weights

# (pattern of case names, why they are not trained); the first that matches counts
TRAINED = {onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8, onnx.TensorProto.INT8, onnx.TensorProto.INT32}
LEFT_OUT: tuple[tuple[str, str], ...] = (
    (r"test_quantizelinear_(e\dm\d.*|float4e2m1|u?int[24])|test_cast(like)?_.*", "types beyond 8-bit codes"),
    (r"test_averagepool_\dd_dilations.*", "torch averages without gaps"),
    (r"test_maxpool_with_argmax_2d_.*", "the places of the largest"),
    (r"test_.*dropout.*(mask|training).*|test_training_dropout.*", "random, or what was dropped"),
    (r"test_batchnorm_\w+_training_mode", "the statistics as outputs"),
    (r"test_(de)?quantizelinear_blocked.*", "scales for blocks"),
    (r"test_reduce_(max|min)_empty_set.*", "maps are not empty"),
    (r"test_resize_tf_crop_and_resize.*", "resizing of a region"),
    (r"test_resize_.*_not_(larger|smaller)", "keep_aspect_ratio_policy"),
)


def trained(case: Any) -> bool:
    """Whether the frames of a case are of a type that maps or codes have."""
    node, kind = case.model.graph.node[0], case.model.graph.input[0].type.tensor_type.elem_type
    return kind == onnx.TensorProto.FLOAT or (node.op_type == "DequantizeLinear" and kind in TRAINED)


@cache
def cases() -> dict[str, Any]:
    found = {name: case for name, case in one_node_cases().items() if case.model.graph.node[0].op_type in OPERATORS}
    return {name: case for name, case in found.items() if trained(case)}


def reason(name: str) -> str:
    return next((why for pattern, why in LEFT_OUT if re.fullmatch(pattern, name)), "")


def judge(name: str) -> None:
    case = cases()[name]
    for inputs, wanted in case.data_sets:
        model, feeds = with_weights(case.model, inputs)
        net = Net(load(model)).eval()
        with torch.no_grad():
            found = net({k: torch.tensor(v) for k, v in feeds.items()})
        for info, expected in zip(model.graph.output, wanted, strict=True):
            array = found[info.name].numpy()
            assert array.shape == np.shape(expected)
            np.testing.assert_allclose(array, np.asarray(expected), rtol=case.rtol, atol=max(case.atol, 1e-6))


@pytest.mark.parametrize("name", [name for name in cases() if not reason(name)])
def test_case(name: str) -> None:
    judge(name)


@pytest.mark.parametrize("name", [name for name in cases() if reason(name)])
def test_what_is_left_out_still_fails(name: str) -> None:
    with pytest.raises((RefusedError, ModelError, InputError, AssertionError)):
        judge(name)


def test_every_line_leaves_something_out() -> None:
    assert len(cases()) > 300
    for pattern, _ in LEFT_OUT:
        assert any(re.fullmatch(pattern, name) for name in cases()), pattern
