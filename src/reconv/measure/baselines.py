"""What a user gets for nothing: dense inference on some of the frames, the last answer held in between.

- frame holding runs every n-th frame (n need not be whole);
- a motion gate runs a frame when enough of its pixels changed since the frame that was run last.

A baseline is a schedule: which frames run. Its answers are dense answers held, its time is the dense time of the frames
that run, so neither has to be measured again. Both are judged at a share of the work that is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from reconv.errors import InputError

Schedule = npt.NDArray[np.bool_]
Result = TypeVar("Result")

# a pixel of the network's input has changed when a channel moved by more than this share of the frame's value range
CHANGED = 8 / 255


def hold_schedule(frames: int, share: float) -> Schedule:
    """(frames,) which frames run when `share` of them may: evenly spaced, the first always."""
    _check(frames, share)
    steps = np.floor(np.arange(frames) * share)
    return np.concatenate([[True], np.diff(steps) > 0])


def gate_schedule(frames: Sequence[npt.NDArray[np.generic]], share: float) -> Schedule:
    """(N,) which frames run under the motion gate whose share of frames is nearest to `share`; the first always runs.

    frames: the network's inputs, one per frame, of one shape; thumbnails of them will do.
    """
    _check(len(frames), share)
    low, high = 0.0, 1.0  # thresholds on the share of changed elements; a higher one runs fewer frames
    best, best_distance = _gated(frames, high), abs(1 / len(frames) - share)
    for _ in range(12):
        threshold = (low + high) / 2
        schedule = _gated(frames, threshold)
        distance = abs(float(schedule.mean()) - share)
        if distance < best_distance:
            best, best_distance = schedule, distance
        if schedule.mean() > share:
            low = threshold
        else:
            high = threshold
    return best


def held(results: Sequence[Result], schedule: Schedule) -> list[Result]:
    """The answer that stands at each frame: the result of the last frame that ran."""
    last = np.maximum.accumulate(np.where(schedule, np.arange(len(schedule)), 0))
    return [results[index] for index in last]


def _check(frames: int, share: float) -> None:
    if frames < 1 or not 0 < share <= 1:
        raise InputError(f"a schedule needs frames and a share in (0, 1], got {frames} frames and {share}")


def thumbnail(frame: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Every n-th pixel of a network's input, or of a picture of bytes (H, W, C): plenty to see motion, and small enough
    to keep for a whole clip."""
    if frame.dtype == np.uint8 and frame.ndim == 3:
        step = max(1, min(frame.shape[:2]) // 64)
        return frame[::step, ::step].copy()
    step = max(1, min(frame.shape[-2:]) // 64)
    return frame[..., ::step, ::step].copy()


def _gated(frames: Sequence[npt.NDArray[np.generic]], threshold: float) -> Schedule:
    last = frames[0].astype(np.float32)
    step = CHANGED * (float(np.ptp(last)) or 1.0)
    schedule = np.zeros(len(frames), bool)
    schedule[0] = True
    for index, frame in enumerate(frames[1:], 1):
        new = frame.astype(np.float32)
        if float((np.abs(new - last) > step).mean()) > threshold:
            schedule[index], last = True, new
    return schedule
