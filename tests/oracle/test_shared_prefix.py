"""Shared prefixes of random and of real networks against each model by itself, and against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from reconv.cache.store import Cache
from reconv.engine import load
from reconv.reuse.member import Part
from reconv.reuse.prefix import SharedPrefix
from tests.oracle.test_lowering import Array, frames, reference
from tests.oracle.test_random_graphs import Drawn
from tests.tolerances import FLOAT32_REORDERED


def continued(seed: int, branch: int) -> Drawn:
    """A random network that begins as others of its seed do, with one layer or more, and goes on in its own way."""
    drawn = Drawn(seed)
    random = np.random.default_rng([seed, branch])
    drawn.nodes = drawn.nodes[: int(random.integers(1, len(drawn.nodes) + 1))]
    made = {name for node in drawn.nodes for name in node.output}
    drawn.values = [value for value in drawn.values if value[0] in made | {"x"}]
    drawn.random = random
    for _ in range(int(random.integers(1, 4))):
        drawn.step()
    read = {name for node in drawn.nodes for name in node.input}
    drawn.outputs = sorted({name for node in drawn.nodes for name in node.output} - read)
    return drawn


@pytest.mark.parametrize("seed", range(40))
def test_random_networks_that_begin_alike(seed: int) -> None:
    drawn = [continued(seed, branch) for branch in range(3)]
    models = [each.model() for each in drawn]
    shared = SharedPrefix(models, Cache(1_000_000), threads=1)
    for frame in (*frames(drawn[0].shape), frames(drawn[0].shape)[0]):
        for found, model in zip(shared(frame), models, strict=True):
            alone, wanted = load(model, threads=1).run(frame), reference(model, {"x": frame})
            assert list(found) == list(alone)
            for name, array in found.items():
                FLOAT32_REORDERED.check(array, alone[name], name, scale=np.abs(alone[name]).max(initial=0))
                np.testing.assert_allclose(array, wanted[name], rtol=2e-4, atol=5e-5, err_msg=name)
    assert shared.cuts
    assert all(0 <= cut.share <= 1 for cut in shared.cuts)


def headed(backbone: onnx.ModelProto, seed: int) -> onnx.ModelProto:
    """MobileNetV2 up to its last map, with global pooling and a fully connected layer of new weights."""
    model = onnx.ModelProto()
    model.CopyFrom(backbone)
    pool = next(i for i, node in enumerate(model.graph.node) if node.op_type == "GlobalAveragePool")
    last = model.graph.node[pool].input[0]
    del model.graph.node[pool:]
    weight = np.random.default_rng(seed).normal(0, 0.05, (1280, 100)).astype(np.float32)
    model.graph.node.extend(
        [
            helper.make_node("GlobalAveragePool", [last], [f"pooled{seed}"]),
            helper.make_node("Flatten", [f"pooled{seed}"], [f"flat{seed}"]),
            helper.make_node("MatMul", [f"flat{seed}", "head"], ["scores"]),
        ]
    )
    model.graph.initializer.append(numpy_helper.from_array(weight, "head"))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, None))
    return model


def picture(size: int = 224) -> Array:
    return np.random.default_rng(0).standard_normal((1, 3, size, size)).astype(np.float32)


def test_ten_heads_on_one_backbone(asset: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = onnx.load(asset("mobilenet_v2"))
    models = [load(headed(backbone, seed), threads=1) for seed in range(10)]
    spent: list[int] = []
    real = Part.run

    def watched(self: Part, value: Any) -> Any:
        made = real(self, value)
        spent.append(self.model.placement().multiply_adds)
        return made

    monkeypatch.setattr(Part, "run", watched)
    shared = SharedPrefix(models)
    x = picture()
    for found, model in zip(shared(x), models, strict=True):
        assert found["scores"].tobytes() == model.run(x)["scores"].tobytes()
    (cut,) = shared.cuts
    assert cut.models == tuple(range(10))
    assert cut.bytes == 1280 * 4
    assert cut.share > 0.99
    assert sum(spent) < models[0].placement().multiply_adds * 1.01


@pytest.mark.parametrize(
    ("name", "size", "changed"),
    [("mobilenet_v2", 224, 4), ("mobilenet_v2", 224, 20), ("mobilenet_v2", 224, 45), ("yolox_nano", 160, 43)],
)
def test_two_networks_that_differ_from_some_layer_on(
    asset: Callable[[str], Path], name: str, size: int, changed: int
) -> None:
    """Cut inside of residual blocks and between branches: the fused layers give the same bits apart."""
    backbone = onnx.load(asset(name))
    other = onnx.ModelProto()
    other.CopyFrom(backbone)
    read = [node for node in other.graph.node if node.op_type == "Conv"][changed].input[1]
    weight = next(tensor for tensor in other.graph.initializer if tensor.name == read)
    array = numpy_helper.to_array(weight).copy()
    array.flat[0] += 0.125
    weight.CopyFrom(numpy_helper.from_array(array, read))
    models = [load(model, threads=1) for model in (backbone, other)]
    shared = SharedPrefix(models)
    x = picture(size)
    alone = [model.run(x) for model in models]
    assert any((alone[0][output] != alone[1][output]).any() for output in alone[0])
    for found, expected in zip(shared(x), alone, strict=True):
        for output, array in expected.items():
            assert found[output].tobytes() == array.tobytes()
    assert 0 < shared.cut.share < 1
