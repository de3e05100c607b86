"""Model.run: equal to ONNX Runtime, batches, sizes, threads, misuse."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from reconv.engine import Model, load
from reconv.engine.batch import separable
from reconv.engine.compiled import KEPT_SIZES
from reconv.errors import InputError, ModelError, TailError
from tests.unit.small import Array, cnn, frame, network, text


def reference(proto: onnx.ModelProto, feeds: dict[str, Array]) -> dict[str, Array]:
    """What ONNX Runtime gives with its optimisations off."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
    return dict(zip([o.name for o in proto.graph.output], session.run(None, feeds), strict=True))


def assert_equal(found: dict[str, Array], expected: dict[str, Array]) -> None:
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5, err_msg=name)


def test_the_comparison_can_fail() -> None:
    with pytest.raises(AssertionError):
        assert_equal({"y": np.zeros(2)}, {"y": np.array([0, 1e-3])})
    with pytest.raises(AssertionError):
        assert_equal({"y": np.zeros(2)}, {})


@pytest.mark.parametrize("tail", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
def test_equals_onnx_runtime(tail: bool, threads: int) -> None:
    proto, x = cnn(tail=tail), frame()
    model = load(proto, threads=threads)
    assert model.threads == threads
    assert [info.name for info in model.inputs] == ["x"]
    for seed in range(3):
        x = frame(seed=seed)
        assert_equal(model.run({"x": x}), reference(proto, {"x": x}))
    assert_equal(model.run(x), reference(proto, {"x": x}))
    turned = np.asfortranarray(x)
    assert_equal(model.run(turned), reference(proto, {"x": x}))


def test_outputs_are_the_callers() -> None:
    model, x = load(cnn(tail=True)), frame()
    first = model.run(x)
    kept = {name: value.copy() for name, value in first.items()}
    for value in first.values():
        value[:] = -1
    assert_equal(model.run(x), kept)


def test_outputs_that_are_inputs_or_constants() -> None:
    proto = network(
        [helper.make_node("Relu", ["x"], ["y"], "relu")], {"c": np.array([1, 2], np.float32)}, [1, 3, 4, 4], ["y"]
    )
    proto.graph.output.append(helper.make_tensor_value_info("c", onnx.TensorProto.FLOAT, [2]))
    proto.graph.output.append(helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3, 4, 4]))
    x = frame(4, 4)
    outputs = load(proto).run(x)
    assert_equal(outputs, {"y": np.maximum(x, 0), "c": np.array([1, 2], np.float32), "x": x})
    assert not np.shares_memory(outputs["x"], x)


def test_a_new_size_makes_a_new_plan_and_few_are_kept() -> None:
    proto = cnn()
    model = load(proto)
    for size in range(16, 16 + 2 * (KEPT_SIZES + 2), 2):
        x = frame(size, size)
        assert_equal(model.run(x), reference(proto, {"x": x}))
        assert len(model._sizes) <= KEPT_SIZES
    assert model.prepare(x).compiled is model.prepare(x).compiled
    assert model.prepare(x).compiled is not model.prepare(frame(12, 12)).compiled


def test_a_batch_is_a_loop_over_items() -> None:
    proto, x = cnn(), frame(batch=3)
    model = load(proto)
    work = model.prepare(x)
    assert work.items == 3
    assert work.compiled.shapes == {"x": (1, 3, 24, 32)}
    assert_equal(model.run(x), reference(proto, {"x": x}))


def test_a_model_that_mixes_items_is_not_split() -> None:
    mixing = text("""g (float[n,3,h,w] x) => (float[n,3,h,w] y) <int64[1] axes = {0}> {
        m = ReduceMean <axes = [0]> (x)
        y = Sub(x, m)
    }""")
    x = frame(8, 8, batch=2)
    model = load(mixing)
    assert model.prepare(x).items == 1
    assert_equal(model.run(x), reference(mixing, {"x": x}))
    assert not separable(model.graph, {"x": x}, 1)
    assert separable(load(cnn()).graph, {"x": x}, 1)


def test_threads_give_the_same_bits() -> None:
    model = load(cnn(tail=True), threads=2)
    frames = [frame(seed=seed) for seed in range(4)]
    alone = [model.run(x) for x in frames]
    wrong: list[int] = []

    def work(index: int) -> None:
        for _ in range(20):
            found = model.run(frames[index])
            if any(found[name].tobytes() != alone[index][name].tobytes() for name in found):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert any(alone[0][name].tobytes() != alone[1][name].tobytes() for name in alone[0])


def test_misuse() -> None:
    model = load(cnn(24, 32, 1))
    with pytest.raises(InputError, match=r"shape \(1, 3, 24, 30\), expected \(1, 3, 24, 32\); .*load the model with"):
        model.run(frame(24, 30))
    with pytest.raises(InputError, match="type float64"):
        model.run(frame().astype(np.float64))
    with pytest.raises(InputError, match="threads is 0"):
        load(cnn(), threads=0)
    with pytest.raises(ModelError, match="no input 'z'"):
        load(cnn(), shapes={"z": (1,)})
    assert load(cnn(24, 32, 1), shapes={"x": (1, 3, 24, 30)}).run(frame(24, 30))["y"].shape == (1, 8, 12, 15)


def test_a_tail_that_onnx_runtime_refuses() -> None:
    model = load(text("g (float[2] x) => (float[2] y) { y = Nonsense(x) }"))
    with pytest.raises(TailError, match="does not accept"):
        model.run(np.zeros(2, np.float32))


def test_placement() -> None:
    model = load(cnn(tail=True))
    with pytest.raises(InputError, match="free sizes"):
        model.placement()
    placement = model.placement({"x": (1, 3, 24, 32)})
    assert [node.name for node in placement] == [node.name for node in model.graph.nodes]
    by_name = {node.name: node for node in placement}
    assert by_name["conv1"].where == "engine"
    assert by_name["conv1"].multiply_adds == 8 * 12 * 16 * 27
    assert by_name["conv1"].bytes == 4 * 8 * 12 * 16
    assert str(by_name["conv2"].reach) == "7x7/2"
    assert by_name["topk"].where == "tail"
    assert by_name["topk"].reason
    assert placement.engine_share == 1
    assert placement.multiply_adds == model.prepare(frame()).compiled.macs
    assert "100.00% in the engine" in str(placement)
    model.run(frame(16, 16))
    assert model.placement().nodes[0].shape == (1, 8, 8, 8)  # the last run's sizes
    with pytest.raises(InputError, match="'x' is missing"):
        model.placement({})
    with pytest.raises(InputError, match="expected"):
        model.placement({"x": (1, 4, 8, 8)})


def test_digest_is_the_graphs() -> None:
    a, b = load(cnn()), load(cnn(tail=True))
    assert a.digest == load(cnn(24, 32, 1)).digest
    assert a.digest != b.digest
    assert isinstance(a, Model)


@pytest.mark.parametrize("threads", [0, -1, 65, 1.5, "2"])
def test_threads_that_make_no_sense(threads: Any) -> None:
    with pytest.raises(InputError, match=r"threads is .*, expected a number from 1 to 64"):
        load(cnn(), threads=threads)


def test_an_instruction_set_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECONV_ISA", "v9")
    with pytest.raises(InputError, match="RECONV_ISA: instruction set 'v9' is not one that this machine can run"):
        load(cnn())


def test_a_model_that_is_dropped_is_freed_at_once() -> None:
    model = load(cnn(), threads=1)
    model.run(frame())
    gone = weakref.ref(model)
    gc.disable()  # it must not wait for the collector of cycles: it holds all weights
    try:
        del model
        assert gone() is None
    finally:
        gc.enable()
