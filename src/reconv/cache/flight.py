"""Computations under way, so that what several threads miss at once is computed once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from reconv.cache.policies.policy import Key
from reconv.errors import CacheError

__all__ = ["Answer", "Flight", "Flights", "Make"]

V = TypeVar("V")
Make: TypeAlias = Callable[[list[Key]], Sequence[tuple[V, float]]]
AGAIN: Any = object()


@dataclass(frozen=True)
class Answer(Generic[V]):
    """A value asked for. `saved`: seconds that the caller need not spend, None when it was made for this very call.
    `waited`: seconds spent on waiting for the thread that was computing it."""

    value: V
    saved: float | None = None
    waited: float = 0.0


class Flight:
    """One computation that others wait for."""

    def __init__(self) -> None:
        self.pilot = threading.get_ident()
        self.seconds = 0.0
        self._done = threading.Event()
        self._value: Any = AGAIN
        self._error: BaseException | None = None

    def arrive(self, value: Any, seconds: float) -> None:
        self._value, self.seconds = value, seconds
        self._done.set()

    def fail(self, error: BaseException | None) -> None:
        """`error` reaches all who wait; with None they try themselves."""
        # an interrupt was meant for that thread alone: the others try again
        self._error = error if isinstance(error, Exception) else None
        self._done.set()

    def wait(self) -> Any:
        """The value; `AGAIN` when nobody computed it after all. Raises what the computation raised."""
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self._value


class Flights:
    """Of one cache, and under its lock."""

    def __init__(self, lock: threading.Lock) -> None:
        self._of: dict[Key, Flight] = {}
        self._lock = lock

    def answers(
        self,
        missing: Sequence[Key],
        make: Make[V],
        peek: Callable[[Key], tuple[V, float] | None],
        keep: Callable[[Key, V, float], object],
    ) -> dict[Key, Answer[V]]:
        """The values of keys that were just missed. What other threads are computing is waited for after what is left
        for this one has been made: who waits has nothing that others wait for.

        Args:
            missing: all different.
            make: of the keys that it is called with, in that order: the value, and the seconds that it took.
            peek: a value that is held by now and its cost; called under the lock.
            keep: called with what was made and its seconds.
        """
        found: dict[Key, Answer[V]] = {}
        while missing:
            mine, theirs = self._board(missing, peek, found)
            if mine:
                made = self._fly(mine, make, keep)
                found.update((key, Answer(value)) for key, (value, _) in zip(mine, made, strict=True))
            missing = []
            for key, flight in theirs.items():
                start = time.perf_counter()
                value = flight.wait()
                if value is AGAIN:
                    missing.append(key)
                else:
                    found[key] = Answer(value, flight.seconds, time.perf_counter() - start)
        return found

    def _board(
        self, missing: Sequence[Key], peek: Callable[[Key], tuple[V, float] | None], found: dict[Key, Answer[V]]
    ) -> tuple[dict[Key, Flight], dict[Key, Flight]]:
        """The flights of this caller and those of others; what somebody has finished since goes into `found`."""
        mine: dict[Key, Flight] = {}
        theirs: dict[Key, Flight] = {}
        with self._lock:
            for key in missing:
                flight = self._of.get(key)
                held = peek(key) if flight is None else None
                if held is not None:
                    found[key] = Answer(*held)
                elif flight is None:
                    mine[key] = Flight()
                elif flight.pilot == threading.get_ident():
                    raise CacheError(f"computing the value of {key!r} asks for the value of {key!r}")
                else:
                    theirs[key] = flight
            self._of.update(mine)
        return mine, theirs

    def _fly(
        self,
        flights: dict[Key, Flight],
        make: Make[V],
        keep: Callable[[Key, V, float], object],
    ) -> Sequence[tuple[V, float]]:
        keys = list(flights)
        try:
            made = make(keys)
            if len(made) != len(keys):
                raise CacheError(f"{len(keys)} values were to be made, {len(made)} came")
            for key, (value, seconds) in zip(keys, made, strict=True):
                keep(key, value, seconds)
        except BaseException as error:
            self._land(keys)
            for flight in flights.values():
                flight.fail(error if len(keys) == 1 else None)  # of several, nobody knows which is to blame
            raise
        self._land(keys)
        for key, (value, seconds) in zip(keys, made, strict=True):
            flights[key].arrive(value, seconds)
        return made

    def _land(self, keys: Sequence[Key]) -> None:
        with self._lock:
            for key in keys:
                del self._of[key]
