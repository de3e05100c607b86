"""Shared prefixes: the outputs of each model by itself, the common part once, and what is said when it cannot be."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from reconv.cache.store import Cache
from reconv.engine import Model, load
from reconv.errors import CacheError, InputError, ModelError
from reconv.reuse import keys
from reconv.reuse.member import Part
from reconv.reuse.prefix import SharedPrefix
from tests.unit.reuse.stemmed import stemmed
from tests.unit.small import frame, text

Array = np.ndarray[Any, Any]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The outputs of every part that ran, in order."""
    seen: list[tuple[str, ...]] = []
    real = Part.run

    def watched(self: Part, value: Any) -> Any:
        made = real(self, value)
        seen.append(self.outputs)
        return made

    monkeypatch.setattr(Part, "run", watched)
    return seen


def check(models: Sequence[onnx.ModelProto], shared: SharedPrefix, x: Any) -> None:
    """The very bits, names and order of each model's own run."""
    for found, model in zip(shared(x), models, strict=True):
        feed = x if isinstance(x, dict) else {model.graph.input[0].name: x}
        alone = load(model, threads=1)
        expected = alone.run({name: feed[name] for name in (info.name for info in alone.inputs)})
        assert list(found) == list(expected)
        for name, array in expected.items():
            assert found[name].dtype == array.dtype
            assert found[name].tobytes() == array.tobytes()


def test_two_heads_on_one_stem(ran: list[tuple[str, ...]]) -> None:
    models = [stemmed(0), stemmed(1)]
    shared = SharedPrefix(models, threads=1)
    check(models, shared, frame())
    assert ran == [("f",), ("y",), ("y",)]
    cut = shared.cut
    assert shared.cuts == (cut,)
    assert (cut.models, cut.values, cut.bytes) == ((0, 1), ("f",), 8 * 4)
    stem, head = 12 * 16 * 8 * 27 + 12 * 16 * 8 * 72, 40
    assert cut.multiply_adds == stem
    assert cut.share == pytest.approx(stem / (stem + head))


def test_names_and_where_the_models_come_from_do_not_matter(tmp_path: Path, ran: list[tuple[str, ...]]) -> None:
    models = [stemmed(0), stemmed(1, prefix="other/", input="picture"), stemmed(2)]
    onnx.save(models[0], tmp_path / "first.onnx")
    shared = SharedPrefix([tmp_path / "first.onnx", models[1].SerializeToString(), load(models[2], threads=1)])
    check(models, shared, frame())
    assert len(ran) == 4
    assert [info.name for info in shared.inputs] == ["x"]
    ran.clear()
    shared({"x": frame(seed=1)})
    assert len(ran) == 4


def test_a_model_that_is_given_decides_on_threads() -> None:
    one = SharedPrefix([stemmed(0), load(stemmed(1), threads=1)])
    one(frame())
    assert {part.model.threads for part in _parts(one)} == {1}
    two = SharedPrefix([stemmed(0), load(stemmed(1), threads=1)], threads=2)
    two(frame())
    assert {part.model.threads for part in _parts(two)} == {2}


def _parts(shared: SharedPrefix) -> list[Part]:
    plan = shared._plan
    assert plan is not None
    heads = [head._part for head in plan.heads if head._part is not None]
    return heads + [stage._part for stage in plan.source.values()]


def test_groups_share_more_than_all_do(ran: list[tuple[str, ...]]) -> None:
    """0 and 3 have the whole stem in common, so have 1 and 4; 2 has the first convolution only."""
    models = [
        stemmed(0, second=0),
        stemmed(1, second=1),
        stemmed(2, second=2),
        stemmed(3, second=0),
        stemmed(4, second=1),
    ]
    shared = SharedPrefix(models, threads=1)
    check(models, shared, frame())
    cuts = {cut.models: cut.values for cut in shared.cuts}
    assert cuts == {(0, 1, 2, 3, 4): ("r1",), (0, 3): ("f",), (1, 4): ("f",)}
    assert sorted(ran) == sorted([("r1",), ("f",), ("f",), *[("y",)] * 5])
    assert shared.cut.models == (0, 1, 2, 3, 4)
    assert sum(len(cut.models) * cut.multiply_adds for cut in shared.cuts) < 5 * 12 * 16 * 8 * 99


def test_pairs_without_a_common_stem(ran: list[tuple[str, ...]]) -> None:
    models = [stemmed(0, stem=0), stemmed(1, stem=1), stemmed(2, stem=0), stemmed(3, stem=1)]
    shared = SharedPrefix(models, threads=1)
    check(models, shared, frame())
    assert {cut.models for cut in shared.cuts} == {(0, 2), (1, 3)}
    assert len(ran) == 6


def test_a_model_that_is_a_prefix_of_another_and_one_that_is_there_twice(ran: list[tuple[str, ...]]) -> None:
    models = [stemmed(0, outputs=("r1",)), stemmed(0), stemmed(0), stemmed(0, outputs=("y", "p", "r1"))]
    for model in (models[0],):
        del model.graph.node[2:]
    shared = SharedPrefix(models, threads=1)
    check(models, shared, frame())
    first, again = shared(frame())[1:3]
    first["y"][:] = 0
    assert again["y"].any()


def test_outputs_are_the_callers_own() -> None:
    models = [stemmed(0, outputs=("y", "f")), stemmed(1, outputs=("f", "y"))]
    cache = Cache(1_000_000)
    shared = SharedPrefix(models, cache, threads=1)
    for outputs in (shared(frame()), shared(frame())):
        for output in outputs:
            output["f"][:] = 7
    check(models, shared, frame())


def test_inputs_and_constants_as_outputs() -> None:
    body = """g (float[1,3,8,8] x) => (float[1,3,8,8] x, float[2] k, float[1,3,8,8] y) <float[2] k = {1, 2}> {
        a = Sigmoid(x)
        y = %s(a)
    }"""
    models = [text(body % "Relu"), text(body % "Tanh")]
    x = frame(8, 8)
    shared = SharedPrefix(models, threads=1)
    check(models, shared, x)
    shared(x)[0]["x"][:] = 9
    assert not (x == 9).any()


def test_batches_sizes_and_layouts() -> None:
    models = [stemmed(0), stemmed(1)]
    shared = SharedPrefix(models, threads=1)
    with pytest.raises(CacheError, match=r"depends on the sizes that input x: float32 \(n, 3, h, w\) leaves free"):
        shared.cuts  # noqa: B018
    for x in (frame(batch=3), frame(), frame(40, 24), np.asfortranarray(frame(16, 16, batch=2))):
        check(models, shared, x)
    assert shared.cut.bytes == 32


def test_declared_sizes_are_enough_to_know_the_cut() -> None:
    shared = SharedPrefix([stemmed(0, shape=("n", 3, 24, 32)), stemmed(1)])
    assert shared.inputs[0].shape == ("n", 3, 24, 32)
    assert shared.cut.values == ("f",)
    with pytest.raises(InputError, match=r"expected \(n, 3, 24, 32\)"):
        shared(frame(16, 16))


def test_several_values_at_a_cut(ran: list[tuple[str, ...]]) -> None:
    body = """g (float[1,8,16,16] x) => (float[1,4,16,16] y) <float[4,8,1,1] w = {%s}> {
        a = Conv(x, w)
        b, c = Split <axis = 1> (a)
        d = Sigmoid(b)
        e = Relu(c)
        y = %s
    }"""
    w = ", ".join(str(i / 16) for i in range(32))
    models = [text(body % (w, "Concat <axis = 1> (d, e)")), text(body % (w, "Concat <axis = 1> (e, d)"))]
    shared = SharedPrefix(models, threads=1)
    check(models, shared, np.random.default_rng(0).standard_normal((1, 8, 16, 16)).astype(np.float32))
    assert sorted(shared.cut.values) == ["d", "e"]
    assert len(ran) == 3


def test_bytes_are_weighed_against_work(ran: list[tuple[str, ...]]) -> None:
    """Enlarging a map sixteenfold is cheap: the small one is kept, and each head enlarges it for itself."""
    body = """g (float[1,64,16,16] x) => (float[1,8,64,64] y) <float[8,64,3,3] w = {%s}, float[4] s = {1, 1, 4, 4}> {
        a = Conv <pads = [1, 1, 1, 1]> (x, w)
        b = Resize <mode = "nearest"> (a, , s)
        y = %s(b)
    }"""
    w = ", ".join(str(i / 9999) for i in range(8 * 64 * 9))
    models = [text(body % (w, op)) for op in ("Relu", "Sigmoid", "Tanh")]
    shared = SharedPrefix(models, threads=1)
    check(models, shared, np.random.default_rng(0).standard_normal((1, 64, 16, 16)).astype(np.float32))
    assert shared.cut.values == ("a",)
    assert shared.cut.bytes == 8 * 16 * 16 * 4


def test_sizes_are_not_kept_but_found_again(ran: list[tuple[str, ...]]) -> None:
    """A vector that Shape gives would come to the head as an input, and its Reshape would go to the tail."""
    body = """g (float[n,4,h,w] x) => (float[n,2,k] y)
    <int64[2] tail = {2, -1}, int64[1] zero = {0}, int64[1] one = {1}> {
        a = Sigmoid(x)
        shape = Shape(a)
        n = Slice(shape, zero, one)
        to = Concat <axis = 0> (n, tail)
        b = Reshape(a, to)
        y = %s(b)
    }"""
    models = [text(body % op) for op in ("Relu", "Tanh")]
    shared = SharedPrefix(models, threads=1)
    check(models, shared, np.random.default_rng(0).standard_normal((2, 4, 5, 6)).astype(np.float32))
    assert shared.cut.values == ("b",)


def test_whole_numbers_at_a_cut() -> None:
    body = """g (float[1,4,8,8] x) => (int64[1,1,8,8] y) <int64[1] k = {%d}> {
        a = Sigmoid(x)
        b = ArgMax <axis = 1> (a)
        y = Mul(b, k)
    }"""
    models = [text(body % k) for k in (2, 3)]
    shared = SharedPrefix(models, threads=1)
    check(models, shared, np.random.default_rng(0).standard_normal((1, 4, 8, 8)).astype(np.float32))
    assert shared.cut.values == ("b",)
    assert shared.cut.bytes == 64 * 8


def test_random_layers_are_not_shared() -> None:
    body = """g (float[1,3,8,8] x) => (float[1,3,8,8] y, float[1,3,8,8] z) {
        a = Sigmoid(x)
        n = RandomNormalLike(a)
        z = Add(a, n)
        y = %s(a)
    }"""
    shared = SharedPrefix([text(body % op) for op in ("Relu", "Tanh")], threads=1)
    first, again = shared(frame(8, 8)), shared(frame(8, 8))
    for model in range(2):
        assert (first[model]["z"] != again[model]["z"]).any()
        np.testing.assert_array_equal(first[model]["y"], again[model]["y"])
    assert shared.cut.values == ("a",)


def test_models_with_several_inputs_are_matched_by_name(ran: list[tuple[str, ...]]) -> None:
    both = (
        "(float[1,3,8,8] %s, float[1,3,8,8] %s) => (float[1,3,8,8] y) { a = Sub(left, right) b = Sigmoid(a) y = %s(b) }"
    )
    models = [text("g " + both % ("left", "right", "Relu")), text("g " + both % ("right", "left", "Tanh"))]
    models.append(text("g (float[1,3,8,8] left) => (float[1,3,8,8] y) { a = Sigmoid(left) y = Relu(a) }"))
    models.append(text("g (float[1,3,8,8] left) => (float[1,3,8,8] y) { a = Sigmoid(left) y = Tanh(a) }"))
    shared = SharedPrefix(models, threads=1)
    check(models, shared, {"left": frame(8, 8, seed=1), "right": frame(8, 8, seed=2)})
    assert [info.name for info in shared.inputs] == ["left", "right"]
    assert {cut.models for cut in shared.cuts} == {(0, 1), (2, 3)}


class TestOverTime:
    def test_what_came_before_does_not_run_the_stem(self, ran: list[tuple[str, ...]]) -> None:
        models, cache = [stemmed(0), stemmed(1)], Cache(1_000_000)
        shared = SharedPrefix(models, cache, threads=1)
        for x in (frame(seed=1), frame(seed=2), frame(seed=1), np.asfortranarray(frame(seed=2))):
            check(models, shared, x)
        assert ran.count(("f",)) == 2
        assert (cache.stats.hits, cache.stats.misses, len(cache)) == (2, 2, 2)

    def test_other_models_with_the_same_stem_find_its_values(self, ran: list[tuple[str, ...]]) -> None:
        cache = Cache(1_000_000)
        SharedPrefix([stemmed(0), stemmed(1)], cache, threads=1)(frame())
        later = [stemmed(5, prefix="late/", input="z"), stemmed(6)]
        check(later, SharedPrefix(later, cache, threads=1), frame())
        assert ran.count(("f",)) == 1
        assert ran.count(("late/f",)) == 0
        changed = [stemmed(0, second=1), stemmed(1, second=1)]
        check(changed, SharedPrefix(changed, cache, threads=1), frame())
        assert ran.count(("f",)) == 2

    def test_groups_have_entries_of_their_own(self, ran: list[tuple[str, ...]]) -> None:
        models, cache = [stemmed(0), stemmed(1), stemmed(2, second=1)], Cache(1_000_000)
        shared = SharedPrefix(models, cache, threads=1)
        check(models, shared, frame())
        before = len(ran)
        check(models, shared, frame())
        assert ran[before:] == [("y",)] * 3
        assert len(cache) == 2

    def test_another_runtime_is_another_entry(
        self, ran: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cache = Cache(1_000_000)
        SharedPrefix([stemmed(0), stemmed(1)], cache, threads=1)(frame())
        monkeypatch.setattr(keys, "RUNTIME", "onnxruntime 0.0")
        models = [stemmed(0), stemmed(1)]
        check(models, SharedPrefix(models, cache, threads=1), frame())
        assert ran.count(("f",)) == 2

    def test_a_cache_too_small_for_anything(self) -> None:
        models = [stemmed(0), stemmed(1)]
        shared = SharedPrefix(models, Cache(8), threads=1)
        check(models, shared, frame())
        check(models, shared, frame())

    def test_steps_aside_when_nothing_comes_again(self, ran: list[tuple[str, ...]]) -> None:
        cache = Cache(10_000_000)
        shared = SharedPrefix([stemmed(0), stemmed(1)], cache, threads=1)
        for seed in range(200):
            shared(frame(seed=seed))
        assert cache.stats.misses < 150
        assert ran.count(("f",)) == 200

    def test_several_threads_compute_a_stem_once(self, ran: list[tuple[str, ...]]) -> None:
        models = [stemmed(0), stemmed(1)]
        shared = SharedPrefix(models, Cache(1_000_000), threads=1)
        ready = threading.Barrier(4)
        failed: list[BaseException] = []

        def call() -> None:
            try:
                ready.wait(30)
                for seed in (1, 2, 1, 2):
                    check(models, shared, frame(seed=seed))
            except BaseException as error:
                failed.append(error)
                raise

        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed
        assert ran.count(("f",)) == 2


class TestMistakes:
    @pytest.mark.parametrize("models", [[], [stemmed(0)], "model.onnx"], ids=["none", "one", "a path"])
    def test_too_few(self, models: Any) -> None:
        with pytest.raises(CacheError, match="two or more models"):
            SharedPrefix(models)

    def test_nothing_in_common(self) -> None:
        with pytest.raises(CacheError, match="model 0 has no layer in common with any other"):
            SharedPrefix([stemmed(0, stem=0), stemmed(1, stem=1)])
        with pytest.raises(CacheError, match="model 2 has no layer in common with any other"):
            SharedPrefix([stemmed(0), stemmed(1), stemmed(2, stem=1)])

    @pytest.mark.parametrize("shape", [("n", 3, 24, 24), ("n", 1, "h", "w"), ("n", 3, 24)])
    def test_other_sizes(self, shape: tuple[Any, ...]) -> None:
        with pytest.raises(
            InputError, match=r"model 1 declares x: float32 .* and one before it x: float32 \(n, 3, 32, 32\)"
        ):
            SharedPrefix([stemmed(0, shape=("n", 3, 32, 32)), stemmed(1, shape=shape)])

    def test_other_types(self) -> None:
        other = stemmed(1)
        other.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", onnx.TensorProto.DOUBLE, ("n", 3, "h", "w")))
        with pytest.raises(InputError, match="load the models with shapes= that agree"):
            SharedPrefix([stemmed(0), other])

    def test_what_a_call_is_handed(self) -> None:
        shared = SharedPrefix([stemmed(0), stemmed(1)])
        with pytest.raises(InputError, match="no input 'picture'"):
            shared({"picture": frame()})
        with pytest.raises(InputError, match="has type float64"):
            shared(frame().astype(np.float64))

    def test_no_model(self) -> None:
        with pytest.raises(ModelError, match="does not exist"):
            SharedPrefix([stemmed(0), "missing.onnx"])


def test_models_stay_usable() -> None:
    """Those handed over are neither changed nor closed."""
    models = [load(stemmed(0), threads=1), load(stemmed(1), threads=1)]
    before = [model.run(frame()) for model in models]
    SharedPrefix(models)(frame())
    assert all(isinstance(model, Model) for model in models)
    for model, outputs in zip(models, before, strict=True):
        np.testing.assert_array_equal(model.run(frame())["y"], outputs["y"])
