"""What a user sees of a depthwise convolution that is done inside the pointwise one that reads it."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, helper

from reconv import load
from reconv.engine.tolerance import MapProfile, Profile
from reconv.errors import ProfileError
from tests.unit.small import network


def pair() -> ModelProto:
    random = np.random.default_rng(3)
    weights = {
        "w": random.normal(0, 0.3, (8, 3, 3, 3)).astype(np.float32),
        "deep": random.normal(0, 0.3, (8, 1, 3, 3)).astype(np.float32),
        "point": random.normal(0, 0.3, (6, 8, 1, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], "first", pads=[1] * 4),
        helper.make_node("Conv", ["a", "deep"], ["b"], "deep", pads=[1] * 4, group=8),
        helper.make_node("Relu", ["b"], ["c"], "relu"),
        helper.make_node("Conv", ["c", "point"], ["y"], "point"),
    ]
    return network(nodes, weights, [1, 3, 12, 16], ["y"])


def test_placement() -> None:
    placement = load(pair()).placement()
    nodes = {node.name: node for node in placement}
    assert nodes["deep"].reason == "done inside Conv 'point', pixel by pixel"
    assert nodes["relu"].reason == "fused into Conv 'deep'"
    assert [node.bytes for node in placement] == [12 * 16 * 8 * 4, 0, 0, 12 * 16 * 6 * 4]
    assert [node.multiply_adds for node in placement] == [12 * 16 * n for n in (8 * 27, 8 * 9, 0, 6 * 8)]
    assert "done inside Conv 'point'" in str(placement)


def test_where_a_step_worked() -> None:
    x = np.random.default_rng(1).random((1, 3, 12, 16), np.float32)
    with load(pair()).stream() as stream:
        stream(x)
        assert stream.last.recomputed == 1
        x = x.copy()
        x[0, :, 2, 3] += 1
        stream(x)
        worked = stream.recomputed_map((12, 16))
        assert worked.mean() == pytest.approx(stream.last.recomputed, abs=1e-6)
        weights = np.array([8 * 27, 8 * 9 + 6 * 8])  # 3 x 3 pixels of the first, 5 x 5 of both others
        assert stream.last.recomputed == pytest.approx(float(weights @ [9, 25] / (weights.sum() * 12 * 16)))


def test_a_profile_cannot_speak_of_what_is_not_kept() -> None:
    model = load(pair())
    x = np.zeros((1, 3, 12, 16), np.float32)
    model.stream(profile=Profile(maps={"a": MapProfile(2.0)}))(x)
    with pytest.raises(ProfileError, match="'c', which is not cut off"):
        model.stream(profile=Profile(maps={"c": MapProfile(2.0)}))(x)
