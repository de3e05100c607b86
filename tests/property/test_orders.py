"""Every loop order gives the same bits: dense runs and streams, on 1, 2 and 3 threads, on every instruction set.

The networks are small maps under many weights, heavy enough to be shared among threads, which the random plans of the
other tests seldom are.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconv import _core
from reconv.engine.quickest import CANDIDATES
from tests.property.checks import arrays, check_equal, read, step
from tests.property.frames import Edit, edits, make_edits, sequence
from tests.property.plans import Choices, Draft, activation, drafts
from tests.property.profiles import examples

TEAMS = {count: _core.Threads(count) for count in (1, 2, 3)}
ODD = (("pixels", 1, 1), ("pixels", 3, 700), ("channels", 1, 1), ("channels", 2, 3000), ("channels", 64, 12288))
ORDERS = [*((order.outside, order.blocks, order.part) for order in CANDIDATES), *ODD]
SIZES = ((1, 1), (1, 2), (2, 3), (3, 7), (5, 5), (7, 7), (1, 60), (9, 12), (13, 11))
SHARED = 60_000 * 8  # multiply-adds from which the core shares a convolution among threads


def heavy_draft(choices: Choices) -> Draft:
    """One to three convolutions over a small map, each above `SHARED` where its kernel can bring it there."""
    d = Draft()
    size = choices.pick(SIZES)
    x = d.map(size[0], size[1], choices.pick((24, 33, 48, 64, 96, 130)))
    d.input(x, "NHWC")
    for _ in range(choices.whole(1, 3)):
        x = _add_conv(choices, d, x)
    d.output(x, "NHWC")
    return d


def _add_conv(choices: Choices, d: Draft, x: int) -> int:
    height, width, inner = d.shapes[x]
    random = choices.random()
    kernel = choices.pick(((1, 1), (3, 3), (3, 3), (1, 5)))
    groups = choices.pick((1, 1, *(g for g in (2, 3) if inner % g == 0)))
    pixels = height * width * kernel[0] * kernel[1] * inner // groups
    outputs = max(-(-SHARED // pixels), choices.pick((16, 31, 48, 65, 96)))
    outputs += -outputs % groups
    out = d.map(height, width, outputs)
    weight = random.standard_normal((outputs, inner // groups, *kernel)).astype(np.float32)
    weight *= np.float32(1.3 / np.sqrt(weight[0].size))
    bias = random.standard_normal(outputs).astype(np.float32) if choices.coin() else None
    arguments = {"pads": (kernel[0] // 2, kernel[1] // 2), "groups": groups, "cut": choices.whole(0, 5) > 0}
    arguments["activation"] = activation(choices, outputs)
    twins = [y for y in d.readable if d.shapes[y] == d.shapes[out]]
    if twins and choices.coin():
        arguments |= {"residual": choices.pick(twins), "activation_after": activation(choices, outputs)}
    d.conv(x, out, weight, bias, **arguments)
    if not choices.whole(0, 2):  # the next one may take a depthwise one over
        between = d.map(height, width, outputs)
        filters = random.standard_normal((outputs, 1, 3, 3)).astype(np.float32)
        d.conv(out, between, filters * np.float32(0.4), None, pads=(1, 1), groups=outputs)
        d.readable.remove(between)
        d.private.append(between)
        return between
    return out


def ordered(plan: _core.Plan) -> list[int]:
    """The ops that have an order."""
    return [op for op in range(len(plan.op_macs())) if plan.order(op) is not None]


def settings(plan: _core.Plan, seed: int) -> Iterator[str]:
    """Sets one order after the other for all ops, and a mixture; yields what is set."""
    random = np.random.default_rng(seed)
    for order in ORDERS:
        for op in ordered(plan):
            plan.set_order(op, *order)
            assert plan.order(op) == order
        yield str(order)
    for op in ordered(plan):
        plan.set_order(op, *ORDERS[random.integers(len(ORDERS))])
    yield "a mixture of orders"


def run_orders(draft: Draft, changes: list[Edit], isa: str, seed: int) -> None:
    """Steps states of every order through a sequence beside one of the default order on one thread."""
    plan, default = draft.build(isa), draft.build(isa, fuse=False)
    frames = sequence(draft, changes)
    stream = _core.State(default, TEAMS[1], False, 0.0)
    maps, outputs = [], []
    for frame in frames:
        step(draft, stream, frame)
        maps.append({x: array for x, array in arrays(draft, default, stream).items() if plan.stored(x)})
        outputs.append(read(draft, stream))
    for number, what in enumerate(settings(plan, seed)):
        count = (2, 1, 3)[number % 3]
        state, dense = (_core.State(plan, TEAMS[count], dense_only, 0.0) for dense_only in (False, True))
        for i, frame in enumerate(frames):
            step(draft, state, frame)
            check_equal(arrays(draft, plan, state), maps[i], f"{isa}, {count} threads, {what}: map")
            check_equal(read(draft, state), outputs[i], f"{isa}, {count} threads, {what}: output")
            step(draft, dense, frame)
            check_equal(read(draft, dense), outputs[i], f"{isa}, {count} threads, {what}: dense output")


@pytest.mark.parametrize("isa", _core.isas())
@examples(25)
@given(seed=st.integers(0, 2**32 - 1))
def test_heavy_layers_in_every_order(isa: str, seed: int) -> None:
    run_orders(heavy_draft(Choices(seed)), make_edits(seed, 3), isa, seed)


@pytest.mark.parametrize("isa", _core.isas())
@examples(25)
@given(draft=drafts(), changes=edits(4))
def test_any_network_in_every_order(isa: str, draft: Draft, changes: list[Edit]) -> None:
    run_orders(draft, changes, isa, 0)


def test_the_heavy_layers_are_heavy() -> None:
    for seed in range(20):
        draft = heavy_draft(Choices(seed))
        plan = draft.build("")
        assert max(plan.op_macs()) >= SHARED
        assert ordered(plan)
