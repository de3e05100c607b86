"""Files, plain or compressed with Zstandard (RFC 8878): the standard library's since Python 3.14, else `zstandard`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from reconv.errors import CacheError, MissingError, one_line

__all__ = ["SUFFIX", "chunks", "compressed"]

SUFFIX = ".zst"
CHUNK_BYTES = 1 << 20


def chunks(path: Path) -> Iterator[bytes]:
    """The content of a file, piece by piece; decompressed when its name ends with .zst.

    Raises:
        CacheError: it is not there, cannot be read, is not Zstandard or ends too early.
        MissingError: it is compressed and no library for that is installed.
    """
    try:
        with path.open("rb") as file:
            pieces = iter(lambda: file.read(CHUNK_BYTES), b"")
            if path.suffix.lower() == SUFFIX:
                yield from _decompressed(pieces, path)
            else:
                yield from pieces
    except OSError as error:
        raise CacheError(f"{path} cannot be read: {error.strerror or one_line(error)}") from error


def compressed(data: bytes) -> bytes:
    """One frame. Raises MissingError as `chunks` does."""
    library, _ = _library()
    packed: bytes = library.compress(data)
    return packed


def _decompressed(pieces: Iterator[bytes], path: Path) -> Iterator[bytes]:
    """A file may hold several frames, one behind the other, as parallel compressors write them."""
    library, new = _library()
    frame = None
    for piece in pieces:
        while piece:
            frame = frame or new()
            try:
                data = frame.decompress(piece)
            except library.ZstdError as error:
                raise CacheError(f"{path} is not a Zstandard file: {one_line(error)}") from error
            if data:
                yield data
            piece = b""
            if frame.eof:
                piece, frame = frame.unused_data, None
    if frame is not None:
        raise CacheError(f"{path} ends in the middle of a Zstandard frame: is the file whole?")


def _library() -> tuple[Any, Callable[[], Any]]:
    """The module, and what makes a decompressor of one frame with `decompress`, `eof` and `unused_data`."""
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415
    except ImportError:
        try:
            import zstandard  # noqa: PLC0415
        except ImportError as error:
            raise MissingError("traces in .zst need zstandard: pip install 'reconv[traces]'") from error
        return zstandard, lambda: zstandard.ZstdDecompressor().decompressobj()
    return zstd, zstd.ZstdDecompressor
