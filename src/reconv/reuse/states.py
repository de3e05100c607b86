"""Stream states: many streams of one model under one byte limit.

    pool = reconv.StreamPool(model, capacity_bytes=200_000_000)
    outputs = pool("door", {"images": x})

Every stream has a state as long as there is room. When there is none, a policy says whose state goes; that stream's
next step is dense and builds it anew. The bytes of a state are known before it is made, so that room is made first and
the limit holds at every moment. A step whose state finds no room, because it is larger than the limit or because the
states in use at the time leave none, is a dense run that keeps nothing. At tolerance 0 all of this changes no bit.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from os import PathLike
from types import TracebackType
from typing import Any
from weakref import WeakKeyDictionary, WeakMethod

from reconv.cache.ledger import Ledger
from reconv.cache.policies import POLICIES
from reconv.engine import Model, Profile, Step, Stream
from reconv.engine.audit import TARGET, Agreement, Audit
from reconv.engine.batch import join, split
from reconv.engine.compiled import Compiled
from reconv.engine.inputs import Inputs, check_feeds
from reconv.engine.item import DenseItems
from reconv.engine.model import Work
from reconv.engine.pixels import MOST_CHANNELS, TABLE_BYTES, PixelArithmetic
from reconv.errors import CacheError, ClosedError

__all__ = ["PoolStats", "PooledStream", "StreamPool"]

Outputs = dict[str, Any]

PACE = 1e-10  # seconds per multiply-add, before a dense step has been measured


@dataclass
class PoolStats:
    """Counts since the pool was made.

    steps: all. reused: those that went on from an earlier frame. dense: those that did not, and made a state: the first
    of a stream, the next one after its state was dropped, one of another frame size, a refresh; those that ran plain
    because nearly all of their frames was stale; and those audited: they went on from an earlier frame, and then ran it
    dense as well. too_large: run without a state, which alone is above the limit. crowded: run without one, because
    those in use left no room for it. dropped: states that went to make room. states, bytes: held now. seconds_saved:
    what the reused steps took less than dense ones, but for what the audited ones took more.
    """

    steps: int = 0
    reused: int = 0
    dense: int = 0
    audited: int = 0
    too_large: int = 0
    crowded: int = 0
    dropped: int = 0
    states: int = 0
    bytes: int = 0
    seconds_saved: float = 0.0


@dataclass(eq=False)
class _Member:
    """One stream. `users`: calls that step it or wait for that; its state stays as long as there is one.

    All but `turn` changes under the pool's lock, by the thread that holds `turn` or when nobody uses it.
    """

    name: Hashable
    turn: threading.Lock = field(default_factory=threading.Lock)
    users: int = 0
    ended: bool = False
    state: Stream | None = None
    held: DenseItems | None = None
    items: int = 0
    base_bytes: int = 0  # of the state, but for what is kept of the tail
    tail_bytes: dict[int, int] = field(default_factory=dict)  # by batch item


class StreamPool:
    """Streams by name under one byte limit, for several threads at once; one stream steps one call after the other."""

    def __init__(
        self,
        model: Model,
        capacity_bytes: int,
        policy: str = "wtinylfu",
        *,
        tolerance: float | None = None,
        profile: Profile | Mapping[str, Any] | str | PathLike[str] | None = None,
        pixels: PixelArithmetic | None = None,
        refresh_every: int | None = None,
        audit_every: int | None = None,
        target: float = TARGET,
        agreement: Agreement | None = None,
        audit_budget: float = 0.05,
        never_slower: bool = True,
    ) -> None:
        """
        Args:
            model: of all streams.
            capacity_bytes: of all states together, as `Stream.state_bytes` counts them; never exceeded.
            policy: whose state goes, a name of `reconv.cache.POLICIES`. "lru": who was not seen for longest. Streams
                that take turns and are more than there is room for would all lose their states just before they come
                again that way; "wtinylfu" keeps those of some.
            tolerance, profile, pixels, refresh_every, never_slower: of every stream, as for `Model.stream`.
            audit_every, target, agreement, audit_budget: as there. Each stream audits itself and has a tolerance of its
                own, which goes with its state: the next one starts from the `tolerance` given here. `agreement` is
                called by whichever thread steps a stream.

        Raises:
            CacheError: no such policy, or a capacity that is not a whole number above 0.
            ProfileError: as for `Model.stream`.
        """
        if policy not in POLICIES:
            raise CacheError(f"no policy is called {policy!r}; there are {', '.join(POLICIES)}")
        self._ledger = Ledger(capacity_bytes, POLICIES[policy])
        self._pattern = model.stream(
            tolerance, profile, pixels, refresh_every=refresh_every, audit_every=audit_every, target=target,
            agreement=agreement, audit_budget=audit_budget, never_slower=never_slower,
        )  # fmt: skip
        self._pixels = pixels
        self._model = model
        self._members: dict[Hashable, _Member] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._counts = PoolStats()
        self._dense_seconds: WeakKeyDictionary[Compiled, float] = WeakKeyDictionary()  # of one item
        self._tail_bytes: WeakKeyDictionary[Compiled, int] = WeakKeyDictionary()  # of one item, the most so far

    def __call__(self, name: Hashable, inputs: Inputs) -> Outputs:
        """One frame of the stream of this name: output name -> array, the caller's own, as `Stream` gives them.

        Raises:
            InputError: an input does not fit the model; nothing changed.
            TailError: ONNX Runtime failed; the stream's next step is dense.
            ClosedError: the pool was closed.
        """
        return self.step(name, inputs)[0]

    def step(self, name: Hashable, inputs: Inputs) -> tuple[Outputs, Step]:
        """As a call, with what the step cost."""
        arrays = check_feeds(self._model.inputs, inputs, self._pixels)
        items = self._model.items(arrays)
        member = self._enter(name)
        try:
            with member.turn:
                work = self._model.work(arrays, items, member.held)
                stream = self._state_for(member, work)
                if stream is None:
                    return self._without_state(work)
                try:
                    outputs = stream.advance(work)
                except BaseException:  # what it holds is of no use
                    with self._lock:
                        self._free(member)
                    raise
                self._count(work, stream.last)
                return outputs, stream.last
        finally:
            self._leave(member)

    def stream(self, name: Hashable) -> PooledStream:
        """The stream of this name as an object of its own."""
        return PooledStream(self, name)

    def audit(self, name: Hashable) -> Audit | None:
        """What the audits of a stream have found; None where it makes none, or has no state now."""
        with self._lock:
            member = self._members.get(name)
            return None if member is None or member.state is None else member.state.audit

    def forget(self, name: Hashable) -> None:
        """Drop the state of a stream that has ended; of one in use, with its last call."""
        with self._lock:
            member = self._members.get(name)
            if member is not None:
                member.ended = True
                self._tidy(member)

    def close(self) -> None:
        """Free all states; those in use, with their calls. Calls that come later are errors; closing twice is fine."""
        with self._lock:
            self._closed = True
            for member in list(self._members.values()):
                self._tidy(member)

    @property
    def bytes(self) -> int:
        """Of all states, as reserved for them."""
        return self._ledger.bytes

    @property
    def capacity_bytes(self) -> int:
        """The limit."""
        return self._ledger.capacity_bytes

    @property
    def stats(self) -> PoolStats:
        """Counts so far, as a copy."""
        with self._lock:
            return replace(self._counts, states=len(self._ledger.sizes), bytes=self._ledger.bytes)

    def __contains__(self, name: object) -> bool:
        """Whether the stream has a state now."""
        with self._lock:
            return name in self._ledger.sizes

    def __len__(self) -> int:
        """Streams that have a state now."""
        return len(self._ledger.sizes)

    def __enter__(self) -> StreamPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- one step ---

    def _enter(self, name: Hashable) -> _Member:
        with self._lock:
            if self._closed:
                raise ClosedError("the pool of streams is closed; make another one")
            member = self._members.setdefault(name, _Member(name))
            member.users += 1
            return member

    def _leave(self, member: _Member) -> None:
        with self._lock:
            member.users -= 1
            self._tidy(member)

    def _tidy(self, member: _Member) -> None:
        """Under the lock: let go of what nobody uses and nobody will."""
        if not member.users:
            if self._closed or member.ended:
                self._free(member)
            if member.state is None:
                del self._members[member.name]

    def _state_for(self, member: _Member, work: Work) -> Stream | None:
        """The state to step, made now if need be; None when there is no room for it."""
        with self._lock:
            if member.held is work.dense and member.items == work.items and not member.ended:
                self._ledger.policy.hit(member.name)
                return member.state
            self._free(member)  # of other sizes, or of a stream that has ended
            member.ended = False
            compiled, items = work.compiled, work.items
            pictures = 0 if self._pixels is None else _picture_bytes(compiled)
            member.base_bytes = items * (compiled.state_bytes + _passed_bytes(work) + pictures)
            wanted = member.base_bytes + items * self._tail_bytes.get(compiled, 0)
            seconds = items * self._dense_seconds.get(compiled, compiled.macs * PACE)
            if not (self._reserve(member, wanted, seconds) or self._reserve(member, member.base_bytes, seconds)):
                self._counts.too_large += member.base_bytes > self.capacity_bytes
                self._counts.crowded += member.base_bytes <= self.capacity_bytes
                return None
            try:
                member.state = self._pattern.another(partial(_ask, WeakMethod(self._may_keep), member.name))
            except BaseException:  # its room is no one's
                self._ledger.remove(member.name)
                raise
            member.held, member.items = work.dense, items
            return member.state

    def _without_state(self, work: Work) -> tuple[Outputs, Step]:
        start = time.perf_counter()
        outputs = join(work.dense.run(split(work.arrays, work.items)))
        with self._lock:
            self._counts.steps += 1
        return outputs, Step(1.0, time.perf_counter() - start, True, tuple(outputs))

    def _count(self, work: Work, step: Step) -> None:
        with self._lock:
            self._counts.steps += 1
            self._counts.dense += step.dense
            self._counts.reused += not step.dense
            self._counts.audited += step.audited
            dense = self._dense_seconds.get(work.compiled)
            if step.dense and not step.audited:  # which runs its frame twice
                self._dense_seconds[work.compiled] = step.seconds / work.items
            elif dense is not None:
                self._counts.seconds_saved += dense * work.items - step.seconds

    # --- room, under the lock ---

    def _reserve(self, member: _Member, size: int, seconds: float) -> bool:
        """Room for so many bytes, made by freeing states that are not in use; False when they are too few."""
        busy = [other.name for other in self._members.values() if other.users and other is not member]
        left = self._ledger.insert_beside(busy, member.name, max(size, 1), seconds)
        for name in left or ():
            gone = self._members.pop(name)
            if gone.state is not None:
                gone.state.close()
        self._counts.dropped += len(left or ())
        return left is not None

    def _free(self, member: _Member) -> None:
        if member.state is not None:
            member.state.close()
            member.state, member.held, member.tail_bytes = None, None, {}
            self._ledger.remove(member.name)

    def _may_keep(self, name: Hashable, item: int, size: int) -> bool:
        """Whether so many bytes of a tail's values may be kept: only a run of the tail tells how many there are."""
        with self._lock:
            member = self._members[name]
            held, seconds = self._ledger.sizes[member.name], self._ledger.costs[member.name]
            tail_bytes = {**member.tail_bytes, item: size}
            wanted = member.base_bytes + sum(tail_bytes.values())
            if wanted > held:
                self._ledger.remove(member.name)
                if not self._reserve(member, wanted, seconds):
                    self._reserve(member, held, seconds)  # what it had
                    member.tail_bytes.pop(item, None)
                    return False
            member.tail_bytes = tail_bytes
            if member.held is not None:
                compiled = member.held.compiled
                self._tail_bytes[compiled] = max(self._tail_bytes.get(compiled, 0), size)
            return True


def _ask(may_keep: WeakMethod[Callable[[Hashable, int, int], bool]], name: Hashable, item: int, size: int) -> bool:
    """Through a weak reference: with a strong one, a pool that is dropped would keep its states until the collector."""
    method = may_keep()
    return method is not None and method(name, item, size)


def _passed_bytes(work: Work) -> int:
    """Of the inputs of one item that are outputs, which a state holds as well."""
    return sum(work.arrays[name].nbytes // work.items for name in work.compiled.passed)


def _picture_bytes(compiled: Compiled) -> int:
    """What a state may keep of frames of bytes, of each input: the last one, what is stored as bytes, the table."""
    if not compiled.runs_plan:
        return 0
    sizes = [compiled.lowered.plan.size(border.map) for border in compiled.lowered.inputs]
    return sum(2 * h * w * c + c * TABLE_BYTES for h, w, c in sizes if c <= MOST_CHANNELS)


class PooledStream:
    """One stream of a pool: made by `StreamPool.stream`."""

    def __init__(self, pool: StreamPool, name: Hashable) -> None:
        self._pool = pool
        self._name = name
        self._last = Step()

    def __call__(self, inputs: Inputs) -> Outputs:
        """One frame, as `StreamPool` says."""
        outputs, self._last = self._pool.step(self._name, inputs)
        return outputs

    @property
    def name(self) -> Hashable:
        """In its pool."""
        return self._name

    @property
    def last(self) -> Step:
        """What the last step cost; zeros before the first."""
        return self._last

    @property
    def audit(self) -> Audit | None:
        """What its audits have found, as `StreamPool.audit`."""
        return self._pool.audit(self._name)

    def close(self) -> None:
        """Forget what the stream has seen: its state is freed, and another frame of it is a first one."""
        self._pool.forget(self._name)

    def __enter__(self) -> PooledStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
