"""Groups: neighbours of one size; branches that lead to different ends are told apart."""

from __future__ import annotations

from reconv.engine.tuning import group_maps, leads_to
from reconv.graph import load
from tests.unit.small import text


def test_groups_are_neighbours_of_one_size() -> None:
    maps = {"a": (8, 8), "b": (4, 4), "c": (4, 4), "d": (4, 4), "e": (8, 8), "f": (4, 4)}
    assert group_maps(maps, 2) == [("a",), ("b", "c"), ("d",), ("e",), ("f",)]
    assert group_maps({}) == []


def test_branches_are_told_apart() -> None:
    graph = load(
        text(
            """two (float[1, 2, 8, 8] x) => (float[1, 4, 8, 8] y) {
            stem = Relu(x)
            one = Relu(stem)
            two = Tanh(stem)
            where = Relu(one)
            what = Tanh(two)
            y = Concat<axis = 1>(where, what)
            }"""
        )
    )
    maps = dict.fromkeys(("stem", "one", "two", "where", "what"), (8, 8))
    leads = leads_to(graph, maps)
    assert leads == {
        "stem": frozenset({"where", "what"}),
        "one": frozenset({"where"}),
        "where": frozenset({"where"}),
        "two": frozenset({"what"}),
        "what": frozenset({"what"}),
    }
    assert group_maps(maps, leads=leads) == [("stem",), ("one", "where"), ("two", "what")]
    assert group_maps(maps) == [("stem", "one", "two", "where", "what")]
