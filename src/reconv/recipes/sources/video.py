"""Video files and cameras, by OpenCV. A video is turned upright as its file says, in each of its colours 8 bits."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reconv.errors import SourceError
from reconv.recipes.pixels import opencv
from reconv.recipes.sources.quiet import quiet_opencv
from reconv.recipes.sources.reader import Connection, NeverError, Patience, Reader
from reconv.recipes.sources.source import Frame, Source

__all__ = ["camera", "video_file"]

TRIES = 30  # at the next frame: one that is damaged reads like the end, and the one after it may be whole
TEXTS = (".txt", ".nfo", ".asc", ".diz", ".ans")  # FFmpeg would draw their letters


def video_file(path: Path, say: Callable[[str], None]) -> Source:
    """Raises SourceError when it is not a video, or holds no frame."""
    capture = None if path.suffix.lower() in TEXTS else _capture(str(path))
    if capture is None or not capture.isOpened():
        raise SourceError(f"{path}: not a video, or one that cannot be opened")
    first = _next(capture)  # the header may promise what the data does not hold
    if first is None:
        capture.release()
        raise SourceError(f"{path} has no frames that can be read")
    rate = _rate(capture)
    promised = int(capture.get(opencv().CAP_PROP_FRAME_COUNT))
    count = promised if promised > 0 else None

    def frames() -> Iterator[Frame]:
        seen = 0
        frame: NDArray[Any] | None = first
        try:
            while frame is not None:
                seen += 1
                yield frame
                frame = _next(capture)
        finally:
            capture.release()
        if count is not None and seen < count - max(2.0, rate or 0.0, 0.05 * count):  # headers are not exact
            say(f"{path} has {seen} of the {count} frames that it promises; is it cut off or damaged?")

    return Source(str(path), first.shape[:2], rate, count, frames)


def _next(capture: Any) -> NDArray[Any] | None:
    for _ in range(TRIES):
        more, frame = capture.read()
        if more:
            return np.asarray(frame)
    return None


def camera(name: str, which: int | str, patience: Patience, say: Callable[[str], None]) -> Reader:
    """Begins to open a camera by its number or its device."""
    return Reader(name, partial(_connect, name, which), patience, say)


def _connect(name: str, which: int | str) -> Connection:
    capture = _capture(which)
    if not capture.isOpened():
        raise NeverError(f"{name} cannot be opened")
    return Connection(True, _rate(capture), None, _pictures(capture))


def _pictures(capture: Any) -> Generator[Callable[[], NDArray[Any]]]:
    try:
        more, frame = capture.read()
        while more:
            yield partial(_same, frame)
            more, frame = capture.read()
    finally:
        capture.release()


def _same(frame: NDArray[Any]) -> NDArray[Any]:
    return frame


def _capture(source: int | str) -> Any:
    cv2 = quiet_opencv()
    capture = cv2.VideoCapture(source)
    if capture.isOpened():
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)  # the default of some readers only
    return capture


def _rate(capture: Any) -> float | None:
    rate = float(capture.get(opencv().CAP_PROP_FPS))
    return rate if 0 < rate <= 1000 else None
