"""Channels that are constant can be removed, with everything that shares them, and nothing but rounding changes.

Networks are drawn from the ways in which channels are coupled; any part of any group is removed. What follows the
channels rightly is only seen in what comes out, so the checker is shown a table that follows them wrongly, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconv.compress.prune import pointwise, prune, table
from reconv.compress.prune.cut import cut
from reconv.compress.prune.groups import groups_of
from reconv.compress.prune.importance import constant
from reconv.compress.prune.table import trace
from reconv.compress.prune.walk import Rule, Walk
from reconv.engine.tail import open_session, same_bits
from reconv.errors import ModelError, ReconvError
from reconv.graph import Graph, Node, load, to_onnx, with_constants
from reconv.optimize.values import RuntimeForward
from tests.property.prune_nets import BLOCKS, HEADS, SIDE, network, residual

Array = np.ndarray[Any, Any]
WEIGHTS = frozenset({"out"})
NETS = st.tuples(
    st.lists(st.integers(0, len(BLOCKS) - 1), max_size=4), st.integers(0, len(HEADS) - 1), st.integers(0, 2**16)
)


def drawn(walk: Walk, seed: int) -> list[int]:
    """Some units of some groups, never all of one."""
    random = np.random.default_rng(seed)
    found: list[int] = []
    for group in groups_of(walk):
        count = int(random.integers(0, group.units))
        found += random.permutation(group.roots)[:count].tolist()
    return found


def stilled(graph: Graph, walk: Walk, gone: list[int], roles: frozenset[str] | None) -> Graph:
    """The graph with the channels of these units made constant: all that makes them zero, or only its weights."""
    arrays: dict[str, Array] = {}
    for site in walk.sites:
        if site.role == "in" or (roles is not None and site.role not in roles):
            continue
        name = site.node.inputs[site.place]
        array = arrays.setdefault(name, np.array(graph.constants[name]))
        at = np.flatnonzero(np.isin(walk.atoms.roots(site.atoms), gone))
        array[(slice(None),) * site.axis + (at,)] = 0
    return with_constants(graph, arrays)


def outputs(graph: Graph, seed: int = 0) -> list[Array]:
    x = np.random.default_rng(seed).standard_normal((1, 3, SIDE, SIDE)).astype(np.float32)
    session = open_session(to_onnx(graph).SerializeToString(), 1)
    return [np.asarray(y) for y in session.run(None, {"input": x})]


def check(model: onnx.ModelProto, seed: int, roles: frozenset[str] | None = None) -> int:
    """Make channels constant, remove them, compare; how many units went."""
    graph = load(model)
    walk = trace(graph)
    gone = drawn(walk, seed)
    before = stilled(graph, walk, gone, roles)
    walk = trace(before)
    known = constant(walk, groups_of(walk))
    free = {root for group, row in zip(groups_of(walk), known, strict=True) for root in np.array(group.roots)[row]}
    if roles is None and not any(node.op_type == "Softmax" for node in graph.nodes):
        assert set(gone) <= free  # zeros stay zeros; of other constants a convolution's padding makes something else
    gone = sorted(free.intersection(gone))
    after = cut(walk, gone)
    onnx.checker.check_model(to_onnx(after), full_check=True)
    for want, got in zip(outputs(before), outputs(after), strict=True):
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * max(float(np.abs(want).max()), 1e-3))
    return len(gone)


@given(NETS)
@settings(max_examples=80, deadline=None)
def test_removing_channels_of_zeros_changes_the_result_by_rounding_only(net: tuple[list[int], int, int]) -> None:
    blocks, head, seed = net
    check(network(blocks, head, seed), seed)


@given(NETS)
@settings(max_examples=80, deadline=None)
def test_what_a_constant_channel_was_worth_goes_into_the_bias(net: tuple[list[int], int, int]) -> None:
    blocks, head, seed = net
    check(network(blocks, head, seed, padded=False), seed, WEIGHTS)


@given(NETS)
@settings(max_examples=30, deadline=None)
def test_whatever_stands_in_what_is_left_is_valid_and_deterministic(net: tuple[list[int], int, int]) -> None:
    blocks, head, seed = net
    graph = load(network(blocks, head, seed))
    samples = [{"input": np.random.default_rng(seed + i).random((1, 3, SIDE, SIDE), np.float32)} for i in (0, 1)]
    asked: dict[str, Any] = {"ratio": 0.5, "multiple": 1, "least": 1, "samples": samples, "forward": RuntimeForward()}
    if not groups_of(trace(graph)):
        with pytest.raises(ModelError, match="no channel of the model can be removed"):
            prune(graph, **asked)
        return
    made = prune(graph, **asked).graph
    onnx.checker.check_model(to_onnx(made), full_check=True)
    again = prune(graph, **asked).graph
    assert all(same_bits(a, b) and np.isfinite(a).all() for a, b in zip(outputs(made), outputs(again), strict=True))


@pytest.mark.parametrize("block", range(len(BLOCKS)), ids=lambda at: BLOCKS[at].__name__)
@pytest.mark.parametrize("padded", [True, False])
def test_every_block_loses_channels(block: int, padded: bool) -> None:
    removed = 0
    for seed in range(2):  # and after it a layer that is free whatever the block pins
        removed += check(network([block, 0], seed, seed, padded=padded), seed, None if padded else WEIGHTS)
    assert removed > 0


def test_the_check_sees_channels_that_are_not_followed_rightly(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(walk: Walk, node: Node) -> None:
        first = walk.carried[node.inputs[0]]
        walk.carry(node.outputs[0], first.axis, first.atoms, first.still)

    broken: dict[str, Rule] = {**table.OPERATORS, "Add": wrong}
    caught = 0
    at = BLOCKS.index(residual)
    for seed in range(8):
        model = network([at, at], 2, seed)
        with monkeypatch.context() as patched:
            patched.setattr(table, "OPERATORS", broken)
            try:
                check(model, seed)
            except (AssertionError, ReconvError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
                caught += 1
        check(model, seed)
    assert caught > 0
    assert pointwise.POINTWISE["Add"] is table.OPERATORS["Add"]
