"""Keys as evenly spread bits that are the same in every process, which `hash` of text is not: decisions repeat."""

from __future__ import annotations

from zlib import crc32

from reconv.cache.policies.policy import Key

__all__ = ["spread"]

_64 = (1 << 64) - 1


def spread(key: Key) -> int:
    """64 bits of a key; equal keys have equal ones. The same in every process for text, bytes, numbers, None and tuples
    of these; for others it is as `hash` is."""
    if isinstance(key, str):
        bits = crc32(key.encode("utf-8", "surrogatepass")) | 1 << 32
    elif isinstance(key, bytes):
        bits = crc32(key) | 2 << 32
    elif isinstance(key, tuple):
        bits = 3 << 32
        for item in key:
            bits = _mixed(bits) + spread(item)
    else:
        bits = 4 << 32 if key is None else hash(key)
    return _mixed(bits)


def _mixed(bits: int) -> int:
    """The last steps of splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014)."""
    bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 & _64
    bits = (bits ^ bits >> 27) * 0x94D049BB133111EB & _64
    return bits ^ bits >> 31
