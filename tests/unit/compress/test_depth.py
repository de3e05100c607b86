"""Residual blocks are found, the one that matters least goes first, and what is left runs."""

from __future__ import annotations

import numpy as np
import pytest

from reconv.compress.depth import drop_blocks, find_blocks
from reconv.errors import InputError, ModelError
from reconv.graph import Graph, check, parse
from reconv.optimize.values import RuntimeForward
from tests.unit.compress.train.nets import Array, by_runtime, quantized

FORWARD = RuntimeForward(1)


def residual(gains: tuple[float, ...] = (1.0, 0.01, 0.5)) -> Graph:
    """Three blocks of conv, relu, conv whose branches are as strong as told, then a projection beside a wider one."""
    random = np.random.default_rng(0)
    weights: dict[str, Array] = {"stem": random.normal(0, 0.5, (4, 2, 1, 1))}
    lines, x = ["x0 = Conv (x, stem) r0 = Relu (x0)"], "r0"
    for i, gain in enumerate(gains):
        weights[f"a{i}"] = random.normal(0, 0.4, (4, 4, 3, 3))
        weights[f"b{i}"] = random.normal(0, 0.4, (4, 4, 3, 3)) * gain
        lines.append(f"c{i} = Conv <pads = [1, 1, 1, 1]> ({x}, a{i}) d{i} = Relu (c{i})")
        lines.append(f"e{i} = Conv <pads = [1, 1, 1, 1]> (d{i}, b{i}) s{i} = Add (e{i}, {x}) t{i} = Relu (s{i})")
        x = f"t{i}"
    weights |= {"wide": random.normal(0, 0.4, (6, 4, 1, 1)), "beside": random.normal(0, 0.4, (6, 4, 1, 1))}
    lines.append(f"w = Conv ({x}, wide) v = Conv ({x}, beside) u = Add (w, v) y = Relu (u)")
    text = f"r (float[n, 2, 6, 6] x) => (float[n, 6, 6, 6] y) {{ {' '.join(lines)} }}"
    return parse(text, {name: array.astype(np.float32) for name, array in weights.items()})


def samples(count: int = 4) -> list[dict[str, Array]]:
    maps = np.random.default_rng(1).normal(0, 1, (count, 1, 2, 6, 6)).astype(np.float32)
    return [{"x": each} for each in maps]


def test_blocks_are_those_with_a_skip() -> None:
    blocks = find_blocks(residual())
    assert [block.skip for block in blocks] == ["r0", "t0", "t1"]
    assert all(len(block.branch) == 3 for block in blocks)


def test_a_branch_that_something_else_reads_is_none() -> None:
    graph = parse(
        "g (float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y) { r = Relu (x) a = Neg (r) s = Add (a, r) y = Mul (s, a) }",
        {},
    )
    assert find_blocks(graph) == []


def test_the_block_that_matters_least_goes_first_and_the_rest_is_the_formula() -> None:
    graph = residual()
    found = drop_blocks(graph, samples(), FORWARD)
    assert [layer.name for layer in found.report.layers] == [find_blocks(graph)[1].name]
    check(found.graph)
    without = residual((1.0, 0.0, 0.5))  # a branch of zeros adds nothing
    for feeds in samples():
        np.testing.assert_allclose(by_runtime(found.graph, feeds)[0], by_runtime(without, feeds)[0], atol=1e-5)
    assert len(found.graph.nodes) == len(graph.nodes) - 5  # its Relu of a Relu too
    assert "a1" not in found.graph.constants
    assert "a0" in found.graph.constants


def test_several_go_and_some_stay() -> None:
    graph = residual()
    first, _, third = (block.name for block in find_blocks(graph))
    two = drop_blocks(graph, samples(), FORWARD, count=2)
    assert [layer.name for layer in two.report.layers][1] == third
    kept = drop_blocks(graph, samples(), FORWARD, count=2, keep=[third])
    assert first in [layer.name for layer in kept.report.layers]
    named = drop_blocks(graph, samples(), FORWARD, blocks=[first])
    assert [layer.name for layer in named.report.layers] == [first]
    check(drop_blocks(graph, samples(), FORWARD, count=3).graph)


def test_what_cannot_be_dropped_is_told() -> None:
    graph = residual()
    with pytest.raises(ModelError, match="only 3 residual blocks can be dropped here, not 4"):
        drop_blocks(graph, samples(), FORWARD, count=4)
    with pytest.raises(InputError, match="'nothing' closes no residual block"):
        drop_blocks(graph, samples(), FORWARD, blocks=["nothing"])
    with pytest.raises(InputError, match="count is 0"):
        drop_blocks(graph, samples(), FORWARD, count=0)
    with pytest.raises(InputError, match="no samples"):
        drop_blocks(graph, [], FORWARD)
    with pytest.raises(ModelError, match="the graph is quantized"):
        drop_blocks(quantized(), samples(), FORWARD)


def test_a_sum_that_spreads_one_side_is_no_block() -> None:
    graph = parse(
        """g (float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y) {
            r = Relu (x) p = GlobalAveragePool (r) q = Relu (p) s = Add (r, q) y = Relu (s) }""",
        {},
    )
    assert len(find_blocks(graph)) == 1
    with pytest.raises(ModelError, match="only 0 residual blocks"):
        drop_blocks(graph, [{"x": np.ones((1, 2, 4, 4), np.float32)}], FORWARD)
