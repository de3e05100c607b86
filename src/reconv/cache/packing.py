"""Values as bytes for the tiers below the memory: arrays, text, bytes, numbers, and dicts, lists and tuples of them.

A payload is magic and version (8 bytes), a checksum (16 bytes), the cost (8 bytes) and the value, written depth
first: a letter for the type, then what that type needs, lengths before contents. The data of an array starts at a
multiple of 16. The checksum covers the name that the value is kept under and all that follows it: a flipped, missing
or additional byte is found, and so is the payload of another name, as a mixed-up connection or a damaged index would
hand out.

The checksum is SHA-256 cut to 128 bits: 1.9 GB/s where the CPU has instructions for it (x86 since Ice Lake and Zen,
ARMv8), half a GB/s elsewhere; BLAKE2b gives 1.0 everywhere. It guards against accidents, not against somebody who
writes to the disk or the server on purpose; but nothing is ever executed or unpickled, so that the worst such a
writer gets is a wrong array.
"""

from __future__ import annotations

import hashlib
import importlib
import math
import re
import struct
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reconv.errors import CacheError

__all__ = ["Packed", "pack", "unpack"]

MAGIC = b"\x93reconv\x01"  # the last byte is the version of the format
_CHECKSUM_BYTES = 16
_BODY = len(MAGIC) + _CHECKSUM_BYTES
_ALIGNMENT = 16  # what the data of a bytes object has
_DEEPEST = 32
_COST = struct.Struct("<d")
_COUNT = struct.Struct("<Q")
_DTYPE = re.compile(r"[<>|][biufcmMSUV][1-9]\d{0,8}(?:\[\d*[A-Za-z]{1,2}\])?")
_EXTENDED = re.compile(r"ml_dtypes\.([a-z]\w{0,30})")  # bfloat16, float8_e4m3fn, int4, ...


@dataclass(frozen=True)
class Packed:
    """What a payload holds: the value, and the seconds that computing it again takes."""

    value: Any
    cost: float


def pack(value: Any, cost: float, name: bytes = b"") -> bytes:
    """The payload of a value that is kept under `name`.

    Args: value: None, bool, int, float, str, bytes, a numpy array or scalar of a fixed-size dtype in any layout (also
        those of ml_dtypes), or a dict with text keys, list or tuple of these, at most 32 deep. Exactly these types: a
        subclass would come back as something else. cost: seconds, from 0 up. name: has to be handed to `unpack`
        again.

    Raises:
        CacheError: another type, named in the message; or a cost that is not a number from 0 up.
    """
    if not 0 <= cost < math.inf:
        raise CacheError(f"the cost of an entry is {cost!r} seconds, expected a number from 0 up")
    writer = _Writer()
    writer.add(_COST.pack(cost))
    writer.value(value, 0)
    checksum = _begun(name)
    for part in writer.parts:
        checksum.update(part)
    return b"".join([MAGIC, checksum.digest()[:_CHECKSUM_BYTES], *writer.parts])


def unpack(payload: bytes, name: bytes = b"") -> Packed | None:
    """What `pack` was given for this name; None for anything else, however it is damaged.

    Arrays are read-only views of the payload, equal to the packed ones in dtype, shape and bits and contiguous in C
    order. They keep the whole payload alive; copy what is to be changed or outlives the rest.
    """
    if len(payload) < _BODY + _COST.size or payload[: len(MAGIC)] != MAGIC:
        return None
    checksum = _begun(name)
    checksum.update(memoryview(payload)[_BODY:])
    if checksum.digest()[:_CHECKSUM_BYTES] != payload[len(MAGIC) : _BODY]:
        return None
    try:
        reader = _Reader(payload, _BODY)
        (cost,) = reader.fields(_COST)
        value = reader.value(0)
    except (_DamagedError, ValueError, TypeError, OverflowError):  # a right checksum over nonsense: not of our making
        return None
    if reader.at != len(payload) or not 0 <= cost < math.inf:
        return None
    return Packed(value, cost)


def _begun(name: bytes) -> Any:
    return hashlib.sha256(_COUNT.pack(len(name)) + name)


class _DamagedError(Exception):
    """The body of a payload cannot be what `pack` wrote."""


class _Writer:
    """The parts of a body, one after the other."""

    def __init__(self) -> None:
        self.parts: list[bytes | memoryview] = []
        self._at = _BODY

    def add(self, part: bytes | memoryview) -> None:
        self.parts.append(part)
        self._at += len(part)

    def _sized(self, letter: bytes, content: bytes) -> None:
        self.add(letter + _COUNT.pack(len(content)))
        self.add(content)

    def value(self, value: Any, depth: int) -> None:
        kind = type(value)
        if depth > _DEEPEST:
            raise CacheError(f"a value that is nested more than {_DEEPEST} deep cannot be kept below the memory")
        if value is None:
            self.add(b"n")
        elif kind is bool:
            self.add(b"t" if value else b"f")
        elif kind is int:
            self._sized(b"i", value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True))
        elif kind is float:
            self.add(b"d" + _COST.pack(value))
        elif kind is str:
            self._sized(b"s", value.encode("utf-8", "surrogatepass"))
        elif kind is bytes:
            self._sized(b"b", value)
        elif kind in (list, tuple):
            self.add((b"l" if kind is list else b"u") + _COUNT.pack(len(value)))
            for item in value:
                self.value(item, depth + 1)
        elif kind is dict:
            self.add(b"m" + _COUNT.pack(len(value)))
            for key, item in value.items():
                if type(key) is not str:
                    raise CacheError(f"a dict with a key of type {type(key).__name__} cannot be kept below the memory")
                self._sized(b"", key.encode("utf-8", "surrogatepass"))
                self.value(item, depth + 1)
        elif kind in (np.ndarray, np.memmap):
            self._array(b"a", value)
        elif isinstance(value, np.generic):
            self._array(b"g", np.asarray(value))
        else:
            raise CacheError(
                f"a value of type {kind.__name__} cannot be kept below the memory; what can: numpy arrays, text, bytes,"
                " numbers, None, and dicts, lists and tuples of these"
            )

    def _array(self, letter: bytes, array: NDArray[Any]) -> None:
        name = _dtype_name(array.dtype).encode()
        head = letter + bytes([len(name)]) + name + bytes([array.ndim])
        self.add(head + b"".join(map(_COUNT.pack, array.shape)))
        self.add(bytes(-self._at % _ALIGNMENT))
        if array.size:
            self.add(np.asarray(array, order="C").reshape(-1).view(np.uint8).data)


class _Reader:
    """Reads what `_Writer` wrote; never past the end, and never more than there is."""

    def __init__(self, payload: bytes, at: int) -> None:
        self.at = at
        self._payload = payload

    def fields(self, form: struct.Struct) -> tuple[Any, ...]:
        return form.unpack(self._take(form.size))

    def _take(self, count: int) -> bytes:
        self._skip(count)
        return self._payload[self.at - count : self.at]

    def _skip(self, count: int) -> None:
        if count > len(self._payload) - self.at:
            raise _DamagedError
        self.at += count

    def _count(self) -> int:
        (count,) = self.fields(_COUNT)
        return int(count)

    def _text(self) -> str:
        return self._take(self._count()).decode("utf-8", "surrogatepass")

    def value(self, depth: int) -> Any:
        if depth > _DEEPEST:
            raise _DamagedError
        letter = self._take(1)
        if letter in (b"a", b"g"):
            array = self._array()
            return array if letter == b"a" else array[()]
        if letter == b"m":
            return {self._text(): self.value(depth + 1) for _ in range(self._count())}
        if letter in (b"l", b"u"):
            items = [self.value(depth + 1) for _ in range(self._count())]
            return items if letter == b"l" else tuple(items)
        if letter == b"s":
            return self._text()
        if letter == b"b":
            return self._take(self._count())
        if letter == b"i":
            return int.from_bytes(self._take(self._count()), "little", signed=True)
        if letter == b"d":
            return self.fields(_COST)[0]
        if letter in (b"n", b"t", b"f"):
            return {b"n": None, b"t": True, b"f": False}[letter]
        raise _DamagedError

    def _array(self) -> NDArray[Any]:
        dtype = _dtype(self._take(self._take(1)[0]).decode("ascii"))
        shape = tuple(self._count() for _ in range(self._take(1)[0]))
        self._skip(-self.at % _ALIGNMENT)
        start = self.at
        self._skip(math.prod(shape) * dtype.itemsize)
        if dtype.kind == "U":  # numpy fails when it is to show a character that does not exist
            codes = np.ndarray((self.at - start) // 4, f"{dtype.str[0]}u4", self._payload, start)
            if codes.max(initial=0) > sys.maxunicode:
                raise _DamagedError
        return np.ndarray(shape, dtype, self._payload, start)


def _dtype_name(dtype: np.dtype[Any]) -> str:
    """How a dtype is written; CacheError when its values have no fixed size, or not the same bits on every machine."""
    if dtype.type.__module__ == "ml_dtypes" and dtype.isnative:
        return f"ml_dtypes.{dtype.name}"
    if dtype.hasobject or dtype.fields is not None or dtype.char in "gG" or not _DTYPE.fullmatch(dtype.str):
        raise CacheError(
            f"an array of dtype {dtype} cannot be kept below the memory; what can: numbers, text, bytes of fixed sizes"
        )
    return dtype.str


def _dtype(name: str) -> np.dtype[Any]:
    if found := _EXTENDED.fullmatch(name):
        try:
            kind = getattr(importlib.import_module("ml_dtypes"), found[1], None)
        except ImportError:
            raise _DamagedError from None  # written where it is installed
        if not (isinstance(kind, type) and issubclass(kind, np.generic)):
            raise _DamagedError
        return np.dtype(kind)
    if not _DTYPE.fullmatch(name):
        raise _DamagedError
    dtype = np.dtype(name)
    if dtype.str != name or dtype.char in "gG":
        raise _DamagedError
    return dtype
