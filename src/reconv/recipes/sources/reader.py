"""Reading ahead: a thread that reads a source, and what happens when the source goes away.

A live source (a camera, a stream over a network) does not wait. Of its frames only the newest is kept: who is slower
than the source always works on what is there now, and what it never saw is counted in `dropped`. When the source ends
or fails, it is opened again after 0.5, 1, 2, 4 and then every 8 seconds, until it was gone for as long as `Patience`
allows. A file that is read over a network waits for its reader, and loses nothing.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from reconv.errors import InputError, ReconvError, SourceError
from reconv.recipes.sources.source import Source

__all__ = ["Connection", "NeverError", "Patience", "Reader", "stop_all"]

Picture = NDArray[Any]  # uint8 (H, W, 3), BGR
MakePicture = Callable[[], Picture]  # frames that nobody takes are never converted

DEPTH = 4  # frames of a file that wait
FIRST_DELAY, MOST_DELAY = 0.5, 8.0  # seconds before a source is opened again
POLL = 0.1  # seconds; a wait is no longer than this, so that an interrupt is seen
GOODBYE = 1.0  # seconds that a reader's thread is waited for at the end


class NeverError(SourceError):
    """Trying again would not help: a page that is not there, a name that nobody has, no video in it."""


@dataclass(frozen=True)
class Patience:
    """With a source that goes away.

    reconnect_seconds: how long to go on opening a live source that is not there; 0 is not at all. timeout_seconds: how
    long opening it or waiting for its next bytes may take before it counts as gone.

    Raises InputError.
    """

    reconnect_seconds: float = 30.0
    timeout_seconds: float = 10.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.reconnect_seconds) and self.reconnect_seconds >= 0):
            raise InputError(f"reconnect is {self.reconnect_seconds}, expected seconds from 0 up")
        if not (math.isfinite(self.timeout_seconds) and self.timeout_seconds > 0):
            raise InputError(f"timeout is {self.timeout_seconds}, expected seconds above 0")


@dataclass(frozen=True)
class Connection:
    """A source that was opened. `live`: it does not wait, and may be opened again where it ends; `pictures`: until the
    source ends, raising SourceError when it fails."""

    live: bool
    rate: float | None
    count: int | None
    pictures: Generator[MakePicture]


class Reader:
    """Opens and reads a source in a thread of its own, from when it is made until `stop`, and tells `say` what happens
    to it.

    `received` frames came, `dropped` of them were replaced by newer ones, the source was opened again `reconnects`
    times.
    """

    def __init__(
        self, name: str, connect: Callable[[], Connection], patience: Patience, say: Callable[[str], None]
    ) -> None:
        self.name = name
        self.received = self.dropped = self.reconnects = 0
        self.rate: float | None = None
        self.count: int | None = None
        self.live = True
        self._connect, self._patience, self._say = connect, patience, say
        self._waiting: deque[tuple[int, MakePicture]] = deque()
        self._changed = threading.Condition()
        self._over = False
        self._error: ReconvError | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name=f"reader of {name}", daemon=True)
        self._thread.start()

    # --- for who takes the frames ---

    def source(self) -> Source:
        """Waits for the first frame, which stays to be taken. Raises SourceError when none comes, and ends then."""
        try:
            first = self._first()
        except BaseException:  # an interrupt too
            self.stop()
            raise
        return Source(self.name, first.shape[:2], self.rate, self.count, self.frames, reader=self)

    def _first(self) -> Picture:
        while True:
            with self._changed:
                if self._waiting:
                    return self._waiting[0][1]()
                if self._over:
                    raise self._error or NeverError(f"{self.name} has no frames that can be read")
                self._changed.wait(POLL)

    @property
    def settled(self) -> bool:
        """Whether a frame is there or none will come: then `source` does not wait."""
        with self._changed:
            return bool(self._waiting) or self._over

    def poll(self) -> tuple[int, Picture] | None:
        """The next frame and its number among those received; None when there is none yet, or no more: see `over`."""
        with self._changed:
            if not self._waiting:
                return None
            index, make = self._waiting.popleft()
            self._changed.notify_all()
        return index, make()

    @property
    def over(self) -> bool:
        """Whether there will be no more frames: the source has ended, or failed for good as `error` says."""
        with self._changed:
            return not self._waiting and self._over

    @property
    def error(self) -> ReconvError | None:
        """Why the source is gone for good, once it is `over`; None when it has just ended."""
        return self._error if self.over else None

    def wait(self) -> None:
        """Until something has happened, or a moment has passed."""
        with self._changed:
            if not self._waiting and not self._over:
                self._changed.wait(POLL)

    def frames(self) -> Iterator[Picture]:
        """Frames as they come, until the source ends. Raises SourceError when it has failed for good."""
        try:
            while not (self.over or self._stopped):
                taken = self.poll()
                if taken is None:
                    self.wait()
                else:
                    yield taken[1]
            if not self._stopped and self._error is not None:
                raise self._error
        finally:
            self.stop()

    def stop(self) -> None:
        """Ends the thread; one that is in the middle of waiting for bytes ends when that does. Twice is fine."""
        stop_all([self])

    def _end(self) -> threading.Thread:
        """Asks the thread to end; it."""
        self._stopped = True
        with self._changed:
            self._changed.notify_all()
        return self._thread

    # --- the thread ---

    def _stopping(self) -> bool:
        return self._stopped

    def _work(self) -> None:
        error: ReconvError | None = None
        try:
            self._read()
        except ReconvError as mishap:
            error = mishap
        except Exception as mishap:  # no thread dies in silence
            error = SourceError(f"{self.name}: {type(mishap).__name__}: {mishap}")
        with self._changed:
            self._over, self._error = True, error
            self._changed.notify_all()

    def _read(self) -> None:
        seen = time.monotonic()  # when all was well
        tries, delay = 0, FIRST_DELAY
        while not self._stopping():
            reason: ReconvError | None = None
            try:
                connection = self._connect()
                self.rate, self.count, self.live = connection.rate, connection.count, connection.live
                with closing(connection.pictures) as pictures:
                    for make in pictures:
                        if self._stopping():
                            return
                        self._put(make)
                        if tries:
                            self.reconnects += self.received > 1
                            self._say(f"{self.name} is back after {time.monotonic() - seen:.1f} s")
                        seen, tries, delay = time.monotonic(), 0, FIRST_DELAY
                if not connection.live:
                    return
            except SourceError as mishap:
                if (not self.received and isinstance(mishap, NeverError)) or (self.received and not self.live):
                    raise
                reason = mishap
            tries += 1
            left = self._patience.reconnect_seconds - (time.monotonic() - seen)
            self._report(reason, tries, left, time.monotonic() - seen)
            self._sleep(min(delay, left))
            delay = min(2 * delay, MOST_DELAY)

    def _report(self, reason: ReconvError | None, tries: int, left: float, gone: float) -> None:
        """Says that the source is gone, once; raises SourceError when it has been for too long."""
        what = str(reason or "it ended").removeprefix(f"{self.name}: ")
        if left <= 0:
            again = f", and opening it again did not help for {gone:.0f} s" if tries > 1 else ""
            raise SourceError(f"{self.name}: {what}{again}")
        if tries == 1:
            self._say(f"{self.name}: {what}; trying again for {self._patience.reconnect_seconds:g} s")

    def _put(self, make: MakePicture) -> None:
        with self._changed:
            if self.live and self._waiting:
                self._waiting.clear()
                self.dropped += 1
            while len(self._waiting) >= DEPTH and not self._stopped:
                self._changed.wait(POLL)
            self._waiting.append((self.received, make))
            self.received += 1
            self._changed.notify_all()

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._stopped and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, POLL))


def stop_all(readers: Iterable[Reader]) -> None:
    """As `Reader.stop` of each, all at a time."""
    end = time.monotonic() + GOODBYE
    for thread in [reader._end() for reader in readers]:
        thread.join(max(0.0, end - time.monotonic()))
