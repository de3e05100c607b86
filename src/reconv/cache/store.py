"""The cache that a user holds: a mapping under a byte limit for several threads, that computes what is missing once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, ItemsView, Iterator, MutableMapping, Sequence, ValuesView
from typing import Any, TypeVar

from reconv.cache.admission import ADMISSIONS
from reconv.cache.flight import Answer, Flights, Make
from reconv.cache.ledger import Ledger
from reconv.cache.packing import pack, unpack
from reconv.cache.policies import POLICIES, Key
from reconv.cache.size import size_of
from reconv.cache.stats import CacheStats
from reconv.cache.tiers.tier import Tier
from reconv.errors import CacheError

__all__ = ["Cache"]

V = TypeVar("V")
_ABSENT: Any = object()
_TIMED = 63  # one request in 64 is timed: a clock costs as much as a hit


class Cache(MutableMapping[Key, Any]):
    """Values by key, at most `capacity_bytes` of them; which ones stay is the policy's choice.

    Values are kept as they are, not copied. Every entry has a size in bytes and a cost in seconds, what computing it
    again would take. All methods may be called from several threads.
    """

    def __init__(
        self,
        capacity_bytes: int,
        policy: str = "arc",
        *,
        admission: str = "all",
        sizes: Callable[[Any], int] = size_of,
        below: Tier | None = None,
    ) -> None:
        """
        Args:
            capacity_bytes: the limit, of the values' sizes; never exceeded.
            policy: a name of `reconv.cache.POLICIES`: fifo, lru, lfu, arc, sieve, s3fifo, wtinylfu, gdsf or auto.
            admission: "all", or "second": only what is asked for a second time is taken in.
            sizes: bytes of a value that is put without a size.
            below: a slower tier (disk, Redis) that keeps what is put here too, and is asked on a miss. Keys must be
                text or bytes then, and values what `reconv.cache.packing` packs.

        Raises:
            CacheError: no such policy or admission, or a capacity that is not a whole number above 0.
        """
        if policy not in POLICIES:
            raise CacheError(f"no policy is called {policy!r}; there are {', '.join(POLICIES)}")
        if admission not in ADMISSIONS:
            raise CacheError(f"no admission is called {admission!r}; there are {', '.join(ADMISSIONS)}")
        make = ADMISSIONS[admission]
        self._ledger = Ledger(capacity_bytes, POLICIES[policy], make() if make else None)
        self._hit = self._ledger.policy.hit
        self._costs = self._ledger.costs
        self._values: dict[Key, Any] = {}
        self._sizes = sizes
        self._below = below
        self._lock = threading.Lock()
        self._flights = Flights(self._lock)
        self._counts = CacheStats(policy=policy)
        self._changes = 0  # puts and deletions, for those who fetch from below meanwhile
        self._asked = 0

    # --- asking ---

    def get(self, key: Key, default: Any = None) -> Any:
        """The value, or `default`; a hit or a miss in the statistics."""
        self._asked += 1
        if self._asked & _TIMED:
            with self._lock:
                value = self._values.get(key, _ABSENT)
                if value is not _ABSENT:
                    self._hit(key)
                    counts = self._counts
                    counts.hits += 1
                    counts.seconds_saved += self._costs[key]
                    return value
                self._counts.misses += 1
        else:
            start = time.perf_counter()
            value, _ = self._ask(key)
            self._counts.seconds_keeping += (time.perf_counter() - start) * (_TIMED + 1)
            if value is not _ABSENT:
                return value
        value, _ = self._from_below(key)
        return default if value is _ABSENT else value

    def look(self, key: Key) -> tuple[Any, float] | None:
        """As `get`, with the seconds that computing it again takes; None when it is not there."""
        start = time.perf_counter()
        value, cost = self._ask(key)
        self.charge(time.perf_counter() - start)
        if value is _ABSENT:
            value, cost = self._from_below(key)
        return None if value is _ABSENT else (value, cost)

    def _ask(self, key: Key) -> tuple[Any, float]:
        with self._lock:
            value = self._values.get(key, _ABSENT)
            if value is _ABSENT:
                self._counts.misses += 1
                return value, 0.0
            self._hit(key)
            cost = self._costs[key]
            self._counts.hits += 1
            self._counts.seconds_saved += cost
            return value, cost

    def _from_below(self, key: Key) -> tuple[Any, float]:
        """Out of the tier below, taken in here; `_ABSENT` when it is not there or is damaged."""
        if self._below is None:
            return _ABSENT, 0.0
        start, since = time.perf_counter(), self._changes
        payload = self._below.get(_name(key))
        found = None if payload is None else unpack(payload, _name(key))
        if payload is not None and found is None:
            self._below.delete(_name(key))  # damaged: not even asked again
        taken = time.perf_counter() - start
        with self._lock:
            self._counts.seconds_keeping += taken
            if found is None:
                return _ABSENT, 0.0
            self._counts.hits_below += 1
            self._counts.seconds_saved += found.cost
        self._take_in(key, found.value, self._sizes(found.value), found.cost, since)
        return found.value, found.cost

    def compute(self, key: Key, make: Callable[[], V], *, size: int | None = None) -> V:
        """The value, made now if it is missing; its cost is the time that takes.

        Threads that ask for the same missing key wait for the one that computes it. When it fails, the error reaches
        all of them and nothing is kept.
        `make` may ask for other keys, as long as they do not ask for this one in turn: two threads
        that each make what the other waits for wait for ever.

        Raises:
            CacheError: `make` asks for the very key it is to make.
        """
        value = self.get(key, _ABSENT)
        if value is _ABSENT:
            value = self._made([key], lambda _: [_timed(make)], size)[key].value
        return value  # type: ignore[no-any-return]

    def compute_many(self, keys: Sequence[Key], make: Make[V]) -> list[Answer[V]]:
        """The values of several keys, the missing ones made now, together; of each, what it saved.

        Two callers never wait for each other: what others are computing is waited for last.

        Args:
            keys: a key that comes twice is asked for and made once.
            make: called with missing keys; returns, in that order, the value of each and its cost in seconds. When it
                fails for several keys, other threads that wait for one of them compute it themselves: it need not be
                the one to blame.

        Raises:
            CacheError: `make` asks for a key that it is to make, or returns another number of values.
        """
        answers: dict[Key, Answer[V]] = {}
        missing = []
        for key in dict.fromkeys(keys):
            found = self.look(key)
            if found is None:
                missing.append(key)
            else:
                answers[key] = Answer(*found)
        if missing:
            answers |= self._made(missing, make)
        return [answers[key] for key in keys]

    def _made(self, missing: Sequence[Key], make: Make[V], size: int | None = None) -> dict[Key, Answer[V]]:
        def keep(key: Key, value: V, seconds: float) -> None:
            self.put(key, value, size=size, cost=seconds)

        answers = self._flights.answers(missing, make, self._peek, keep)
        saved = [answer.saved for answer in answers.values() if answer.saved is not None]
        if saved:
            with self._lock:
                self._counts.shared += len(saved)
                self._counts.seconds_saved += sum(saved)
        return answers

    def _peek(self, key: Key) -> tuple[Any, float] | None:
        """Under the lock, in no statistics."""
        return (self._values[key], self._costs[key]) if key in self._values else None

    def charge(self, seconds: float) -> None:
        """Add to `seconds_keeping`: what a caller spent on hashing and copying for this cache."""
        with self._lock:
            self._counts.seconds_keeping += seconds

    # --- keeping ---

    def put(self, key: Key, value: Any, *, size: int | None = None, cost: float = 0.0) -> bool:
        """Keep a value, in place of the one that the key has; True when it is held here now.

        Args:
            size: in bytes; None: what the cache's `sizes` says.
            cost: seconds that computing it again takes, for policies and statistics.

        Raises:
            CacheError: a size below 1, a cost that is not a number from 0 up, or a key or a value that the tier below
                cannot take. Then nothing has changed.
        """
        start = time.perf_counter()
        size = self._sizes(value) if size is None else size
        if not (isinstance(size, int) and size >= 1):
            raise CacheError(f"the size of an entry is {size!r}, expected a whole number of bytes from 1 up")
        if not 0 <= cost < float("inf"):
            raise CacheError(f"the cost of an entry is {cost!r} seconds, expected a number from 0 up")
        if self._below is not None:  # first: who fetches the old value from there at this moment sees that it changed
            self._below.put(_name(key), pack(value, cost, _name(key)))
        held = self._take_in(key, value, size, cost)
        taken = time.perf_counter() - start
        with self._lock:
            self._counts.seconds_keeping += taken
        return held

    def _take_in(self, key: Key, value: Any, size: int, cost: float, since: int | None = None) -> bool:
        """`since`: only if nothing has been put or deleted since `_changes` was that."""
        dropped: list[Any] = []  # let go of outside the lock: their destructors may ask the cache
        with self._lock:
            if since is None:
                self._changes += 1
            elif since != self._changes:
                return False
            ledger, counts = self._ledger, self._counts
            replaced = key in ledger.sizes
            if replaced:
                dropped.append(self._values[key])
                if (ledger.sizes[key], ledger.costs[key]) == (size, cost):  # for the policy the same: it stays
                    self._values[key] = value
                    self._hit(key)
                    return True
                ledger.remove(key)
                del self._values[key]
            left = ledger.insert(key, size, cost, admitted=replaced)
            if left is None:
                counts.refused += 1
                return False
            dropped.extend(self._values.pop(old) for old in left)
            self._values[key] = value
            counts.evictions += len(left)
            counts.insertions += 1
        return True

    # --- the mapping ---

    def __getitem__(self, key: Key) -> Any:
        value = self.get(key, _ABSENT)
        if value is _ABSENT:
            raise KeyError(key)
        return value

    def __setitem__(self, key: Key, value: Any) -> None:
        self.put(key, value)

    def items(self) -> ItemsView[Key, Any]:
        """What is held here at this moment, as a copy; no hits."""
        with self._lock:
            return dict(self._values).items()

    def values(self) -> ValuesView[Any]:
        """What is held here at this moment, as a copy; no hits."""
        with self._lock:
            return dict(self._values).values()

    def __delitem__(self, key: Key) -> None:
        known = self._below is not None and self._below.delete(_name(key))
        with self._lock:
            self._changes += 1
            value = self._values.pop(key, _ABSENT)
            if value is not _ABSENT:
                self._ledger.remove(key)
        if value is _ABSENT and not known:
            raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        """Held here; neither a hit nor a miss, and the tier below is not asked."""
        return key in self._values

    def __iter__(self) -> Iterator[Key]:
        with self._lock:
            return iter(list(self._values))

    def __len__(self) -> int:
        return len(self._values)

    def clear(self) -> None:
        """Drop everything here; the statistics and the tier below stay."""
        with self._lock:
            for key in list(self._values):
                self._ledger.remove(key)
            dropped, self._values = self._values, {}
        del dropped

    # --- what it holds and saved ---

    @property
    def bytes(self) -> int:
        """Of the values held."""
        return self._ledger.bytes

    @property
    def capacity_bytes(self) -> int:
        """The limit; a lower one takes effect at once."""
        return self._ledger.capacity_bytes

    @capacity_bytes.setter
    def capacity_bytes(self, value: int) -> None:
        with self._lock:
            left = self._ledger.resize(value)
            dropped = [self._values.pop(key) for key in left]
            self._counts.evictions += len(left)
        del dropped

    @property
    def below(self) -> Tier | None:
        """The tier that keeps what is put here too."""
        return self._below

    @property
    def stats(self) -> CacheStats:
        """Counts so far, as a copy."""
        with self._lock:
            return self._counts.copy(entries=len(self._values), bytes=self._ledger.bytes)

    def close(self) -> None:
        """Drop everything and close the tier below."""
        self.clear()
        if self._below is not None:
            self._below.close()


def _timed(make: Callable[[], V]) -> tuple[V, float]:
    start = time.perf_counter()
    value = make()
    return value, time.perf_counter() - start


def _name(key: Key) -> bytes:
    """The key as the tiers below take it; text and bytes never meet under one name."""
    if isinstance(key, str):
        return b"t" + key.encode("utf-8", "surrogatepass")
    if isinstance(key, bytes):
        return b"b" + key
    raise CacheError(f"key {key!r}: a cache with a tier below takes text or bytes as keys")
