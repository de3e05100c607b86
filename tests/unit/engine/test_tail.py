"""The tail runs when one of its inputs moved, and else gives copies of what it gave last."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import parser

from reconv.engine.tail import Tail, TailMemory, same_bits
from reconv.errors import TailError
from reconv.graph import load
from tests.unit.small import Array, cnn, frame, text


def _tail(threads: int = 1) -> Tail:
    return Tail(load(cnn(tail=True)), ["top"], {"x": (1, 3, 24, 32), "r1": (1, 8, 12, 16)}, {}, threads)


def test_cuts_at_what_is_at_hand() -> None:
    tail = _tail()
    assert tail.inputs == ("r1",)
    assert [node.name for node in tail.nodes] == ["conv2", "add", "relu2", "topk"]
    assert tail.macs == 8 * 12 * 16 * 8 * 9
    assert tail.run({"r1": np.ones((1, 8, 12, 16), np.float32)})["top"].shape == (1, 2, 12, 16)


def test_folded_values_are_embedded() -> None:
    graph = load(text("g (float[n] x, float[1] s) => (float[m] y) { t = Neg(s) y = Mul(x, t) }"))
    tail = Tail(graph, ["y"], {"x": (2,), "s": (1,)}, {"t": np.array([3], np.float32)}, 1)
    assert tail.inputs == ("x",)
    assert tail.run({"x": np.array([1, 2], np.float32)})["y"].tolist() == [3, 6]


def test_runs_only_when_something_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    tail = _tail()
    runs: list[int] = []
    run = tail.run

    def counted(feeds: dict[str, Array]) -> dict[str, Array]:
        runs.append(1)
        return run(feeds)

    monkeypatch.setattr(tail, "run", counted)
    memory = TailMemory(tail)
    feeds = {"r1": np.ones((1, 8, 12, 16), np.float32)}
    first = memory.step(feeds, [], True)
    assert first.ran
    assert first.changed == ("top",)
    assert memory.bytes == first.outputs["top"].nbytes
    second = memory.step(feeds, [], False)
    assert not second.ran
    assert same_bits(first.outputs["top"], second.outputs["top"])
    second.outputs["top"][:] = 0  # the caller's own copy
    assert same_bits(memory.step(feeds, [], False).outputs["top"], first.outputs["top"])
    third = memory.step(feeds, [], True)
    assert third.ran
    assert third.changed == ()  # ran, with the same result
    memory.forget()
    assert memory.step(feeds, [], False).ran
    assert len(runs) == 3


def test_direct_inputs_are_compared_bit_for_bit() -> None:
    graph = load(text("g (float[2] x) => (float[2] y) { y = Reciprocal(x) }"))
    memory = TailMemory(Tail(graph, ["y"], {"x": (2,)}, {}, 1))
    x = np.array([0.0, 1], np.float32)
    assert memory.step({"x": x}, ["x"], False).ran
    assert not memory.step({"x": x.copy()}, ["x"], False).ran
    x[0] = -0.0  # equal, but its reciprocal is not
    assert memory.step({"x": x}, ["x"], False).outputs["y"][0] == -np.inf


def test_random_operators_always_run() -> None:
    graph = load(text("g (float[2] x) => (float[2] y) { r = RandomUniformLike(x) y = Add(x, r) }"))
    memory = TailMemory(Tail(graph, ["y"], {"x": (2,)}, {}, 1))
    x = np.zeros(2, np.float32)
    memory.step({"x": x}, ["x"], False)
    assert memory.step({"x": x}, ["x"], False).ran


def test_a_failed_run_is_forgotten() -> None:
    graph = load(text("g (float[2] x, int64[1] i) => (float[1] y) { y = Gather(x, i) }"))
    memory = TailMemory(Tail(graph, ["y"], {"x": (2,), "i": (1,)}, {}, 1))
    x = np.array([5, 6], np.float32)
    good, bad = {"x": x, "i": np.array([1])}, {"x": x, "i": np.array([9])}
    assert memory.step(good, ["x", "i"], False).outputs["y"] == 6
    with pytest.raises(TailError, match="failed in the tail") as error:
        memory.step(bad, ["x", "i"], False)
    assert "\n" not in str(error.value)
    assert memory.step(good, ["x", "i"], False).ran


def test_what_onnx_runtime_does_not_accept() -> None:
    graph = load(text("g (float[2] x) => (float[2] y) { y = Nonsense(x) }"))
    with pytest.raises(TailError, match="does not accept"):
        Tail(graph, ["y"], {"x": (2,)}, {}, 1).run({"x": np.zeros(2, np.float32)})


def test_same_bits() -> None:
    a = frame()
    assert same_bits(a, a.copy())
    assert same_bits(np.array(["a"], object), np.array(["a"], object))
    b = a.copy()
    b[0, 0, 0, 0] = np.nextafter(b[0, 0, 0, 0], 9)
    assert not same_bits(a, b)
    assert not same_bits(np.zeros(1), np.zeros(1, np.float32))
    assert not same_bits(np.array(0.0), np.array(-0.0))
    assert not same_bits([a], [a])


def test_random_operators_in_a_branch_always_run() -> None:
    graph = load(
        text(
            """g (float[4] x, bool c) => (float[4] y) {
            y = If (c) <then_branch = a () => (float[4] o) { o = RandomNormalLike(x) },
                        else_branch = b () => (float[4] p) { p = Identity(x) }> }"""
        )
    )
    memory = TailMemory(Tail(graph, ["y"], {"x": (4,), "c": ()}, {}, 1))
    feeds = {"x": np.zeros(4, np.float32), "c": np.array(True)}
    memory.step(feeds, ["x", "c"], False)
    assert memory.step(feeds, ["x", "c"], False).ran


def test_random_operators_in_a_function_always_run() -> None:
    graph = load(
        parser.parse_model(
            """<ir_version: 8, opset_import: ["": 17, "own": 1]>
            g (float[4] x) => (float[4] y) { y = own.noise(x) }
            <domain: "own", opset_import: ["": 17]> noise (a) => (b) { r = RandomNormalLike(a) b = Add(a, r) }"""
        )
    )
    assert Tail(graph, ["y"], {"x": (4,)}, {}, 1).always
