"""Sounds at another number of samples a second: a windowed sinc in as many phases as the two rates need.

    y[m] = sum_n x[n] h(m from/to - n)        h(t) = c sinc(c t) kaiser(t / half)

with c a little below the lower of the two Nyquist frequencies (Smith, "Digital Audio Resampling"). What lies above
the new Nyquist frequency is 90 dB down or more; below `PASSED` of it, the sound is unchanged to within 1e-4. Every
output sample depends on its own neighbourhood of the input alone and is added up in a fixed order, so the result does
not depend on how the sound was cut into blocks, and equal stretches come out equal wherever the phase is the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import ceil, gcd

import numpy as np
from numpy.typing import NDArray

from reconv.errors import SourceError

__all__ = ["PASSED", "resampled"]

ZEROS = 64  # zero crossings of the sinc on each side
CUTOFF = 0.95  # of the lower Nyquist frequency
PASSED = 0.9
BETA = 10.06  # of the Kaiser window: 100 dB, by 0.1102 (dB - 8.7)
MOST_TAPS = 1 << 25  # of all phases, as float32
AT_ONCE = 2048  # output samples that are gathered at a time

Samples = NDArray[np.float32]


def resampled(blocks: Iterable[Samples], rate: int, to: int) -> Iterator[Samples]:
    """Blocks (n,) of a sound with `rate` samples a second, as blocks of one with `to`: ceil(length to / rate) samples.

    Sounds that have that rate come as they are. Raises SourceError for rates with so little in common that the phases
    would need too much memory.
    """
    if rate == to:
        yield from blocks
        return
    filtered = _Resampler(rate, to)
    for block in blocks:
        yield filtered.add(block)
    yield filtered.end()


class _Resampler:
    def __init__(self, rate: int, to: int) -> None:
        common = gcd(rate, to)
        self._up, self._down = to // common, rate // common
        cutoff = CUTOFF * min(1.0, to / rate)
        self._half = half = ceil(ZEROS / cutoff)
        if 2 * half * self._up > MOST_TAPS:
            raise SourceError(
                f"a sound of {rate} samples a second cannot be turned into one of {to} here: convert it first"
            )
        away = np.arange(self._up)[:, None] / self._up - np.arange(1 - half, half + 1)
        taps = np.sinc(cutoff * away) * np.i0(BETA * np.sqrt(np.clip(1 - np.square(away / half), 0, None)))
        # each phase adds up to one, so that silence and a steady level stay what they are
        self._taps: Samples = (taps / taps.sum(1, keepdims=True)).astype(np.float32)
        self._held: Samples = np.zeros(half - 1, np.float32)  # from input sample `first` on
        self._first, self._next = 1 - half, 0

    def add(self, block: Samples) -> Samples:
        """What can be told once these samples are known."""
        self._held = np.concatenate([self._held, block])
        known = self._first + len(self._held) - self._half
        count = max(0, -(-known * self._up // self._down)) - self._next
        if count <= 0:
            return np.zeros(0, np.float32)
        out = np.concatenate([self._at(at, min(AT_ONCE, count - at)) for at in range(0, count, AT_ONCE)])
        self._next += count
        drop = self._next * self._down // self._up - self._half + 1 - self._first
        self._held, self._first = self._held[drop:], self._first + drop
        return out

    def end(self) -> Samples:
        """The rest: after the last sample there is silence."""
        return self.add(np.zeros(self._half, np.float32))

    def _at(self, offset: int, count: int) -> Samples:
        position = (self._next + offset + np.arange(count, dtype=np.int64)) * self._down
        around = np.lib.stride_tricks.sliding_window_view(self._held, 2 * self._half)
        starts = position // self._up - self._half + 1 - self._first
        result: Samples = (around[starts] * self._taps[position % self._up]).sum(1)
        return result
