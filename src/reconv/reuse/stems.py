"""Which stems several models share: one for all of them, and deeper ones for groups that share more.

What all models of a group compute is theirs in common; `cheapest_stem` says how much of it their stem takes in. The
groups below a stem are chosen greedily: each time those models that save most multiply-adds by sharing further.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from reconv.reuse.member import Kept, Member, Sizes
from reconv.reuse.mincut import cheapest_stem

__all__ = ["Stem", "stems"]

LEAST = 0.01  # of the work of a model so far: a deeper stem that saves less is not worth the call


@dataclass(frozen=True)
class Stem:
    """What a group of models computes once.

    models: their places. path: digests of all ops that are computed by the end of it, those of stems above included.
    values: what it gives to what comes behind, by digest.
    """

    models: tuple[int, ...]
    path: frozenset[bytes]
    values: Mapping[bytes, Kept]


def stems(members: Sequence[Member], sizes: Sequence[Sizes]) -> list[Stem]:
    """The stems of these models, of known sizes; each before those below it."""
    found: list[Stem] = []
    _grow(found, members, sizes, tuple(range(len(members))), frozenset())
    return found


def _grow(
    found: list[Stem], members: Sequence[Member], sizes: Sequence[Sizes], group: tuple[int, ...], path: frozenset[bytes]
) -> None:
    common = frozenset.intersection(*(frozenset(members[m].nodes) for m in group)) - path
    first = group[0]
    ops = [sizes[first].op(digest) for digest in members[first].nodes if digest in common]
    makes = {value for op in ops for value in op.makes}
    outside = makes & _read(members, group, path | common)
    stem = cheapest_stem(ops, outside, {v: kept.bytes for v, kept in sizes[first].kept(makes).items()})
    if stem:
        path |= stem
        read = _read(members, group, path)
        made = [value for op in ops if op.digest in stem for value in op.makes if value in read]
        kept = sizes[first].kept(made)
        found.append(Stem(group, path, {value: kept[value] for value in made}))
    rest = group
    while deeper := _worthwhile(members, sizes, rest, path, common):
        _grow(found, members, sizes, deeper, path)
        rest = tuple(m for m in rest if m not in deeper)


def _read(members: Sequence[Member], group: Sequence[int], path: frozenset[bytes]) -> set[bytes]:
    """Values that something in the group reads which is not on the path."""
    return set[bytes]().union(*(members[m].outside(path) for m in group))


def _worthwhile(
    members: Sequence[Member],
    sizes: Sequence[Sizes],
    group: Sequence[int],
    path: frozenset[bytes],
    common: Collection[bytes],
) -> tuple[int, ...]:
    """The models of a group that save most by sharing more than all of it does; empty when none would."""
    owners: dict[bytes, list[int]] = {}
    for m in group:
        for digest in members[m].nodes:
            if digest not in path and digest not in common:
                owners.setdefault(digest, []).append(m)
    work: Counter[tuple[int, ...]] = Counter()
    for digest, owning in owners.items():
        if len(owning) > 1:
            work[tuple(owning)] += sizes[owning[0]].op(digest).work
    gains = {
        owning: (len(owning) - 1) * sum(w for other, w in work.items() if set(owning) <= set(other)) for owning in work
    }
    best = max(gains, key=lambda owning: gains[owning], default=())
    before = sum(sizes[group[0]].op(digest).work for digest in path)
    return best if best and gains[best] > LEAST * before else ()
