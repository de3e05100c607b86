"""Traces and their files: what is written is read back, libCacheSim reads the same, broken files say what is wrong."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconv.cache import Trace, generate, read_trace, write_trace
from reconv.cache.trace import codes, next_uses
from reconv.cache.tracefile import check_target
from reconv.cache.zstd import compressed
from reconv.errors import CacheError, MissingError

SMALL = Trace(
    np.array([3, -1, 3, 7]), np.array([10, 1, 10, 5]), np.array([0.25, 1e-9, 0.25, 3]), np.array([0, 1.5, 2, 9])
)
BIG = 1 << 63


def same(one: Trace, other: Trace, *, costs: bool = True) -> bool:
    columns = ("keys", "sizes", "costs") if costs else ("keys", "sizes")
    return one.names == other.names and all(np.array_equal(getattr(one, c), getattr(other, c)) for c in columns)


# --- the trace itself ---


def test_footprint_counts_each_key_once_at_its_largest() -> None:
    trace = Trace(np.array([1, 2, 1, 2, 3]), np.array([5, 1, 4, 9, 2]), np.ones(5))
    assert trace.footprint_bytes == 5 + 9 + 2
    assert trace.distinct == 3
    assert len(trace) == trace.seconds == 5
    empty = Trace(np.array([], int), np.array([], int), np.array([]))
    assert (len(empty), empty.footprint_bytes, empty.distinct, empty.seconds) == (0, 0, 0, 0)


def test_next_uses() -> None:
    assert next_uses(np.array([4, 9, 4, 4, 9, 1])).tolist() == [2, 4, 3, 6, 6, 6]
    assert next_uses(np.array([], np.int64)).tolist() == []


def test_codes_are_equal_where_keys_are() -> None:
    assert codes(["a", 1, "a", 1.0, True, b"a"]).tolist() == [0, 1, 0, 1, 1, 2]
    assert codes(np.array([5, 6, 5], np.uint8)).tolist() == [5, 6, 5]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"keys": np.array([1.5, 2, 3])}, "keys of a trace are whole numbers in one row, got float64"),
        ({"keys": np.array([[1], [2], [3]])}, r"whole numbers in one row, got int64 \(3, 1\)"),
        ({"sizes": np.array([1, 2])}, "sizes have the shape"),
        ({"sizes": np.array([1, 2, 0])}, "size of request 2 is 0"),
        ({"costs": np.array([1, 2, np.nan])}, "cost of request 2 is nan"),
        ({"times": np.array([1, np.inf, 2])}, "time of request 1 is inf"),
        ({"names": ("a", "b", "c")}, "keys go from 1 to 3, but there are 3 names"),
    ],
)
def test_a_trace_cannot_hold(changed: dict[str, Any], said: str) -> None:
    usual: dict[str, Any] = {"keys": np.array([1, 2, 3]), "sizes": np.ones(3, int), "costs": np.ones(3)}
    with pytest.raises(CacheError, match=said):
        Trace(**usual | changed)


# --- there and back ---


@pytest.mark.parametrize("name", ["t.csv", "t.csv.zst", "t.oracleGeneral", "T.ORACLEGENERAL.BIN.ZST", "t.bin"])
def test_files_hold_what_was_written(name: str, tmp_path: Path) -> None:
    for trace in (SMALL, generate("camera:requests=70000,streams=300")):
        write_trace(trace, tmp_path / name)
        found = read_trace(tmp_path / name)
        assert same(found, trace, costs="csv" in name)
        assert found.times is not None
        assert trace.times is not None
        if "csv" in name:
            np.testing.assert_array_equal(found.times, trace.times)
        else:
            np.testing.assert_array_equal(found.times, np.floor(trace.times))
            assert (found.costs == 1).all()


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), max_size=6)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            TEXTS | st.integers(-BIG, BIG - 1).map(str) | st.sampled_from(["007", "7", "+1", "1e3", " 1", "\ufeff"]),
            st.integers(1, 10**15),
            st.floats(0, 1e9),
        ),
        min_size=1,
    )
)
def test_csv_keeps_any_text_and_every_digit(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    texts, sizes, costs = zip(*rows, strict=True)
    trace = Trace(codes(texts), np.array(sizes), np.array(costs), names=tuple(dict.fromkeys(texts)))
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    write_trace(trace, path)
    found = read_trace(path)
    names = list(map(str, found.keys.tolist())) if found.names is None else [found.names[k] for k in found.keys]
    assert names == list(texts)
    assert found.sizes.tolist() == list(sizes)
    assert found.costs.tolist() == list(costs)


def test_csv_of_others(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b'\xef\xbb\xbfsize, Key ,what\r\n5,a,x\r\n\r\n6,"b,""c",y')
    found = read_trace(path)
    assert found.names == ("a", 'b,"c')
    assert found.sizes.tolist() == [5, 6]
    assert found.costs.tolist() == [1, 1]
    assert found.times is None
    path.write_text("key\n" + "12\n" * 400_000)  # more than one piece of the file
    assert len(read_trace(path)) == 400_000


def test_oracle_general_is_that_of_libcachesim(tmp_path: Path) -> None:
    """Packed, little-endian, next uses counted from 1; and its reader agrees."""
    path = tmp_path / "t.oracleGeneral"
    write_trace(SMALL, path)
    records = [struct.unpack("<IQIq", path.read_bytes()[24 * k : 24 * k + 24]) for k in range(4)]
    assert records == [(0, 3, 10, 3), (1, (1 << 64) - 1, 1, -1), (2, 3, 10, -1), (9, 7, 5, -1)]
    lcs = pytest.importorskip("libcachesim")
    trace = generate("sweep:requests=5000,samples=3")
    write_trace(trace, path)
    reader = lcs.TraceReader(str(path), lcs.TraceType.ORACLE_GENERAL_TRACE)
    read = [(request.obj_id, request.obj_size, request.next_access_vtime) for request in reader]
    following = next_uses(trace.keys) + 1
    assert [key for key, _, _ in read] == trace.keys.tolist()
    assert [size for _, size, _ in read] == trace.sizes.tolist()
    again = following <= len(trace)
    assert np.array([at for _, _, at in read])[again].tolist() == following[again].tolist()


def test_requests_of_size_zero_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "t.bin"
    path.write_bytes(b"".join(struct.pack("<IQIq", 0, key, size, -1) for key, size in ((1, 5), (2, 0), (3, 6))))
    found = read_trace(path)
    assert found.keys.tolist() == [1, 3]
    assert found.times is None  # all 0: unknown
    path.write_bytes(struct.pack("<IQIq", 0, 1, 0, -1))
    with pytest.raises(CacheError, match="holds no requests"):
        read_trace(path)


# --- broken and foreign files ---


def record(following: int) -> bytes:
    return struct.pack("<IQIq", 1, 2, 3, following)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", b"", "first line is no header"),
        ("t.csv", b"\r\x00", "first line is no header"),
        ("t.csv", b"1,2,3\n", "first line is no header like key,size,seconds"),
        ("t.csv", b"key,size\n", "holds no requests"),
        ("t.csv", b"key,size\na,1\nb,two\n", "line 3: not key,size as its header says"),
        ("t.csv", b"key,size\na,1\n\nb\n", "line 4: not key,size"),
        ("t.csv", b"key,size\na,1.5\n", "line 2"),
        ("t.csv", b"key,size\na,99999999999999999999\n", "line 2"),
        ("t.csv", b"key,size\na,0\n", "t.csv: the size of request 0 is 0"),
        ("t.csv", b"key,seconds\na,nan\n", "t.csv: the cost of request 0 is nan"),
        ("t.csv", b"\x89PNG\r\n\x1a\n\x00\xff", "is not text"),
        ("t.bin", b"", "holds no requests"),
        ("t.bin", record(-1) * 3 + b"half a record", "ends 13 bytes into a record of 24"),
        ("t.bin", record(-1) + record(-77), "is not oracleGeneral: -77 is no number of a next request"),
        ("t.bin", b"key,size,seconds,......\n" * 4, "is not oracleGeneral"),
        ("t.csv.zst", b"key,size\na,1\n", "is not a Zstandard file"),
        ("t.csv.zst", compressed(b"key\n" + b"a\n" * 99)[:-3], "ends in the middle of a Zstandard frame"),
        ("t.bin.zst", compressed(record(-1) * 50)[:-6], "ends in the middle of a Zstandard frame"),
        ("t.bin.zst", compressed(record(-1)[:20]), "ends 20 bytes into a record"),
        ("t.txt", b"key\na\n", "traces are .csv or .oracleGeneral, with .zst behind"),
        ("t.zst", b"", "traces are .csv or .oracleGeneral"),
    ],
)
def test_broken_files(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CacheError, match=said) as raised:
        read_trace(tmp_path / name)
    assert name in str(raised.value)
    assert "\n" not in str(raised.value)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["t.csv", "t.bin", "t.csv.zst", "t.bin.zst"]))
def test_any_bytes_are_a_trace_or_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str
) -> None:
    path = tmp_path_factory.mktemp("any") / name
    path.write_bytes(content)
    try:
        outcome = f"{name}: {len(read_trace(path))} requests"
    except CacheError as error:
        outcome = str(error)
    assert name in outcome
    assert ": 0 requests" not in outcome


def test_compressed_in_several_frames(tmp_path: Path) -> None:
    path = tmp_path / "t.bin.zst"
    path.write_bytes(b"".join(compressed(record(-1) * count) for count in (5, 1, 7)) + compressed(b""))
    assert len(read_trace(path)) == 13


@pytest.mark.parametrize("name", ["none.csv", "none.bin.zst", ""])
def test_files_that_cannot_be_opened(name: str, tmp_path: Path) -> None:
    path = tmp_path / (name or "folder.csv")
    if not name:
        path.mkdir()
    with pytest.raises(CacheError, match=r"cannot be read: (No such file|Is a directory)"):
        read_trace(path)


def test_what_cannot_be_written(tmp_path: Path) -> None:
    for call in (check_target, lambda path: write_trace(SMALL, path)):
        with pytest.raises(CacheError, match=r"t\.txt: traces are"):
            call(tmp_path / "t.txt")
        with pytest.raises(CacheError, match="cannot be written"):
            call(tmp_path / "no" / "t.csv")
    large = Trace(np.array([1]), np.array([1 << 32]), np.ones(1))
    with pytest.raises(CacheError, match="32 bits for a size, the trace goes from 4294967296"):
        write_trace(large, tmp_path / "t.bin")
    early = Trace(np.array([1]), np.array([1]), np.ones(1), np.array([-3.0]))
    with pytest.raises(CacheError, match="32 bits for a time"):
        write_trace(early, tmp_path / "t.bin")


def test_without_a_library_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_trace(SMALL, tmp_path / "t.csv.zst")
    for module in ("compression", "compression.zstd", "zstandard"):
        monkeypatch.setitem(sys.modules, module, None)
    calls: list[Callable[[], object]] = [
        lambda: read_trace(tmp_path / "t.csv.zst"),
        lambda: write_trace(SMALL, tmp_path / "u.csv.zst"),
    ]
    for call in calls:
        with pytest.raises(MissingError, match=r"pip install 'reconv\[traces\]'"):
            call()
