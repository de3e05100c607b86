"""Where to cut a network in two so that little has to be kept between the halves: a minimum cut, exactly.

The first half ("stem") may be any set of ops that takes along all that its ops read. What is kept is every value of the
stem that something outside reads. The stem minimises

    price * (bytes kept) + (work left out of the stem)

which is a minimum cut between a source, with an edge of an op's work to each op, and a sink behind all that lies
outside (Picard 1976, "Maximal closure of a graph"). Found with Dinic's algorithm (1970).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["DEAREST", "LOSS", "Op", "cheapest_stem"]

DEAREST = 32  # multiply-adds that a byte is worth at most: computing them again takes about as long as keeping it
LOSS = 0.05  # of the shared work, that is given up at most to keep fewer bytes
_HALVINGS = 60


@dataclass(frozen=True)
class Op:
    """One computation. Values are known by digest; ``work`` is above 0, in multiply-adds."""

    digest: bytes
    reads: tuple[bytes, ...]
    makes: tuple[bytes, ...]
    work: int


def cheapest_stem(ops: Sequence[Op], outside: Collection[bytes], sizes: Mapping[bytes, int]) -> frozenset[bytes]:
    """Digests of the ops of the stem; none when nothing can be kept.

    Bytes are as dear as they can be while no more than `LOSS` of the work is left out, `DEAREST` at most.

    Args:
        ops: what could be in the stem, in topological order.
        outside: values that are read by something that cannot be.
        sizes: bytes of the values that can be kept.
    """
    total = sum(op.work for op in ops)
    least = _stem(ops, outside, sizes, 1, 1 << _HALVINGS)  # work above all
    allowed = sum(op.work for op in ops if op.digest not in least) + LOSS * total
    for halvings in range(_HALVINGS):
        stem = _stem(ops, outside, sizes, DEAREST, 1 << halvings)
        if sum(op.work for op in ops if op.digest not in stem) <= allowed:
            return stem
    return least


def _stem(
    ops: Sequence[Op], outside: Collection[bytes], sizes: Mapping[bytes, int], price: int, worth: int
) -> frozenset[bytes]:
    """The largest of the stems that minimise price * bytes + worth * work left out."""
    places = {name: i for i, name in enumerate(dict.fromkeys(v for op in ops for v in op.makes))}
    source, sink, first = 0, 1, 2 + len(ops)
    never = 1 + sum(worth * op.work for op in ops)  # dearer than leaving everything out
    flow = _Flow(first + len(places))
    maker = {value: i for i, op in enumerate(ops) for value in op.makes}
    for i, op in enumerate(ops):
        flow.edge(source, 2 + i, worth * op.work)
        for value in op.makes:
            flow.edge(2 + i, first + places[value], price * sizes[value] if value in sizes else never)
        for value in op.reads:
            if value in maker:
                flow.edge(first + places[value], 2 + i, never)
                flow.edge(2 + i, 2 + maker[value], never)
    for value in outside:
        if value in places:
            flow.edge(first + places[value], sink, never)
    flow.run(source, sink)
    lost = flow.reaching(sink)
    return frozenset(op.digest for i, op in enumerate(ops) if 2 + i not in lost)


class _Flow:
    """A flow network: edge e and its way back, e ^ 1, with what each can still carry."""

    def __init__(self, count: int) -> None:
        self._leaving: list[list[int]] = [[] for _ in range(count)]
        self._to: list[int] = []
        self._room: list[int] = []

    def edge(self, a: int, b: int, room: int) -> None:
        for end, start, carries in ((b, a, room), (a, b, 0)):
            self._leaving[start].append(len(self._to))
            self._to.append(end)
            self._room.append(carries)

    def run(self, source: int, sink: int) -> None:
        """Send as much as fits."""
        while (level := self._levels(source))[sink] >= 0:
            tried = [0] * len(self._leaving)
            path: list[int] = []
            at = source
            while True:
                if at == sink:
                    sent = min(self._room[e] for e in path)
                    for e in path:
                        self._room[e] -= sent
                        self._room[e ^ 1] += sent
                    full = next(i for i, e in enumerate(path) if not self._room[e])
                    at = self._to[path[full] ^ 1]
                    del path[full:]
                elif tried[at] < len(self._leaving[at]):
                    e = self._leaving[at][tried[at]]
                    if self._room[e] and level[self._to[e]] == level[at] + 1:
                        path.append(e)
                        at = self._to[e]
                    else:
                        tried[at] += 1
                elif path:
                    at = self._to[path.pop() ^ 1]
                    tried[at] += 1
                else:
                    break

    def _levels(self, source: int) -> list[int]:
        level = [-1] * len(self._leaving)
        level[source] = 0
        waiting = deque([source])
        while waiting:
            at = waiting.popleft()
            for e in self._leaving[at]:
                if self._room[e] and level[self._to[e]] < 0:
                    level[self._to[e]] = level[at] + 1
                    waiting.append(self._to[e])
        return level

    def reaching(self, sink: int) -> set[int]:
        """From where the sink could still be reached."""
        found = {sink}
        waiting = [sink]
        while waiting:
            for e in self._leaving[waiting.pop()]:
                start = self._to[e]
                if self._room[e ^ 1] and start not in found:
                    found.add(start)
                    waiting.append(start)
        return found
