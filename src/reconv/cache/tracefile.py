"""Traces in files: CSV of our own, and libCacheSim's oracleGeneral, each plain or compressed (.zst).

CSV has a header. `key` is a whole number or any text; `size` is in bytes (1 without the column), `seconds` is the cost
(1 without), `time` in seconds may be there; other columns are passed over.

oracleGeneral has one packed little-endian record of 24 bytes per request: time (uint32), key (uint64), size (uint32)
and next use (int64), the number of the key's next request, counted from 1, or -1. It has no costs: each is read as one
second. Requests of size 0 are left out, as libCacheSim does unless told otherwise.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
from array import array
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from reconv.cache.trace import Floats, Integers, Trace, interned, next_uses
from reconv.cache.zstd import SUFFIX, chunks, compressed
from reconv.errors import CacheError, one_line

__all__ = ["check_target", "read_trace", "write_trace"]

RECORD = np.dtype([("time", "<u4"), ("key", "<u8"), ("size", "<u4"), ("next", "<i8")])
NEVER = -1
_ALSO_NEVER = np.iinfo(np.int64).max  # of some converters
_UNKNOWN = -2
_MOST_REQUESTS = 1 << 48  # of a real trace: numbers beyond are another format's bytes
_LARGEST = np.iinfo(np.uint32).max


def read_trace(path: str | os.PathLike[str]) -> Trace:
    """The trace in a file: .csv or .oracleGeneral (also .oracleGeneral.bin, or .bin), and each with .zst behind.

    Raises:
        CacheError: the file cannot be read, is of another format, ends too early or holds no requests; it says where.
        MissingError: it is compressed and no library for that is installed.
    """
    path = Path(path)
    return (_read_csv if _is_csv(path) else _read_oracle)(path)


def write_trace(trace: Trace, path: str | os.PathLike[str]) -> None:
    """Write a trace in the format that the name says, as `read_trace` takes it.

    oracleGeneral keeps neither costs nor texts of keys, and whole seconds of the times.

    Raises:
        CacheError: the name says no format, the file cannot be written, or a size or time does not fit oracleGeneral.
        MissingError: as `read_trace`.
    """
    path = Path(path)
    data = (_as_csv if _is_csv(path) else _as_oracle)(trace)
    if path.suffix.lower() == SUFFIX:
        data = compressed(data)
    try:
        path.write_bytes(data)
    except OSError as error:
        raise CacheError(f"{path} cannot be written: {error.strerror or one_line(error)}") from error


def check_target(path: str | os.PathLike[str]) -> None:
    """Raises CacheError where `write_trace` could not write: before there is anything to write."""
    path = Path(path)
    _is_csv(path)
    if not path.parent.is_dir():
        raise CacheError(f"{path} cannot be written: there is no folder {path.parent}")


def _is_csv(path: Path) -> bool:
    name = path.name.lower().removesuffix(SUFFIX)
    if name.endswith(".csv"):
        return True
    if name.endswith((".oraclegeneral", ".bin")):
        return False
    raise CacheError(f"{path}: traces are .csv or .oracleGeneral, with .zst behind when compressed")


# --- CSV ---


def _lines(pieces: Iterable[bytes], path: Path) -> Iterator[str]:
    rest = b""
    for piece in _without_mark(pieces):
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield _text(line, path)
    if rest:
        yield _text(rest, path)


def _without_mark(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Without the byte order mark that some programs put in front of text."""
    for at, piece in enumerate(pieces):
        yield piece.removeprefix(codecs.BOM_UTF8) if at == 0 else piece


def _text(line: bytes, path: Path) -> str:
    try:
        return line.decode() + "\n"
    except UnicodeDecodeError as error:
        raise CacheError(f"{path} is not text, so no CSV trace") from error


def _read_csv(path: Path) -> Trace:
    rows = csv.reader(_lines(chunks(path), path))
    keys: list[str] = []
    columns: dict[str, array[int] | array[float]] = {"size": array("q"), "seconds": array("d"), "time": array("d")}
    try:
        header = [name.strip().lower() for name in next(rows, [])]
    except csv.Error:
        header = []
    if "key" not in header:
        raise CacheError(f"{path}: its first line is no header like key,size,seconds")
    try:
        at = header.index("key")
        numbers: list[tuple[int, Callable[[str], Any], Callable[[Any], None]]] = [
            (header.index(name), int if name == "size" else float, column.append)
            for name, column in columns.items()
            if name in header
        ]
        for row in rows:
            if not row:
                continue
            keys.append(row[at])
            for index, kind, append in numbers:
                append(kind(row[index]))
    except (ValueError, IndexError, OverflowError, csv.Error) as error:
        if isinstance(error, CacheError):
            raise
        raise CacheError(f"{path}, line {rows.line_num}: not {','.join(header)} as its header says") from error
    found = {name: np.array(column) for name, column in columns.items() if name in header}
    sizes = found.get("size", np.ones(len(keys), np.int64))
    costs = found.get("seconds", np.ones(len(keys)))
    numbered, names = _numbered(keys)
    return _checked(path, lambda: Trace(numbered, sizes, costs, found.get("time"), names))


def _numbered(keys: list[str]) -> tuple[Integers, tuple[str, ...] | None]:
    """Keys as numbers: their own when all are numbers as one writes them, else in order of appearance."""
    numbers, texts = interned(keys)
    own = [_own_number(text) for text in texts]
    if None in own:
        return np.array(numbers, np.int64), tuple(texts)
    return np.array(own, np.int64)[np.array(numbers, np.int64)], None


def _own_number(text: str) -> int | None:
    try:
        number = int(text)
    except ValueError:
        return None
    return number if str(number) == text and -(1 << 63) <= number < 1 << 63 else None


def _as_csv(trace: Trace) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    keys: Iterable[int | str] = trace.keys.tolist()
    if trace.names is not None:
        keys = [trace.names[key] for key in trace.keys.tolist()]
    columns: list[Iterable[object]] = [keys, trace.sizes.tolist(), trace.costs.tolist()]
    header = ["key", "size", "seconds"]
    if trace.times is not None:
        columns.append(trace.times.tolist())
        header.append("time")
    writer.writerow(header)
    writer.writerows(zip(*columns, strict=True))
    return text.getvalue().encode()


# --- oracleGeneral ---


def _read_oracle(path: Path) -> Trace:
    parts, rest = [], b""
    for piece in chunks(path):
        rest += piece
        whole = len(rest) // RECORD.itemsize
        if whole:
            part = np.frombuffer(rest, RECORD, whole)
            _refuse_foreign(part, path)
            parts.append(part)
            rest = rest[whole * RECORD.itemsize :]
    if rest:
        raise CacheError(
            f"{path} ends {len(rest)} bytes into a record of {RECORD.itemsize}: is it whole, and oracleGeneral?"
        )
    records = np.concatenate(parts) if parts else np.zeros(0, RECORD)
    records = records[records["size"] > 0]
    times: Floats | None = records["time"].astype(np.float64)
    keys = records["key"].view(np.int64) if len(records) else np.zeros(0, np.int64)
    sizes = records["size"].astype(np.int64)
    return _checked(path, lambda: Trace(keys, sizes, np.ones(len(sizes)), times if records["time"].any() else None))


def _refuse_foreign(part: np.ndarray[tuple[int], np.dtype[np.void]], path: Path) -> None:
    following = part["next"]
    wrong = (following < _UNKNOWN) | ((following > _MOST_REQUESTS) & (following != _ALSO_NEVER))
    if wrong.any():
        raise CacheError(f"{path} is not oracleGeneral: {following[wrong][0]} is no number of a next request")


def _as_oracle(trace: Trace) -> bytes:
    records = np.zeros(len(trace), RECORD)
    times = np.zeros(len(trace)) if trace.times is None else np.floor(trace.times)
    for what, values in (("size", trace.sizes), ("time", times)):
        if len(values) and not 0 <= values.min() <= values.max() <= _LARGEST:
            raise CacheError(
                f"oracleGeneral has 32 bits for a {what}, the trace goes from {values.min()} to {values.max()}"
            )
        records[what] = values
    records["key"] = trace.keys.view(np.uint64)
    following = next_uses(trace.keys) + 1
    records["next"] = np.where(following > len(trace), NEVER, following)
    return records.tobytes()


def _checked(path: Path, make: Callable[[], Trace]) -> Trace:
    try:
        trace = make()
    except CacheError as error:
        raise CacheError(f"{path}: {error}") from error
    if not len(trace):
        raise CacheError(f"{path} holds no requests")
    return trace
