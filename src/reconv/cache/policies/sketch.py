"""How often names were asked for lately, in little room: a count-min sketch of four-bit counters with a doorkeeper.

The first request for a name only tells the doorkeeper, a Bloom filter: what is asked for once costs no counters.
After a sample of requests all counters are halved and the doorkeeper forgets: what was popular long ago fades.
Source: G. Einziger, R. Friedman, B. Manes, "TinyLFU: a highly efficient cache admission policy", ACM ToS 13 (2017).
"""

from __future__ import annotations

__all__ = ["Sketch"]

MOST = 15  # what four bits count to
COUNTERS = 4  # per entry in each of four rows
DOOR_BYTES = 8  # per entry
SAMPLE = 10  # requests per entry between two halvings
_HALF = bytes(count // 2 for count in range(256))


class Sketch:
    """Estimates are never too low within one sample, and at most MOST + 1.

    A counter has its byte to itself: sixteen values in it, but Python adds to bytes faster than to halves of them.
    """

    def __init__(self, entries: int = 16) -> None:
        """`entries`: a power of two; how many names matter at a time."""
        self.entries = entries
        self._rows = [bytearray(entries * COUNTERS) for _ in range(4)]
        self._door = bytearray(entries * DOOR_BYTES)
        self._added = 0

    def add(self, bits: int) -> None:
        """Count a request for the name with these bits (`spread`)."""
        step = bits >> 32 | 1
        door, mask = self._door, self.entries * DOOR_BYTES * 8 - 1
        first, second = bits & mask, bits + step & mask
        one, two = 1 << (first & 7), 1 << (second & 7)
        if door[first >> 3] & one and door[second >> 3] & two:
            at, mask = bits, self.entries * COUNTERS - 1
            for row in self._rows:
                count = row[at & mask]
                if count < MOST:
                    row[at & mask] = count + 1
                at += step
        else:
            door[first >> 3] |= one
            door[second >> 3] |= two
        self._added += 1
        if self._added >= SAMPLE * self.entries:
            self._age()

    def estimate(self, bits: int) -> int:
        """Requests for the name lately, from 0 to MOST + 1."""
        step = bits >> 32 | 1
        door, mask = self._door, self.entries * DOOR_BYTES * 8 - 1
        first, second = bits & mask, bits + step & mask
        seen = bool(door[first >> 3] >> (first & 7) & door[second >> 3] >> (second & 7) & 1)
        mask = self.entries * COUNTERS - 1
        return seen + min(row[bits + nth * step & mask] for nth, row in enumerate(self._rows))

    def grow(self) -> None:
        """Make room for twice the entries; no estimate changes: a name's new place is its old one or its copy."""
        self.entries *= 2
        self._rows = [row + row for row in self._rows]
        self._door = self._door + self._door

    def _age(self) -> None:
        self._rows = [row.translate(_HALF) for row in self._rows]
        self._door = bytearray(len(self._door))
        self._added //= 2
