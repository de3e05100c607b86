"""`share_outputs`: an output that did not change is the array that was given last, wherever it comes from, and nobody
can write to it; without it every array is the caller's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from reconv.engine import Model, load
from reconv.engine.tail import Tail, same_bits
from reconv.errors import TailError
from tests.unit.halves import NUMPY, halved
from tests.unit.small import Array, cnn, frame, text


def _everything(tail: bool = True) -> onnx.ModelProto:
    """Outputs of the engine, of the tail, an input that is an output, and a constant."""
    made = cnn(tail=tail)
    made.graph.initializer.append(helper.make_tensor("five", TensorProto.FLOAT, [1, 2], [5.0, 6.0]))
    made.graph.output.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"]))
    made.graph.output.append(helper.make_tensor_value_info("five", TensorProto.FLOAT, [1, 2]))
    return made


def _model(kind: str) -> tuple[Model, Array]:
    """A model and a frame of it."""
    if kind == "halves":
        return load(halved(_everything(), TensorProto.FLOAT16)), frame().astype(np.float16)
    if kind == "bfloat16":
        return load(halved(cnn(), TensorProto.BFLOAT16)), frame().astype(NUMPY[TensorProto.BFLOAT16])
    return load(_everything()), frame()


def _next(x: Array) -> Array:
    x = x.copy()
    x[:, :, 4:8, 4:8] += x.dtype.type(1)
    return x


def _same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return list(a) == list(b) and all(same_bits(a[name], b[name]) for name in a)


@pytest.mark.parametrize("kind", ["floats", "halves", "bfloat16"])
def test_what_did_not_change_is_the_array_that_was_given_last(kind: str) -> None:
    model, x = _model(kind)
    shared, own = model.stream(share_outputs=True), model.stream()
    last: dict[str, Any] = {}
    kept: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for now in (x, x, _next(x), _next(x), x):
        found, expected = shared(now.copy()), own(now)
        assert _same(found, expected)
        assert shared.last.changed == own.last.changed
        assert [name for name in found if found[name] is not last.get(name)] == list(shared.last.changed)
        last = found
        kept.append((found, expected))
    assert all(_same(found, expected) for found, expected in kept)  # those given earlier stay what they were
    assert kept[1][0]["y"] is kept[0][0]["y"]
    assert kept[2][0]["y"] is not kept[1][0]["y"]


@pytest.mark.parametrize("kind", ["floats", "halves"])
def test_nobody_writes_to_what_is_kept(kind: str) -> None:
    model, x = _model(kind)
    stream = model.stream(share_outputs=True)
    given = x.copy()
    for _ in range(2):
        for array in stream(given).values():
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 7
            with pytest.raises(ValueError, match="cannot set WRITEABLE flag"):
                array.flags.writeable = True
    outputs = stream(given)
    given[:] = 0  # the caller's own frame
    assert _same(outputs, model.run(x))
    assert _same(stream(x), model.run(x))


@pytest.mark.parametrize("kind", ["floats", "halves"])
def test_without_it_arrays_are_the_callers_own(kind: str) -> None:
    model, x = _model(kind)
    stream = model.stream()
    for _ in range(3):
        outputs = stream(x)
        assert _same(outputs, model.run(x))
        for array in outputs.values():
            array[...] = 7


def test_an_output_of_a_tail_that_ran_for_the_same_result() -> None:
    """Another frame, of which only the place of the largest value is asked."""
    model = load(text("g (float[1,4] x) => (float[1,4] y) { y = Hardmax(x) }"))
    x = np.array([[1.0, 2, 3, 4]], np.float32)
    stream = model.stream(share_outputs=True)
    first, second = stream(x), stream(x + np.float32(1))
    assert stream.last.dense  # of a model that is all tail: it ran
    assert stream.last.changed == ()
    assert second["y"] is first["y"]
    assert _same(second, model.run(x + np.float32(1)))


def test_sequences_stay_copies() -> None:
    model = load(text("g (float[4] x) => (seq(float[n]) s, float[4] y) { s = SequenceConstruct(x, x) y = Softmax(x) }"))
    stream, x = model.stream(share_outputs=True), np.arange(4, dtype=np.float32)
    first, second = stream(x), stream(x)
    assert second["y"] is first["y"]
    assert second["s"] is not first["s"]
    second["s"][0][:] = 7
    first["s"].clear()
    assert same_bits(stream(x)["s"][0], x)
    assert stream.state_bytes >= second["y"].nbytes
    with model.stream() as own:
        own(x)
        assert own.state_bytes > 0


def test_a_batch_is_shared_as_well() -> None:
    model = load(_everything(tail=True))
    x = frame(batch=2)
    shared, own = model.stream(share_outputs=True), model.stream()
    first, second = shared(x), shared(x)
    assert all(second[name] is first[name] for name in first)
    one_moved = x.copy()
    one_moved[1] = _next(x)[1]
    for now in (x, x, one_moved):
        expected = own(now)
    third = shared(one_moved)
    assert _same(third, expected)
    assert third["five"] is first["five"]
    assert third["y"] is not first["y"]
    assert _same(first, model.run(x))
    with pytest.raises(ValueError, match="read-only"):
        third["y"][...] = 7
    assert shared(frame())["y"].shape[0] == 1


def _native_bytes(stream: Any) -> list[int]:
    return [item.state.bytes for item in stream._items]


@pytest.mark.parametrize(("kind", "batch"), [("floats", 1), ("floats", 2), ("halves", 1)])
def test_what_is_kept_is_counted_once_and_let_go(kind: str, batch: int) -> None:
    model, x = _model(kind)
    x = np.concatenate([x] * batch)
    shared, own = model.stream(share_outputs=True), model.stream()
    for step in range(3):
        outputs = shared(x)
        own(x)
        sizes = {name: value.nbytes for name, value in outputs.items()}
        halves = kind == "halves"
        more = batch * outputs["five"].nbytes // outputs["five"].shape[0]  # top and x are kept anyway
        # y, and in halves what the engine gives of it, as an output and for the tail, in float32; the arrays for the
        # next step are there from the second one on
        more += (sizes["y"] + 4 * sizes["y"] * (2 if step else 1)) if halves else sizes["y"] * (2 if step else 1)
        bits = sum(_native_bytes(shared)) - sum(_native_bytes(own))  # what moved, of each array: rows of words
        assert 0 < bits <= batch * (1 + halves) * 2 * 8 * outputs["y"].shape[2]
        more += bits
        joined = sum(sizes.values()) if batch > 1 else 0
        assert shared.state_bytes == own.state_bytes + more + joined
    shared.reset()
    own.reset()
    assert shared.state_bytes <= own.state_bytes + sizes["five"] + bits
    assert shared(x)["y"] is not outputs["y"]


def test_plain_steps_and_audits_share_what_they_can() -> None:
    model = load(_everything(tail=False))
    stream = model.stream(0.3, share_outputs=True, audit_every=1, audit_budget=1.0)
    constant = stream(frame())["five"]
    plain = audited = 0
    for seed in range(40):
        x = frame(seed=seed) if seed < 20 else _next(frame()) * np.float32(1 + 0.01 * seed)
        outputs = stream(x)
        plain += stream.last.dense and not stream.last.audited
        audited += stream.last.audited
        assert not any(array.flags.writeable for array in outputs.values())
        if stream.last.dense:
            assert same_bits(outputs["y"], model.run(x)["y"])
        assert outputs["five"] is constant
    assert plain > 5
    assert audited > 0


def _addresses(outputs: list[dict[str, Any]]) -> set[int]:
    return {each["y"].__array_interface__["data"][0] for each in outputs}


@pytest.mark.parametrize("tolerance", [0.0, 0.2])
def test_memory_that_nobody_holds_is_written_to_again(tolerance: float) -> None:
    model = load(cnn())
    shared, own = model.stream(tolerance, share_outputs=True), model.stream(tolerance)
    x, addresses = frame(), set()
    for step in range(12):  # the last answer is held while the next is made, as a loop does
        x = x if step == 5 else _next(x) if step % 3 else frame(seed=step)
        answer = shared(x)
        assert _same(answer, own(x))
        addresses |= _addresses([answer])
    assert len(addresses) == 2


@pytest.mark.parametrize("hold", [lambda y: y, lambda y: y[0, :1], memoryview, lambda y: [y.T]])
def test_memory_that_somebody_holds_stays_what_it_is(hold: Any) -> None:
    stream, x = load(cnn()).stream(share_outputs=True), frame()
    held, copies = [], []
    for step in range(6):
        x = _next(x)
        y = stream(x)["y"]
        if step != 2:
            held.append(hold(y))
            copies.append(np.array(hold(y)))
        del y
    assert all(np.array_equal(np.array(each), copy) for each, copy in zip(held, copies, strict=True))


def test_without_a_count_of_references_to_trust_every_array_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconv.engine.shared._references", None)
    shared, own, x = (model := load(cnn())).stream(share_outputs=True), model.stream(), frame()
    addresses, held = set(), []
    for _ in range(5):
        x = _next(x)
        answer = shared(x)
        assert _same(answer, own(x))
        addresses |= _addresses([answer])
        held.append(answer["y"].base)  # its memory cannot come again by chance
    assert len(addresses) == 5


def test_a_free_interpreter_has_no_count_to_trust(monkeypatch: pytest.MonkeyPatch) -> None:
    from reconv.engine import shared

    assert shared._counter() is not None
    monkeypatch.setattr("sys._is_gil_enabled", lambda: False, raising=False)
    assert shared._counter() is None


def test_after_a_failure_nothing_old_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = load(_everything()), frame()
    stream = model.stream(share_outputs=True)
    stream(x)

    def fail(self: Tail, feeds: Mapping[str, Array]) -> dict[str, Any]:
        raise TailError("no")

    with monkeypatch.context() as broken:
        broken.setattr(Tail, "run", fail)
        with pytest.raises(TailError, match="no"):
            stream(_next(x))
    outputs = stream(_next(x))
    assert stream.last.dense
    assert _same(outputs, model.run(_next(x)))
