"""What the tiers share: a medium that fails costs a miss, is counted, and is left alone for a while.

A dead server would otherwise cost its timeout at every request. After a failure the medium is not asked for as long
as the timeout, after each further failure in a row for twice as long as before, up to 64 timeouts; then one request
tries again. Reading and writing pause apart: a full disk can still be read.

A name whose new value could not be written may still have its old one out there, so it is a miss here until it has been
written or deleted. The last 65,536 such names are remembered, in this process. Other processes, and their memory, know
nothing of it: names should be digests of what the value was made from, so that a name never gets another value.
"""

from __future__ import annotations

import os
import threading
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from reconv.errors import CacheError, one_line

__all__ = ["GuardedTier", "Pause"]

T = TypeVar("T")
_LONGEST_PAUSE = 64  # in timeouts
_MOST_DOUBTS = 65_536


class Pause:
    """Turns requests away for a while after a failure."""

    def __init__(self, shortest_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._shortest = shortest_seconds
        self._seconds = 0.0  # 0: the last request went well
        self._until = 0.0
        self._round = 0
        self._clock = clock

    def begin(self) -> int | None:
        """A number to end the request with; None: not now. After a pause one request goes ahead of the others."""
        if self._seconds:
            now = self._clock()
            if now < self._until:
                return None
            self._until = now + self._seconds
        return self._round

    def failed(self, begun: int) -> None:
        """Of several requests that were under way together, the first to fail counts."""
        if begun == self._round:
            self._round += 1
            self._seconds = min(max(2 * self._seconds, self._shortest), self._shortest * _LONGEST_PAUSE)
            self._until = self._clock() + self._seconds

    def succeeded(self, begun: int) -> None:
        if begun == self._round:
            self._seconds = 0.0


class GuardedTier(ABC):
    """Base of the tiers: the protocol `Tier` over hooks that may raise whatever their medium's library raises."""

    def __init__(self, timeout_seconds: float, largest_bytes: int) -> None:
        """`largest_bytes`: a payload above is not kept. Raises CacheError for a timeout that is not above 0."""
        if not 0 < timeout_seconds < float("inf"):
            raise CacheError(f"timeout_seconds is {timeout_seconds!r}, expected a number above 0")
        self.timeout_seconds = timeout_seconds
        self._largest_bytes = largest_bytes
        self._reading, self._writing = Pause(timeout_seconds), Pause(timeout_seconds)
        self._doubted: OrderedDict[bytes, None] = OrderedDict()
        self._owes_clear = False
        self._closed = False
        self._failures = 0
        self._last_failure = ""
        self._pid = os.getpid()
        self._lock = threading.Lock()

    # --- the medium ---

    @abstractmethod
    def _read(self, name: bytes) -> bytes | None: ...

    @abstractmethod
    def _write(self, name: bytes, payload: bytes) -> None: ...

    @abstractmethod
    def _delete(self, name: bytes) -> bool: ...

    @abstractmethod
    def _clear(self) -> None: ...

    @abstractmethod
    def _close(self) -> None: ...

    @abstractmethod
    def _after_fork(self) -> None:
        """This is a forked child: let go of what belongs to the parent, without touching it."""

    # --- the protocol ---

    def get(self, name: bytes) -> bytes | None:
        if self._owes_clear and not self._cleared():
            return None
        if name in self._doubted:
            self.delete(name)
            return None
        return self._attempt(self._reading, lambda: self._read(name))[1]

    def put(self, name: bytes, payload: bytes) -> None:
        if len(payload) > self._largest_bytes:
            self.delete(name)  # not even the old value
        elif not self._owes_clear or self._cleared():
            self._settle(name, self._attempt(self._writing, lambda: self._write(name, payload))[0])

    def delete(self, name: bytes) -> bool:
        done, found = self._attempt(self._writing, lambda: self._delete(name))
        self._settle(name, done)
        return bool(found)

    def clear(self) -> None:
        """Forget everything; when the medium fails, nothing is read from it until this has been made good."""
        self._owes_clear = True
        self._cleared()

    def close(self) -> None:
        """Let go of the medium. Afterwards everything is a miss and nothing is kept."""
        self._own()
        if not self._closed:
            with suppress(Exception):
                self._close()
            self._closed = True

    @property
    def failures(self) -> int:
        return self._failures

    @property
    def last_failure(self) -> str:
        """What went wrong last, in one line; "" when nothing ever did."""
        return self._last_failure

    # --- how ---

    def _attempt(self, pause: Pause, ask: Callable[[], T]) -> tuple[bool, T | None]:
        """Whether the medium did what it was asked for, and its answer."""
        self._own()
        begun = None if self._closed else pause.begin()
        if begun is None:
            return False, None
        try:
            answer = ask()
        except Exception as error:  # garbage makes libraries raise anything
            with self._lock:
                self._failures += 1
                self._last_failure = one_line(error)
                pause.failed(begun)
            return False, None
        pause.succeeded(begun)
        return True, answer

    def _own(self) -> None:
        """In a forked child, start with resources of its own; another thread of the parent may have held the lock."""
        if self._pid != os.getpid():
            self._pid, self._lock = os.getpid(), threading.Lock()
            self._after_fork()

    def _cleared(self) -> bool:
        self._owes_clear = not self._attempt(self._writing, self._clear)[0]
        if not self._owes_clear:
            self._doubted.clear()
        return not self._owes_clear

    def _settle(self, name: bytes, done: bool) -> None:
        """Remember whether what the medium has under this name is what it should have."""
        if done:
            self._doubted.pop(name, None)
            return
        with self._lock:
            self._doubted[name] = None
            if len(self._doubted) > _MOST_DOUBTS:
                self._doubted.popitem(last=False)
