"""Keys: what makes two of them differ, and what does not."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from reconv import __version__, _core
from reconv.engine import load
from reconv.errors import CacheError
from reconv.reuse import keys
from reconv.reuse.keys import derived_key, input_digest, numerics, refuse_random, result_key, values_key
from tests.unit.small import cnn, frame, text

Array = np.ndarray[Any, Any]
HASHES = {"sha256": hashlib.sha256, "installed": keys._new}


@pytest.fixture(params=HASHES)
def hashed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both the fast hash and the standard library's."""
    monkeypatch.setattr(keys, "_new", HASHES[request.param])
    return str(request.param)


@pytest.mark.usefixtures("hashed")
class TestInputs:
    def test_layout_and_order_of_names_do_not_count(self) -> None:
        a = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
        wide = np.zeros((2, 3, 8), np.float32)
        wide[..., ::2] = a
        same = {"F": np.asfortranarray(a), "strided": wide[..., ::2], "backwards": a[::-1].copy()[::-1]}
        for layout, array in same.items():
            assert input_digest({"x": array}) == input_digest({"x": a}), layout
        assert input_digest({"x": a, "y": a[0]}) == input_digest({"y": a[0], "x": a})
        a.flags.writeable = False
        assert len(input_digest({"x": a})) == 16

    @pytest.mark.parametrize(
        "other",
        [
            {"x": np.zeros((2, 3), np.float64)},
            {"x": np.zeros((3, 2), np.float32)},
            {"x": np.zeros(6, np.float32)},
            {"x": np.zeros((2, 3), np.int32)},
            {"x": np.zeros((2, 3), ">f4")},
            {"y": np.zeros((2, 3), np.float32)},
            {"x": np.zeros((2, 3), np.float32), "y": np.zeros(0, np.float32)},
            {"x": -np.zeros((2, 3), np.float32)},
            {"x": np.array([[0, 0, 0], [0, 0, 1e-45]], np.float32)},
            {},
        ],
        ids=str,
    )
    def test_everything_else_counts(self, other: dict[str, Array]) -> None:
        assert input_digest(other) != input_digest({"x": np.zeros((2, 3), np.float32)})

    def test_payloads_of_nans_are_other_bits(self) -> None:
        nans = [np.array([bits], np.uint32).view(np.float32) for bits in (0x7FC00000, 0x7FC00001, 0xFFC00000)]
        assert len({input_digest({"x": nan}) for nan in nans}) == 3

    def test_small_and_odd_types(self) -> None:
        import ml_dtypes

        kinds: list[Any] = [bool, np.uint8, np.int8, np.float16, np.uint16, ml_dtypes.bfloat16, "U1", "S2", "M8[s]"]
        kinds += [np.complex64, object, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2]
        digests = {input_digest({"x": np.zeros(4, kind)}) for kind in kinds}
        assert len(digests) == len(kinds)
        empty = {input_digest({"x": np.zeros((n, 0, 3), kind)}) for n in (0, 1, 2) for kind in kinds}
        assert len(empty) == 3 * len(kinds)
        scalars = {input_digest({"x": np.asarray(value)}) for value in (0, 1, 0.0, True, [0])}
        assert len(scalars) == 5

    def test_text_is_told_apart_by_strings_not_by_letters(self) -> None:
        assert input_digest({"x": np.array(["ab", "c"], object)}) != input_digest({"x": np.array(["a", "bc"], object)})
        assert input_digest({"x": np.array(["a", "b"])}) == input_digest({"x": np.array(["a", "b"])})

    def test_neighbours_cannot_swap_bytes(self) -> None:
        a, b = np.arange(4, dtype=np.uint8), np.arange(4, 8, dtype=np.uint8)
        assert input_digest({"a": a, "b": b}) != input_digest({"a": b, "b": a})
        assert input_digest({"a": np.arange(5, dtype=np.uint8), "b": np.arange(5, 8, dtype=np.uint8)}) != input_digest(
            {"a": a, "b": b}
        )

    def test_every_bit_of_a_large_array_counts(self) -> None:
        x = np.zeros(100_003, np.uint8)
        seen = {input_digest({"x": x})}
        for at in (0, 1, 1023, 1024, 65_535, 65_536, 100_001, 100_002):
            x[at] ^= 0x80
            seen.add(input_digest({"x": x}))
            x[at] ^= 0x80
        assert len(seen) == 9


def test_another_hash_gives_another_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even when two hashes agreed, the digests would not: the name is in them."""
    x = {"x": np.zeros(3, np.float32)}
    before = input_digest(x)
    monkeypatch.setattr(keys, "HASH", "another")
    assert input_digest(x) != before


def test_without_the_extra_it_is_the_standard_librarys() -> None:
    blocked = (
        "import sys; sys.modules['blake3'] = None; from reconv.reuse import keys; print(keys.HASH, keys._new().name)"
    )
    done = subprocess.run([sys.executable, "-c", blocked], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["sha256", "sha256"]
    assert keys.HASH == "blake3"


def test_parts_of_a_key_do_not_run_together() -> None:
    made = [derived_key("k", "ab", "c"), derived_key("k", "a", "bc"), derived_key("k", "abc"), derived_key("k", b"abc")]
    made += [derived_key("ka", "bc"), derived_key("k"), derived_key("k", "", "abc"), derived_key("k", "abc", "")]
    assert len(set(made)) == len(made)
    assert {len(key) for key in made} == {16}


def test_numerics_name_runtime_instruction_set_and_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {}
    for isa in _core.isas():
        monkeypatch.setenv("RECONV_ISA", isa)
        said[isa] = numerics(load(cnn(), threads=1))
        assert numerics(load(cnn(), threads=2)) == said[isa]
        for word in (f"reconv {__version__}", isa, "float32", f"onnxruntime {onnxruntime.__version__}"):
            assert word in said[isa]
    assert len(set(said.values())) == len(said)


Change = Callable[[pytest.MonkeyPatch, onnx.ModelProto, dict[str, Array]], None]


def _weight(_: pytest.MonkeyPatch, model: onnx.ModelProto, __: dict[str, Array]) -> None:
    data = bytearray(model.graph.initializer[0].raw_data)
    data[0] ^= 1
    model.graph.initializer[0].raw_data = bytes(data)


def _output_name(_: pytest.MonkeyPatch, model: onnx.ModelProto, __: dict[str, Array]) -> None:
    model.graph.node[-1].output[0] = model.graph.output[0].name = "z"


def _pixel(_: pytest.MonkeyPatch, __: onnx.ModelProto, x: dict[str, Array]) -> None:
    x["x"][0, 0, 0, 0] = np.nextafter(x["x"][0, 0, 0, 0], np.float32(9))


def _runtime(monkeypatch: pytest.MonkeyPatch, _: onnx.ModelProto, __: dict[str, Array]) -> None:
    monkeypatch.setattr(keys, "RUNTIME", "onnxruntime 0.0")


@pytest.mark.parametrize("change", [_weight, _output_name, _pixel, _runtime])
def test_the_key_of_a_result(change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    key = result_key(load(cnn(), threads=1), {"x": frame()})
    assert result_key(load(cnn(24, 32), threads=2), {"x": frame()}) == key
    model, x = cnn(), {"x": frame()}
    change(monkeypatch, model, x)
    assert result_key(load(model, threads=1), x) != key


def test_keys_of_values_tell_apart_values_input_and_what_lies_before() -> None:
    model = load(cnn(), threads=1)
    made = [values_key([b"a"], model, b"i"), values_key([b"a", b"b"], model, b"i"), values_key([b"a"], model, b"j")]
    made += [values_key([b"a"], model, b"i", [b"b"]), result_key(model, {"x": frame()})]
    assert len(set(made)) == len(made)


def test_models_that_draw_at_random_are_refused() -> None:
    refuse_random(load(cnn(), threads=1).graph)
    noisy = text("g (float[4] x) => (float[4] y) { n = RandomNormalLike (x) y = Add(x, n) }")
    with pytest.raises(CacheError, match=r"\(RandomNormalLike\) draws random numbers"):
        refuse_random(load(noisy, threads=1).graph)
