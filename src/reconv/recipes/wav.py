"""Sounds in WAV files (RIFF, Microsoft 1991; extensible since 2001): whole numbers of 8 to 32 bits, floats of 32 or 64.

Samples are read block by block, so that a long file needs no more memory than a short one. A file that ends early, or
whose header does not tell the length (as programs write that cannot go back), is read to its end. Compressed sounds
(mu-law, ADPCM, MP3 in a WAV) are refused.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from reconv.errors import SourceError, one_line

__all__ = ["SOUNDS", "Sound", "open_wav"]

SOUNDS = (".wav", ".wave")
BLOCK = 1 << 15  # samples of each channel that are read at once
INTEGERS, FLOATS, EXTENSIBLE = 1, 3, 0xFFFE
UNTOLD = (0, 0xFFFFFFFF)  # lengths that programs write which do not know better


@dataclass(frozen=True)
class Sound:
    """Samples to come. `rate`: a second; `length`: samples of each channel.

    `blocks` gives float32 (n, channels) from -1 to 1, as often as it is called.
    """

    name: str
    rate: int
    channels: int
    length: int
    blocks: Callable[[], Iterator[NDArray[np.float32]]]


@dataclass(frozen=True)
class _Format:
    """How samples are written; `start` and `size` say where in the file, in bytes."""

    kind: int
    bits: int
    channels: int
    rate: int
    start: int = 0
    size: int = 0

    @property
    def step(self) -> int:
        """Bytes of one sample of all channels."""
        return self.channels * self.bits // 8


def open_wav(path: Path) -> Sound:
    """The sound in a file. Raises SourceError when it is not a WAV file, holds no samples or is compressed."""
    try:
        with path.open("rb") as file:
            form = _read_format(file, path)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or one_line(error)}") from error

    def blocks() -> Iterator[NDArray[np.float32]]:
        with path.open("rb") as file:
            file.seek(form.start)
            left = form.size // form.step
            while left > 0:
                data = file.read(min(left, BLOCK) * form.step)
                data = data[: len(data) // form.step * form.step]
                if not data:
                    return  # the file was cut while it was read
                left -= len(data) // form.step
                yield _samples(data, form)

    return Sound(str(path), form.rate, form.channels, form.size // form.step, blocks)


def _read_format(file: BinaryIO, path: Path) -> _Format:
    """The format and the place of the samples, from the chunks before them."""
    end = path.stat().st_size
    head = file.read(12)
    if head[:4] not in (b"RIFF", b"RF64") or head[8:12] != b"WAVE":
        raise SourceError(f"{path}: not a WAV file")
    form: _Format | None = None
    while len(chunk := file.read(8)) == 8:
        name, size = struct.unpack("<4sI", chunk)
        start = file.tell()
        if name == b"fmt ":
            form = _parse(file.read(min(size, 40)), path)
        elif name == b"data":
            if form is None:
                break
            size = end - start if size in UNTOLD else min(size, end - start)
            if size < form.step:
                raise SourceError(f"{path} holds no samples")
            return _Format(form.kind, form.bits, form.channels, form.rate, start, size)
        file.seek(start + size + size % 2)
    raise SourceError(f"{path}: a WAV file without {'samples' if form else 'a format'}")


def _parse(data: bytes, path: Path) -> _Format:
    if len(data) < 16:
        raise SourceError(f"{path}: the WAV file's format is cut off")
    kind, channels, rate, _, step, bits = struct.unpack("<HHIIHH", data[:16])
    if kind == EXTENSIBLE and len(data) >= 26:
        (kind,) = struct.unpack("<H", data[24:26])  # the first bytes of the sub-format's identifier
    if (kind, bits) not in _READERS:
        raise SourceError(
            f"{path}: samples of kind {kind} with {bits} bits cannot be read; convert the file to 16-bit PCM"
        )
    form = _Format(kind, bits, channels, rate)
    if not channels or not rate or step != form.step:
        raise SourceError(f"{path}: {channels} channels, {rate} samples a second in steps of {step} bytes: not a sound")
    return form


def _samples(data: bytes, form: _Format) -> NDArray[np.float32]:
    flat = _READERS[form.kind, form.bits](data)
    return np.ascontiguousarray(flat.reshape(-1, form.channels), dtype=np.float32)


def _of_24_bits(data: bytes) -> NDArray[Any]:
    parts = np.frombuffer(data, np.uint8).reshape(-1, 3)
    words = np.zeros((len(parts), 4), np.uint8)
    words[:, 1:] = parts  # the low byte stays empty, so the sign is where it belongs
    return words.view("<i4")[:, 0] / np.float32(2**31)


_READERS: dict[tuple[int, int], Callable[[bytes], NDArray[Any]]] = {
    (INTEGERS, 8): lambda data: (np.frombuffer(data, np.uint8) - np.float32(128)) / np.float32(128),
    (INTEGERS, 16): lambda data: np.frombuffer(data, "<i2") / np.float32(2**15),
    (INTEGERS, 24): _of_24_bits,
    (INTEGERS, 32): lambda data: np.frombuffer(data, "<i4") / np.float32(2**31),
    (FLOATS, 32): lambda data: np.frombuffer(data, "<f4"),
    (FLOATS, 64): lambda data: np.frombuffer(data, "<f8"),
}
