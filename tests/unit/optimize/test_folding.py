"""Batch norm folded before compression: the same function, and layers that keep their names."""

from __future__ import annotations

import numpy as np

from reconv.graph import load, to_onnx
from reconv.optimize.folding import folded
from reconv.optimize.values import RuntimeForward
from tests.contract.small_residual import graph, inputs, residual


def test_norms_go_into_the_layer_before_which_keeps_its_name() -> None:
    source = load(residual(norm=True))
    made = folded(source)
    assert "BatchNormalization" not in [node.op_type for node in made.nodes]
    names = [node.name for node in made.nodes if node.op_type in ("Conv", "Gemm")]
    assert names == ["conv1", "conv2", "conv3", "fc"]
    assert [node.name for node in load(to_onnx(made)).nodes] == [node.name for node in made.nodes]
    forward = RuntimeForward(1)
    for old, new in zip(forward(source, ["y"], inputs(3)), forward(made, ["y"], inputs(3)), strict=True):
        np.testing.assert_allclose(new["y"], old["y"], rtol=0, atol=2e-6 * np.abs(old["y"]).max())


def test_without_norms_nothing_changes() -> None:
    source = graph()
    assert folded(source) is source
