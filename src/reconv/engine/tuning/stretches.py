"""Which frames of a clip choose a profile and which judge it: stretches that take turns, spread over the clip.

Both parts see all kinds of scene that the clip has, and no frame counts for both. A stretch is played in a window,
which is a stream of its own and begins with a dense frame.

- Of a stream that is refreshed every so many steps, a window is what lies between two dense steps, and all of it
  counts: what is played is what will run.
- Of one that is not, errors build up for long (over a street with walkers, for more than 80 frames). A window is long
  then; the first frames are run and do not count, and the rest counts by turns for one part and for the other, but for
  the first frames of each turn. The other part's frames are run, but what comes out of them is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from reconv.errors import InputError

__all__ = ["LEAST_FRAMES", "REFRESH", "Parts", "Window", "deal", "parts_of"]

REFRESH = 64  # steps from one dense step to the next
WINDOW, WARM, BLOCK, GAP = 240, 40, 48, 8  # frames, without dense steps; of short clips less, in proportion
LEAST_FRAMES = 8
KEPT_BYTES = 1 << 30  # of frames that come one by one and have to be kept


@dataclass(frozen=True, eq=False)
class Window:
    """Neighbouring frames that a stream runs through, read when they are asked for; `blocks` of them count."""

    frames: Any
    places: range
    blocks: tuple[range, ...]

    @property
    def needed(self) -> range:
        """The frames to run: none after the last that counts."""
        return range(self.places.start, self.blocks[-1].stop)

    @property
    def counted(self) -> tuple[int, ...]:
        """The frames that count."""
        return tuple(place for block in self.blocks for place in block)


@dataclass(frozen=True, eq=False)
class Parts:
    """The windows, with the blocks of either part."""

    tuning: tuple[Window, ...]
    judged: tuple[Window, ...]

    @property
    def first(self) -> Any:
        """A frame."""
        window = self.tuning[0]
        return window.frames[window.places.start]

    @property
    def refreshed(self) -> int:
        """Frames of a window."""
        return len(self.tuning[0].places)

    @property
    def counts(self) -> tuple[int, int]:
        """How many frames count for each."""
        first, second = (sum(len(window.counted) for window in part) for part in (self.tuning, self.judged))
        return first, second


Dealt = tuple[range, list[range], list[range]]  # a window, and its blocks for tuning and for judging


def deal(count: int, most: int, refresh_every: int | None = REFRESH) -> list[Dealt]:
    """Windows of a clip of `count` frames, about `most` frames in all, and what of them counts for which part.

    Raises:
        InputError: fewer than `LEAST_FRAMES` frames.
    """
    used = min(count, most)
    if used < LEAST_FRAMES:
        raise InputError(f"{used} frames are too few to tune on: it takes {LEAST_FRAMES}, better some hundreds")
    if refresh_every is not None:
        length = max(1, min(refresh_every, used // 4))
        pairs = used // (2 * length)
        windows = [range(start, start + length) for start in _spread(2 * pairs, length, count)]
        return [(each, [] if place % 2 else [each], [each] if place % 2 else []) for place, each in enumerate(windows)]
    number = max(1, round(used / WINDOW))
    length = used // number
    warm = max(1, min(WARM, length // 6))
    turns = max(2, 2 * round((length - warm) / (2 * BLOCK)))
    gap = min(GAP, (length - warm) // (6 * turns))
    bounds = [warm + place * (length - warm) // turns for place in range(turns + 1)]
    dealt = []
    for place, start in enumerate(_spread(number, length, count)):
        blocks = [range(start + a + gap, start + b) for a, b in pairwise(bounds)]
        first, second = blocks[place % 2 :: 2], blocks[1 - place % 2 :: 2]
        dealt.append((range(start, start + length), first, second))
    return dealt


def _spread(windows: int, length: int, count: int) -> list[int]:
    """Where windows start that are spread over `count` frames."""
    return [place * (count - length) // max(windows - 1, 1) for place in range(windows)]


def parts_of(frames: Iterable[Any], count: int | None, most: int, refresh_every: int | None = REFRESH) -> Parts:
    """The windows of a clip. A sequence is read where it is; frames that come one by one are kept, those that are
    needed, within about a gigabyte.

    Args:
        frames: of the clip.
        count: how many will come; None where nobody knows: the first `most` are taken.
        most: frames in all.
        refresh_every: of the streams to come; None: they are not refreshed.

    Raises:
        InputError: too few frames.
    """
    if hasattr(frames, "__getitem__") and hasattr(frames, "__len__"):
        held: Any = frames
        return _parts(held, deal(len(held), most, refresh_every))
    kept: dict[int, Any] = {}
    dealt: list[Dealt] | None = None
    wanted: set[int] = set()
    for place, frame in enumerate(frames):
        if place == 0:
            most = min(most, max(LEAST_FRAMES, KEPT_BYTES // max(_bytes(frame), 1)))
            dealt = None if count is None else deal(count, most, refresh_every)
            wanted = set(range(most)) if dealt is None else {each for window, _, _ in dealt for each in window}
        if place in wanted:
            kept[place] = frame
        if len(kept) == len(wanted):
            break
    if dealt is not None and len(kept) == len(wanted):
        return _parts(kept, dealt)
    together = list(kept.values())  # of a clip that nobody knew the length of, or that ended before it should
    return _parts(together, deal(len(together), most, refresh_every))


def _parts(frames: Any, dealt: Sequence[Dealt]) -> Parts:
    return Parts(
        tuple(Window(frames, window, tuple(blocks)) for window, blocks, _ in dealt if blocks),
        tuple(Window(frames, window, tuple(blocks)) for window, _, blocks in dealt if blocks),
    )


def _bytes(frame: Any) -> int:
    arrays = frame.values() if isinstance(frame, Mapping) else [frame]
    return sum(int(np.asarray(array).nbytes) for array in arrays)
