"""Equal weights are kept once: within a plan, and among the plans of one model for several sizes."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, helper

from reconv import _core, load
from reconv.engine.compiled import Compiled
from reconv.graph import load as read
from tests.unit.small import Array, network

CHANNELS = 64
ONE = CHANNELS * CHANNELS * 9 * 4  # bytes of one 3x3 kernel, whole vectors on every instruction set
BIAS = CHANNELS * 4


def tower(weights: dict[str, Array], names: list[str], size: int | str = 8) -> ModelProto:
    """3x3 convolutions, one after the other, by the names of their weights."""
    nodes = [
        helper.make_node("Conv", [f"v{i}" if i else "x", name], [f"v{i + 1}"], f"conv{i}", pads=[1] * 4)
        for i, name in enumerate(names)
    ]
    return network(nodes, weights, [1, CHANNELS, size, size], [f"v{len(names)}"])


def kernels() -> dict[str, Array]:
    random = np.random.default_rng(5)
    weights = {name: random.normal(0, 0.04, (CHANNELS, CHANNELS, 3, 3)).astype(np.float32) for name in ("a", "b")}
    nearly = weights["a"].copy()
    nearly[-1, -1, -1, -1] = np.nextafter(nearly[-1, -1, -1, -1], np.float32(1))
    return {**weights, "copy of a": weights["a"].copy(), "nearly a": nearly}


def compiled(names: list[str], size: int = 8, store: _core.WeightStore | None = None) -> Compiled:
    graph = read(tower({name: kernels()[name] for name in names}, names, size))
    return Compiled(graph, {"x": (1, CHANNELS, size, size)}, _core.Threads(1), store)


@pytest.mark.parametrize(
    ("names", "different"),
    [
        (["a"], 1),
        (["a", "a", "a"], 1),
        (["a", "copy of a"], 1),
        (["a", "b", "a"], 2),
        (["a", "nearly a"], 2),
    ],
)
def test_a_plan_keeps_each_kernel_once(names: list[str], different: int) -> None:
    assert compiled(names).lowered.plan.weight_bytes == different * ONE + len(names) * BIAS


def test_the_result_is_that_of_weights_of_their_own() -> None:
    x = np.random.default_rng(1).random((1, CHANNELS, 8, 8), np.float32)
    shared = load(tower(kernels(), ["a", "b", "copy of a"])).run(x)["v3"]
    for name in ("a", "b", "a"):
        x = load(tower(kernels(), [name])).run(x)["v1"]
    assert np.array_equal(shared, x)


def test_depthwise_kernels_too() -> None:
    weight = np.random.default_rng(2).random((CHANNELS, 1, 3, 3), np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1] * 4, group=CHANNELS),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w"], ["y"], pads=[1] * 4, group=CHANNELS),
    ]
    graph = read(network(nodes, {"w": weight}, [1, CHANNELS, 8, 8], ["y"]))
    plan = Compiled(graph, {"x": (1, CHANNELS, 8, 8)}, _core.Threads(1)).lowered.plan
    assert plan.weight_bytes == weight.nbytes + 2 * BIAS


def test_plans_of_one_store_share() -> None:
    store = _core.WeightStore()
    held = [compiled(["a", "b"], size, store) for size in (8, 9, 12)]
    assert store.bytes == 2 * ONE
    held.append(compiled(["b", "nearly a"], 8, store))
    assert store.bytes == 3 * ONE
    del held[:3]
    assert store.bytes == 2 * ONE  # those of the last one
    del held
    assert store.bytes == 0


def test_the_sizes_of_a_model_share(monkeypatch: pytest.MonkeyPatch) -> None:
    stores: list[_core.WeightStore] = []

    class Store(_core.WeightStore):
        def __init__(self) -> None:
            super().__init__()
            stores.append(self)

    monkeypatch.setattr(_core, "WeightStore", Store)
    model = load(tower({"a": kernels()["a"]}, ["a"], "size"))
    for size in (8, 9, 12):
        model.run(np.zeros((1, CHANNELS, size, size), np.float32))
    (store,) = stores
    assert store.bytes == ONE
    del model
    assert store.bytes == 0
