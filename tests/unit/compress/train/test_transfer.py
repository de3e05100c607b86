"""A new head on frozen features; gradients for importance; two graphs as one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reconv import Cache
from reconv.compress.train.gradients import gradients
from reconv.compress.train.loop import Course
from reconv.compress.train.net import Net
from reconv.compress.train.transfer import new_head, transfer
from reconv.errors import InputError, ModelError
from reconv.graph import check, parse, to_onnx
from reconv.graph.join import join
from reconv.reuse.features import Features
from tests.unit.compress.train.nets import blobs, by_runtime, classifier, right, tensors

SAMPLES, LABELS = blobs(64)
COURSE = Course(epochs=8, batch=16, learning_rate=0.1, threads=1)


def test_a_head_learns_on_features_that_are_computed_once() -> None:
    backbone = classifier(channels=8, classes=5)
    pairs = [(sample["x"][0], int(label)) for sample, label in zip(SAMPLES, LABELS, strict=True)]
    features = Features(to_onnx(backbone), pairs, Cache(1_000_000), at="f")
    found = transfer(new_head((8,), 3), features, backbone=backbone, at="f", course=COURSE)
    assert features.runs == len(SAMPLES)
    check(found.graph)
    assert [info.shape for info in found.graph.outputs] == [("batch", 3)]
    np.testing.assert_array_equal(found.graph.constants["w1"], backbone.constants["w1"])
    assert right(found.graph, *blobs(200, seed=9)) > 0.9
    assert found.report.settings["at"] == {"f": "features"}


def test_a_head_on_maps_averages_them() -> None:
    random = np.random.default_rng(0)
    maps = random.normal(0, 0.3, (len(LABELS), 4, 5, 5)) + np.eye(4)[LABELS][:, :, None, None]
    pairs = [(each.astype(np.float32), int(label)) for each, label in zip(maps, LABELS, strict=True)]
    found = transfer(new_head((4, 5, 5), 3), pairs, course=COURSE)
    logits = by_runtime(found.graph, {"features": maps.astype(np.float32)})[0]
    assert (logits.argmax(-1) == LABELS).mean() > 0.9


def test_features_that_do_not_fit_are_told() -> None:
    with pytest.raises(InputError, match="no samples"):
        transfer(new_head((4,), 3), [])
    with pytest.raises(InputError, match="do not fit the head, which wants features"):
        transfer(new_head((4,), 3), [({"other": np.zeros(4, np.float32)}, 1)] * 4)
    with pytest.raises(ModelError, match=r"Gemm.*does not work in training"):
        transfer(new_head((4,), 3), [(np.zeros(5, np.float32), 1)] * 4)
    with pytest.raises(InputError, match="labels are whole numbers"):
        transfer(new_head((4,), 3), [(np.zeros(4, np.float32), 0.5)] * 4)
    with pytest.raises(InputError, match="no head gives 1 classes"):
        new_head((4,), 1)


# --- two graphs as one


def test_joined_graphs_give_what_they_give_one_after_the_other() -> None:
    first, second = classifier(), parse(
        "h (float[n, 6] v) => (float[n, 2] z) { c = Gemm (v, w1) z = Relu (c) }",  # names that the first has too
        {"w1": np.random.default_rng(1).normal(0, 1, (6, 2)).astype(np.float32)},
    )  # fmt: skip
    both = join(first, second, {"f": "v"})
    check(both)
    feeds = SAMPLES[0]
    with torch.no_grad():
        maps = Net(first).eval()(tensors(feeds), ["f"])["f"].numpy()
    np.testing.assert_allclose(by_runtime(both, feeds)[0], by_runtime(second, {"v": maps})[0], atol=1e-5)
    assert [info.name for info in both.outputs] == ["z"]
    assert "head" not in both.constants  # of the first: nothing reads it now


def test_graphs_that_do_not_fit_are_not_joined() -> None:
    second = parse("h (float[n, 6] v) => (float[n, 6] z) { z = Relu (v) }", {})
    with pytest.raises(ModelError, match="input 'v' is joined to nothing"):
        join(classifier(), second, {"f": "w"})
    with pytest.raises(ModelError, match="no node produces it"):
        join(classifier(), second, {"nothing": "v"})
    with pytest.raises(ModelError, match="opset 17 and 13"):
        join(classifier(), parse("h (float[n, 6] v) => (float[n, 6] z) { z = Relu (v) }", {}, 13), {"f": "v"})
    clash = parse("h (float[n, 6] v) => (float[n, 6] c) { c = Relu (v) }", {})
    with pytest.raises(ModelError, match="'c' has the name of a value of the first"):
        join(classifier(), clash, {"f": "v"})


# --- gradients


def test_gradients_come_batch_by_batch_and_add_up_to_those_of_all() -> None:
    graph = classifier()
    parts = list(gradients(graph, SAMPLES, labels=LABELS, batch=32))
    (whole,) = gradients(graph, SAMPLES, labels=LABELS, batch=64)
    assert len(parts) == 2
    assert set(whole) == {"w1", "w2", "b2", "head", "bias", "scale", "shift"}
    for name, array in whole.items():
        assert array.shape == graph.constants[name].shape
        np.testing.assert_allclose((parts[0][name] + parts[1][name]) / 2, array, atol=1e-5)
    logits = by_runtime(graph, {"x": np.concatenate([s["x"] for s in SAMPLES])})[0]
    odds = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(whole["bias"], (odds - np.eye(3)[LABELS]).mean(0), atol=1e-5)


def test_gradients_without_labels_and_of_a_loss_of_ones_own() -> None:
    graph = classifier()
    (own,) = gradients(graph, SAMPLES[:8])
    assert any(np.abs(array).max() > 0 for array in own.values())
    (squares,) = gradients(graph, SAMPLES[:8], lambda outputs, rows: outputs["logits"].sum() / len(rows))
    np.testing.assert_allclose(squares["bias"], np.ones(3), atol=1e-6)
    with pytest.raises(InputError, match="no samples"):
        next(gradients(graph, []))
