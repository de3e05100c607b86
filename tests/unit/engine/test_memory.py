"""Memory limits and the announced plan, as the user meets them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from onnx import helper

import reconv
from reconv.errors import InputError
from tests.unit.small import cnn, frame, network


def hourglass(size: int = 96) -> Any:
    """Down by a pool and up by a resize, with a concat of what was there before: a U-Net of one level."""
    random = np.random.default_rng(3)
    sizes = {"w1": (16, 3), "w2": (16, 16), "w3": (16, 16), "w4": (16, 32), "w5": (2, 16)}
    weights = {name: random.normal(0, 0.1, (*shape, 3, 3)).astype(np.float32) for name, shape in sizes.items()}
    pads = [1, 1, 1, 1]
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], "in", pads=pads),
        helper.make_node("Conv", ["a", "w2"], ["skip"], "skip", pads=pads),
        helper.make_node("MaxPool", ["skip"], ["p"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p", "w3"], ["low"], "low", pads=pads),
        helper.make_node("Resize", ["low", "", "scales"], ["up"], "up", mode="nearest"),
        helper.make_node("Concat", ["skip", "up"], ["cat"], "cat", axis=1),
        helper.make_node("Conv", ["cat", "w4"], ["d"], "mix", pads=pads),
        helper.make_node("Conv", ["d", "w5"], ["y"], "out", pads=pads),
    ]
    return network(nodes, weights | {"scales": np.array([1, 1, 2, 2], np.float32)}, [1, 3, size, size], ["y"])


def test_the_plan_adds_up() -> None:
    plan = reconv.load(hourglass(), threads=2).memory_plan()
    assert plan.peak_bytes == plan.map_bytes + plan.scratch_bytes + plan.output_bytes
    assert plan.output_bytes == 4 * 2 * 96 * 96
    assert plan.limit_bytes is None
    assert plan.peak is not None
    assert plan.peak.live_bytes == max(step.live_bytes for step in plan.steps) <= plan.map_bytes
    assert plan.live_bytes().keys() >= {"in", "skip", "pool", "low", "up", "mix", "out"}
    assert set(plan.live_bytes().values()) <= {step.live_bytes for step in plan.steps}
    names = {name for step in plan.steps for live in step.maps for name in live.values}
    assert {"x", "a", "cat"} <= names
    for step in plan.steps:
        for live in step.maps:
            height, width, channels = live.shape
            assert live.bytes >= 4 * (height if live.rows is None else live.rows) * width * channels


def test_a_map_is_written_over_the_one_that_it_alone_reads() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
        helper.make_node("Erf", ["c"], ["e"], "erf"),
        helper.make_node("Exp", ["e"], ["y"], "exp"),
    ]
    model = reconv.load(network(nodes, {"w": np.ones((8, 3, 1, 1), np.float32)}, [1, 3, 64, 64], ["y"]), threads=1)
    one = 4 * 64 * 64 * 8
    assert one <= model.memory_plan().map_bytes < 1.5 * one  # and the input's
    x = frame(64, 64)
    stream = model.stream()
    assert model.run(x)["y"].tobytes() == stream(x)["y"].tobytes()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("share", [0.9, 0.6, 0.4])
def test_a_limit_is_kept_and_changes_no_bit(share: float, threads: int) -> None:
    free = reconv.load(hourglass(), threads=threads)
    limit = int(share * free.memory_plan().peak_bytes)
    model = reconv.load(hourglass(), threads=threads, memory_limit_bytes=limit)
    plan = model.memory_plan()
    assert plan.peak_bytes <= limit == plan.limit_bytes
    assert plan.banded
    assert any(live.rows for step in plan.banded for live in step.maps)
    for seed in range(3):
        x = frame(96, 96, seed)
        assert model.run(x)["y"].tobytes() == free.run(x)["y"].tobytes()


def test_a_limit_that_cannot_be_kept_says_the_least() -> None:
    model = reconv.load(hourglass(), threads=1, memory_limit_bytes=1000)
    x = frame(96, 96)
    with pytest.raises(InputError, match=r"memory_limit_bytes is 1000: with x .* on 1 thread.* the least is") as raised:
        model.run(x)
    with pytest.raises(InputError, match="the least is"):
        model.memory_plan()
    least = int(re.findall(r"\d+", str(raised.value))[-1])
    expected = reconv.load(hourglass(), threads=1).run(x)["y"].tobytes()
    assert reconv.load(hourglass(), threads=1, memory_limit_bytes=least).run(x)["y"].tobytes() == expected
    with pytest.raises(InputError, match="the least is"):
        reconv.load(hourglass(), threads=1, memory_limit_bytes=least - 1).run(x)
    assert model.stream()(x)["y"].tobytes() == expected  # streams keep all maps: the limit is not theirs


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, "1 MB"])
def test_a_limit_is_a_number_of_bytes(limit: Any) -> None:
    with pytest.raises(InputError, match="memory_limit_bytes is"):
        reconv.load(cnn(), memory_limit_bytes=limit)


def test_a_limit_holds_for_every_size_and_item() -> None:
    model = reconv.load(cnn(), threads=1, memory_limit_bytes=60_000)
    free = reconv.load(cnn(), threads=1)
    for x in (frame(32, 32), frame(24, 40, batch=3)):
        assert model.run(x)["y"].tobytes() == free.run(x)["y"].tobytes()
    with pytest.raises(InputError, match=r"with x \(1, 3, 512, 512\)"):
        model.run(frame(512, 512))


def test_a_model_that_the_engine_does_not_run_has_an_empty_plan() -> None:
    node = helper.make_node("TopK", ["x", "k"], ["y", "i"], "top")
    model = reconv.load(network([node], {"k": np.array([2], np.int64)}, [1, 3, 4, 4], ["y"]), memory_limit_bytes=1)
    plan = model.memory_plan()
    assert (plan.peak_bytes, plan.steps, plan.peak, plan.banded) == (0, (), None, ())
