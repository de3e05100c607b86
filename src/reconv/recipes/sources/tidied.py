"""Pictures' files checked and reduced to their pixels before a library decodes them.

The libraries below OpenCV write what they think of a file to stderr, past everybody: that it is damaged, and of some
that are fine that their colour profile is odd. So this is found here first: a PNG (third edition, W3C 2025, clause 5)
keeps the chunks that say what its pixels are, and those must be whole; a JPEG (ITU-T T.81, annex B) loses stray bytes
between the segments of its head.
"""

from __future__ import annotations

import zlib

__all__ = ["tidied"]

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND")  # eXIf: which way is up
ALONE = (0x01, *range(0xD0, 0xD9))  # markers of a JPEG that no segment follows
SCAN, END = 0xDA, 0xD9


def tidied(data: bytes) -> bytes:
    """A picture's file, ready to be decoded. Raises ValueError when it is damaged."""
    if data.startswith(PNG):
        return _png(data)
    return _jpeg(data) if data.startswith(JPEG) else data


def _png(data: bytes) -> bytes:
    kept, start, kind = [PNG], len(PNG), b""
    while kind != b"IEND":
        size, kind = int.from_bytes(data[start : start + 4], "big"), data[start + 4 : start + 8]
        end = start + 12 + size
        if end > len(data):
            raise ValueError("the file ends in the middle of a chunk")
        if kind in PIXELS:
            if zlib.crc32(data[start + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
                raise ValueError("a checksum is wrong")
            kept.append(data[start:end])
        start = end
    return b"".join(kept)


def _jpeg(data: bytes) -> bytes:
    kept, start = [JPEG], len(JPEG)
    while start >= 0:
        start = data.find(b"\xff", start)  # whatever comes before is stray
        kind = data[start + 1] if 0 <= start < len(data) - 1 else END
        if kind in (SCAN, END) or start < 0:
            break
        if kind in (0x00, 0xFF):  # no marker, or one that is still to come
            start += 1
            continue
        end = start + 2 if kind in ALONE else start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
        kept.append(data[start:end])
        start = end
    return b"".join(kept) + (data[start:] if start >= 0 else b"")
