"""A sound at another rate: sines stay what they are or vanish, and how it was cut into blocks does not matter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from reconv.errors import SourceError
from reconv.recipes.framing import window_count, windows
from reconv.recipes.resample import PASSED, resampled

RATES = [(44100, 16000), (48000, 16000), (22050, 16000), (8000, 16000), (16000, 22050), (8001, 8000)]
UNCHANGED = 1e-4  # of the amplitude, up to PASSED of the lower Nyquist frequency
SUPPRESSED = 3e-5  # 90 dB


def _sine(frequency: float, rate: int, seconds: float = 0.3) -> NDArray[np.float32]:
    return np.sin(2 * np.pi * frequency * np.arange(int(rate * seconds)) / rate).astype(np.float32)


def _cut(sound: NDArray[Any], sizes: Sequence[int]) -> Iterator[NDArray[Any]]:
    yield from np.split(sound, np.cumsum(sizes))


def _whole(sound: NDArray[Any], rate: int, to: int, sizes: Sequence[int] = ()) -> NDArray[Any]:
    return np.concatenate(list(resampled(_cut(sound, sizes), rate, to)))


def _middle(sound: NDArray[Any], rate: int) -> NDArray[Any]:
    """Away from the ends, where silence begins."""
    return sound[rate // 20 : -rate // 20]


@pytest.mark.parametrize(("rate", "to"), RATES)
@pytest.mark.parametrize("share", [0.01, 0.4, PASSED])
def test_a_sine_below_the_cutoff_stays_the_same(rate: int, to: int, share: float) -> None:
    frequency = share * min(rate, to) / 2
    found = _whole(_sine(frequency, rate), rate, to)
    assert len(found) == -(-int(rate * 0.3) * to // rate)
    expected = _sine(frequency, to, 1)[: len(found)]
    assert np.abs(_middle(found - expected, to)).max() < UNCHANGED
    assert np.abs(_middle(found, to)).max() > 0.9


@pytest.mark.parametrize(("rate", "to"), [pair for pair in RATES if pair[0] > pair[1]])
def test_what_the_new_rate_cannot_hold_vanishes(rate: int, to: int) -> None:
    for frequency in np.linspace(to / 2, rate / 2, 5)[:-1]:
        found = _whole(_sine(frequency * 1.001, rate), rate, to)
        assert np.abs(_middle(found, to)).max() < SUPPRESSED


def test_no_images_come_with_more_samples() -> None:
    found = _whole(_sine(3000, 8000), 8000, 16000)
    spectrum = np.abs(np.fft.rfft(_middle(found, 16000) * np.hanning(len(_middle(found, 16000)))))
    half = len(spectrum) // 2
    assert spectrum[half + 20 :].max() < SUPPRESSED * spectrum.max()


@pytest.mark.parametrize(("rate", "to"), RATES)
def test_blocks_do_not_matter(rate: int, to: int) -> None:
    rng = np.random.default_rng(rate)
    sound = rng.normal(size=5000).astype(np.float32)
    whole = _whole(sound, rate, to)
    for sizes in ([1] * 300, [0, 0, 4999], rng.integers(0, 900, 20).tolist()):
        np.testing.assert_array_equal(_whole(sound, rate, to, sizes), whole)


@pytest.mark.parametrize("level", [0.0, 0.25])
def test_a_steady_level_stays(level: float) -> None:
    found = _middle(_whole(np.full(8000, level, np.float32), 44100, 16000), 16000)
    assert np.abs(found - level).max() < 1e-6
    assert level or not found.any()


def test_the_same_rate_comes_as_it_is() -> None:
    sound = _sine(440, 16000)
    np.testing.assert_array_equal(_whole(sound, 16000, 16000, [7, 400]), sound)


def test_rates_with_nothing_in_common_are_refused() -> None:
    with pytest.raises(SourceError, match="383999 samples a second cannot be turned into one of 16000"):
        list(resampled([_sine(440, 16000)], 383999, 16000))


@pytest.mark.parametrize("length", [0, 1, 9, 10, 11, 13, 14, 40])
@pytest.mark.parametrize("hop", [1, 4, 10])
def test_windows_reach_the_end(length: int, hop: int) -> None:
    sound = np.arange(1, length + 1, dtype=np.float32)
    for sizes in ([], [3, 3, 3], [1] * 12, [0, 25]):
        found = list(windows(_cut(sound, sizes), 10, hop))
        assert len(found) == window_count(length, 10, hop)
        padded = np.concatenate([sound, np.zeros(10, np.float32)])
        for index, window in enumerate(found):
            np.testing.assert_array_equal(window, padded[index * hop :][:10])
        assert (np.unique(np.concatenate([*found, [0]])) >= 1).sum() == length, "a sample is in no window"
        assert all(window.any() for window in found)


def test_windows_are_their_own() -> None:
    first, second = windows([np.ones(12, np.float32)], 10, 2)
    first[:] = 5
    assert (second == 1).all()
