"""WAV files: every kind of sample, headers as programs write them, and files that are something else."""

from __future__ import annotations

import struct
import wave
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from reconv.errors import SourceError
from reconv.recipes import wav
from reconv.recipes.sources import open_source
from reconv.recipes.wav import open_wav

RNG = np.random.default_rng(3)


def _chunk(name: bytes, data: bytes, size: int | None = None) -> bytes:
    return name + struct.pack("<I", len(data) if size is None else size) + data + b"\0" * (len(data) % 2)


def _file(
    data: bytes, kind: int = 1, bits: int = 16, channels: int = 1, *, rate: int = 8000, size: int | None = None,
    before: bytes = b"", extensible: bool = False, step: int | None = None,
) -> bytes:  # fmt: skip
    step = channels * bits // 8 if step is None else step
    form = struct.pack("<HHIIHH", 0xFFFE if extensible else kind, channels, rate, rate * step, step, bits)
    if extensible:
        form += struct.pack("<HHIH", 22, bits, 0, kind) + b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
    chunks = before + _chunk(b"fmt ", form) + _chunk(b"LIST", b"odd") + _chunk(b"data", data, size)
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def _read(path: Path) -> NDArray[Any]:
    return np.concatenate(list(open_wav(path).blocks()))


def _whole(dtype: str) -> NDArray[Any]:
    info = np.iinfo(dtype)
    return np.array([info.min, info.max, info.min // 2, 0, 1, info.max // 3], dtype)


def _kinds() -> list[tuple[int, int, bytes, list[float]]]:
    """kind, bits, the bytes and what they mean"""
    eight, sixteen, long = _whole("u1"), _whole("<i2"), _whole("<i4")
    medium = long // 256
    floats = RNG.uniform(-1, 1, 6)
    return [
        (1, 8, eight.tobytes(), ((eight.astype(float) - 128) / 128).tolist()),
        (1, 16, sixteen.tobytes(), (sixteen / 2**15).tolist()),
        (1, 24, b"".join(int(v).to_bytes(3, "little", signed=True) for v in medium), (medium / 2**23).tolist()),
        (1, 32, long.tobytes(), (long / 2**31).tolist()),
        (3, 32, floats.astype("<f4").tobytes(), floats.tolist()),
        (3, 64, floats.astype("<f8").tobytes(), floats.tolist()),
    ]


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("form", _kinds(), ids=lambda form: f"kind {form[0]}, {form[1]} bits")
def test_every_kind_of_sample(
    tmp_path: Path, form: tuple[int, int, bytes, list[float]], channels: int, extensible: bool
) -> None:
    kind, bits, data, expected = form
    path = tmp_path / "a.wav"
    path.write_bytes(_file(data, kind, bits, channels, extensible=extensible))
    sound = open_wav(path)
    assert (sound.rate, sound.channels, sound.length) == (8000, channels, 6 // channels)
    found = _read(path)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.reshape(expected, (-1, channels)), rtol=0, atol=1e-7)


def test_what_the_standard_library_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wav, "BLOCK", 7)  # several blocks
    samples = RNG.integers(-32768, 32768, (50, 2)).astype("<i2")
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(44100)
        file.writeframes(samples.tobytes())
    np.testing.assert_array_equal(_read(path), (samples / 2**15).astype(np.float32))
    sound = open_wav(path)
    assert len(list(sound.blocks())) == len(list(sound.blocks())) == 8, "it can be read again"


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 10**6])
def test_a_length_that_is_wrong_is_read_to_the_end(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(_file(b"\x00\x40" * 9, size=size) + b"\x01")
    np.testing.assert_array_equal(_read(path), np.full((9, 1), 0.5, np.float32))


def test_a_source_of_a_sound(tmp_path: Path) -> None:
    path = tmp_path / "a.WAV"
    path.write_bytes(_file(b"\x00\x40" * 9))
    source = open_source(str(path))
    assert source.sound is not None
    assert source.shape is None
    (block,) = source.frames()
    assert isinstance(block, np.ndarray)
    assert block.shape == (9, 1)


BROKEN = {
    "not a WAV file": [b"RIFF", b"RIFF\0\0\0\0AVI " + b"\0" * 50, b"hello, this is a text" * 5],
    "holds no samples": [_file(b""), _file(b"\x01"), _file(b"\0" * 3, bits=32)],
    "without a format": [
        b"RIFF\0\0\0\0WAVE" + _chunk(b"data", b"\0" * 50),
        _file(b"\0\0", before=_chunk(b"junk", b"", 10**6)),
    ],
    "without samples": [_file(b"\0\0")[:40]],
    "format is cut off": [b"RIFF\0\0\0\0WAVE" + _chunk(b"fmt ", b"\0" * 10)],
    "kind 7 with 8 bits cannot be read; convert": [_file(b"\0" * 50, kind=7, bits=8)],
    "kind 1 with 12 bits": [_file(b"\0" * 50, bits=12)],
    "kind 85 with 0 bits": [_file(b"\0" * 50, kind=85, bits=0)],
    "not a sound": [
        _file(b"\0" * 50, channels=0),
        _file(b"\0" * 50, rate=0),
        _file(b"\0" * 50, step=1),
        _file(b"\0" * 50, step=64),
    ],
}


@pytest.mark.parametrize(("words", "data"), [(words, data) for words, each in BROKEN.items() for data in each])
def test_what_is_no_sound_is_told(tmp_path: Path, words: str, data: bytes) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    with pytest.raises(SourceError, match=words) as caught:
        open_source(str(path))
    assert "\n" not in str(caught.value)


def test_a_file_cut_while_it_is_read_ends_early(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(_file(b"\x00\x40" * 9))
    sound = open_wav(path)
    path.write_bytes(path.read_bytes()[:-7])
    assert len(np.concatenate(list(sound.blocks()))) == 5


def test_bytes_changed_anywhere_are_a_sound_or_an_error(tmp_path: Path) -> None:
    path, whole = tmp_path / "a.wav", _file(b"\x00\x40" * 40, channels=2)
    for _ in range(300):
        data = bytearray(whole[: RNG.integers(0, len(whole) + 1)])
        for place in RNG.integers(0, max(len(data), 1), RNG.integers(0, 4)):
            if place < len(data):
                data[place] = RNG.integers(0, 256)
        path.write_bytes(data)
        with suppress(SourceError):
            assert sum(len(block) for block in open_wav(path).blocks()) > 0
