"""Values as bytes: they come back bit for bit, and nothing else comes back, whatever happens to the bytes."""

from __future__ import annotations

import hashlib
import math
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from reconv.cache.packing import MAGIC, Packed, pack, unpack
from reconv.errors import CacheError

DTYPES = (
    nps.boolean_dtypes()
    | nps.integer_dtypes(endianness="?")
    | nps.unsigned_integer_dtypes(endianness="?")
    | nps.floating_dtypes(endianness="?", sizes=(16, 32, 64))
    | nps.complex_number_dtypes(endianness="?", sizes=(64, 128))
    | nps.datetime64_dtypes(endianness="?")
    | nps.timedelta64_dtypes(endianness="?")
    | nps.byte_string_dtypes(max_len=5)
    | nps.unicode_string_dtypes(endianness="?", max_len=5)
)


@st.composite
def arrays(draw: st.DrawFn) -> Any:
    """Any dtype and shape, also without elements or dimensions, in any layout: transposed, reversed, with gaps."""
    array = draw(nps.arrays(DTYPES, nps.array_shapes(min_dims=0, min_side=0, max_side=4), fill=st.nothing()))
    if array.ndim and draw(st.booleans()):
        steps = st.sampled_from([slice(None), slice(None, None, -1), slice(None, None, 2), slice(1, None)])
        array = array[tuple(draw(steps) for _ in range(array.ndim))]
    return array.transpose(draw(st.permutations(range(array.ndim))))


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.binary(max_size=9)
SCALARS = nps.arrays(DTYPES, (1,)).map(lambda array: array[0])
VALUES = st.recursive(
    PLAIN | arrays() | SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
COSTS = st.floats(min_value=0, allow_infinity=False, allow_nan=False)


def same(left: Any, right: Any) -> bool:
    """Equal in type, and in bits."""
    if type(left) is not type(right):
        return False
    if isinstance(left, (np.ndarray, np.generic)):
        return (left.dtype, left.shape, left.tobytes()) == (right.dtype, right.shape, right.tobytes())
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    return struct.pack("d", left) == struct.pack("d", right) if isinstance(left, float) else bool(left == right)


def forged(body: bytes, magic: bytes = MAGIC, name: bytes = b"") -> bytes:
    """A payload whose checksum is right."""
    return magic + hashlib.sha256(struct.pack("<Q", len(name)) + name + body).digest()[:16] + body


@given(VALUES, COSTS, st.binary(max_size=9))
def test_what_is_packed_comes_back_bit_for_bit(value: Any, cost: float, name: bytes) -> None:
    found = unpack(pack(value, cost, name), name)
    assert found is not None
    assert same(found.value, value)
    assert found.cost == cost


def test_the_comparison_can_fail() -> None:
    assert not same(1, True)
    assert not same(0.0, -0.0)
    assert not same([1], (1,))
    assert not same({"a": 1, "b": 2}, {"b": 2, "a": 1})
    assert not same(np.float32(1), np.float64(1))
    assert not same(np.zeros(2), np.zeros((2, 1)))
    assert not same(np.zeros(2), np.array([0, -0.0]))


@given(VALUES, st.binary(max_size=5), st.integers(1, 255), st.binary(min_size=1, max_size=9))
def test_every_damaged_byte_and_every_cut_is_found(value: Any, name: bytes, flip: int, more: bytes) -> None:
    payload = pack(value, 1.5, name)
    for index in range(len(payload)):
        damaged = bytearray(payload)
        damaged[index] ^= flip
        assert unpack(bytes(damaged), name) is None
        assert unpack(payload[:index], name) is None
        assert unpack(payload[:index] + payload[index + 1 :], name) is None
    assert unpack(payload + more, name) is None
    assert unpack(more + payload, name) is None


@given(st.binary(max_size=9), st.binary(max_size=9))
def test_a_payload_belongs_to_one_name(name: bytes, other: bytes) -> None:
    found = unpack(pack(b"value", 0.0, name), other)
    assert (found is not None) == (name == other)


@given(st.binary(max_size=200))
def test_random_bytes_are_nothing(payload: bytes) -> None:
    assert unpack(payload) is None
    assert unpack(MAGIC + payload) is None


@given(st.binary(max_size=60) | VALUES.map(lambda value: pack(value, 1.0)[24:]), st.data())
def test_a_right_checksum_over_nonsense_neither_raises_nor_allocates(body: bytes, data: st.DataObject) -> None:
    """As somebody would write on purpose: lengths, types and counts may be anything."""
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(body)))
        piece = data.draw(st.binary(max_size=2) | st.sampled_from([b"\xff" * 8, b"\x00" * 8, b"|O", b"\x01" * 40]))
        body = body[:at] + piece + body[at + len(piece) * data.draw(st.integers(0, 1)) :]
    tracemalloc.start()
    try:
        found = unpack(forged(body))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found is None or isinstance(found, Packed)
    assert peak < 1 << 20


COUNT = struct.Struct("<Q").pack
COST = struct.pack("<d", 1.0)


def array_body(dtype: bytes, shape: tuple[int, ...], data: bytes = bytes(64)) -> bytes:
    head = COST + b"a" + bytes([len(dtype)]) + dtype + bytes([len(shape)]) + b"".join(map(COUNT, shape))
    return head + bytes(-(len(head) + 24) % 16) + data


@pytest.mark.parametrize(
    "body",
    [
        b"",
        COST,
        COST + b"?",
        COST + b"nn",
        COST + b"b" + COUNT(2**63) + b"x",
        COST + b"s" + COUNT(2**64 - 1),
        COST + b"s" + COUNT(1) + b"\xff",
        COST + b"l" + COUNT(2**62) + b"n" * 20,
        COST + b"m" + COUNT(2**62),
        COST + (b"l" + COUNT(1)) * 5000 + b"n",
        struct.pack("<d", -1.0) + b"n",
        struct.pack("<d", math.nan) + b"n",
        struct.pack("<d", math.inf) + b"n",
        array_body(b"<f4", (2**62,)),
        array_body(b"<f4", (2**32, 2**32)),
        array_body(b"<f4", (0, 2**64 - 1), b""),
        array_body(b"<f4", (1,) * 200, bytes(4)),
        array_body(b"<f4", (15,)),  # one element is too much
        array_body(b"|O", (8,)),
        array_body(b"O", (8,)),
        array_body(b"(16,)f4", (1,)),
        array_body(b"f4,f4", (8,)),
        array_body(b"<f16", (4,)),
        array_body(b"=f4", (16,)),
        array_body(b"<f3", (16,)),
        array_body(b"<M8[zz]", (8,)),
        array_body(b"\xff\xfe", (8,)),
        array_body(b"<U1", (16,), b"\xff" * 64),  # characters that do not exist
        array_body(b"<U1", (), bytes(3) + b"\x01"),
        array_body(b">U1", (), b"\x01" + bytes(3)),
        array_body(b"ml_dtypes.finfo", (8,)),
        array_body(b"ml_dtypes.nothing", (8,)),
        array_body(b"os.system", (8,)),
    ],
)
def test_hostile_headers_are_nothing(body: bytes) -> None:
    assert unpack(forged(array_body(b"<f4", (16,)))) is not None, "the pieces are put together rightly"
    tracemalloc.start()
    try:
        assert unpack(forged(body)) is None
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_another_version_is_nothing() -> None:
    assert unpack(forged(COST + b"n")) == Packed(None, 1.0)
    assert unpack(forged(COST + b"n", magic=MAGIC[:-1] + b"\x02")) is None


@pytest.mark.parametrize(
    "name", ["bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3b11fnuz", "int4", "uint4", "float4_e2m1fn"]
)
def test_dtypes_of_ml_dtypes(name: str) -> None:
    dtype = np.dtype(getattr(ml_dtypes, name))
    for array in (np.arange(6).reshape(2, 3).astype(dtype), np.arange(6).astype(dtype)[::2], np.array(1).astype(dtype)):
        found = unpack(pack({"map": array}, 0.0))
        assert found is not None
        assert same(found.value["map"], array)


def test_arrays_are_aligned_read_only_views_of_the_payload() -> None:
    value = {"a": np.arange(3, dtype=np.int8), "b": np.arange(2, dtype=np.complex128), "c": np.arange(5.0)}
    payload = pack(value, 0.0)
    found = unpack(payload)
    assert found is not None
    for array in found.value.values():
        assert array.flags.aligned
        assert array.flags.c_contiguous
        assert np.shares_memory(array, np.frombuffer(payload, np.uint8))
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_a_mapped_file_comes_back_as_an_array(tmp_path: Path) -> None:
    mapped = np.memmap(tmp_path / "map", np.float32, "w+", shape=(2, 3))
    mapped[:] = 7
    found = unpack(pack(mapped, 0.0))
    assert found is not None
    assert type(found.value) is np.ndarray
    np.testing.assert_array_equal(found.value, np.full((2, 3), 7, np.float32))


class Boxes(list[int]):
    pass


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (object(), "a value of type object cannot be kept below the memory"),
        ({1, 2}, "type set"),
        ([bytearray(b"x")], "type bytearray"),
        (Boxes([1]), "type Boxes"),
        (np.ma.masked_array([1, 2], [True, False]), "type MaskedArray"),
        ({1: 2}, "a dict with a key of type int"),
        (np.array([object()]), "dtype object"),
        (np.zeros(2, "f4,i4"), "what can: numbers, text, bytes of fixed sizes"),
        (np.zeros(2, np.longdouble), f"dtype {np.dtype(np.longdouble)}"),
        (deep(33), "more than 32 deep"),
    ],
)
def test_what_cannot_be_packed_is_named(value: Any, message: str) -> None:
    with pytest.raises(CacheError, match=message):
        pack(value, 0.0)


def test_a_value_that_holds_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(CacheError, match="more than 32 deep"):
        pack(value, 0.0)


def test_the_deepest_comes_back() -> None:
    assert unpack(pack(deep(32), 0.0)) == Packed(deep(32), 0.0)


@pytest.mark.parametrize("cost", [-1.0, math.nan, math.inf])
def test_a_cost_is_a_number_of_seconds(cost: float) -> None:
    with pytest.raises(CacheError, match=r"expected a number from 0 up"):
        pack(None, cost)


@pytest.mark.parametrize("value", [2**10_000, -(2**10_000), "\ud800\udc00 text \udcff", b"\x00" * 5000, -1, 127, 128])
def test_numbers_and_texts_of_every_kind(value: Any) -> None:
    assert unpack(pack(value, 0.0)) == Packed(value, 0.0)
