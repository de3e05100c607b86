"""The cut of random small networks against all cuts there are."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from reconv.reuse.mincut import DEAREST, LOSS, Op, cheapest_stem
from tests.property.profiles import examples

Stem = frozenset[bytes]


@st.composite
def networks(draw: st.DrawFn) -> tuple[list[Op], set[bytes], dict[bytes, int]]:
    values = [b"input"]
    ops = []
    for i in range(draw(st.integers(1, 7))):
        reads = tuple(draw(st.sets(st.sampled_from(values), min_size=1, max_size=3)))
        makes = tuple(f"v{i}.{k}".encode() for k in range(draw(st.sampled_from([1, 1, 1, 2]))))
        ops.append(Op(f"op{i}".encode(), reads, makes, draw(st.sampled_from([1, 3, 50, 1000, 40_000]))))
        values += makes
    made = values[1:]
    outside = draw(st.sets(st.sampled_from(made)))
    sizes = {value: draw(st.sampled_from([1, 4, 100, 1000])) for value in made if draw(st.integers(0, 6))}
    return ops, outside, sizes


def closed(ops: Sequence[Op]) -> Iterator[Stem]:
    """All sets of ops that take along what they read."""
    maker = {value: op.digest for op in ops for value in op.makes}
    for count in range(len(ops) + 1):
        for chosen in combinations(ops, count):
            stem = frozenset(op.digest for op in chosen)
            if all(maker[value] in stem for op in chosen for value in op.reads if value in maker):
                yield stem


def kept(ops: Sequence[Op], outside: Collection[bytes], stem: Stem) -> set[bytes]:
    """Values of the stem that something else reads."""
    read = {value for op in ops if op.digest not in stem for value in op.reads} | set(outside)
    return {value for op in ops if op.digest in stem for value in op.makes if value in read}


def left_out(ops: Sequence[Op], stem: Stem) -> int:
    return sum(op.work for op in ops if op.digest not in stem)


@examples(300)
@given(networks())
def test_no_other_cut_is_better(drawn: tuple[list[Op], set[bytes], Mapping[bytes, int]]) -> None:
    ops, outside, sizes = drawn
    possible = [stem for stem in closed(ops) if kept(ops, outside, stem) <= sizes.keys()]

    def stored(stem: Stem) -> int:
        return sum(sizes[value] for value in kept(ops, outside, stem))

    stem = cheapest_stem(ops, outside, sizes)
    assert stem in possible
    least = min(left_out(ops, other) for other in possible)
    given_up = left_out(ops, stem) - least
    assert given_up <= LOSS * sum(op.work for op in ops)
    # nobody stores less without leaving out more, and a byte less is not to be had for less than it is worth
    assert not [o for o in possible if left_out(ops, o) <= left_out(ops, stem) and stored(o) < stored(stem)]
    best = min(DEAREST * stored(o) + left_out(ops, o) for o in possible)
    allowed = [o for o in possible if DEAREST * stored(o) + left_out(ops, o) == best]
    if any(left_out(ops, o) - least <= LOSS * sum(op.work for op in ops) for o in allowed):
        assert DEAREST * stored(stem) + left_out(ops, stem) == best


@examples(50)
@given(networks())
def test_bytes_that_cost_nothing_leave_nothing_out(drawn: tuple[list[Op], set[bytes], Mapping[bytes, int]]) -> None:
    ops, outside, _ = drawn
    assert cheapest_stem(ops, outside, {value: 0 for op in ops for value in op.makes}) == {op.digest for op in ops}
