"""A depthwise convolution done inside the 1x1 convolution that alone reads it, against one done after the other."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from math import prod
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from reconv import _core
from tests.oracle import slow_core
from tests.property.checks import Alone, arrays, check_accounting, check_bounded, check_equal, read, snapshot, step
from tests.property.plans import ACTIVATIONS, Draft
from tests.tolerances import FLOAT32_REORDERED

Floats = NDArray[np.float32]
TEAMS = {count: _core.Threads(count) for count in (1, 2)}
CHEAP = 1024  # multiply-adds of the 1x1 convolution per pixel up to which streams absorb too


def values(seed: int, *shape: int) -> Floats:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def weights(seed: int, *shape: int) -> Floats:
    """(out, in, kh, kw), scaled so that sums are about as large as their terms."""
    return values(seed, *shape) * np.float32(1 / np.sqrt(prod(shape[1:])))


def pair(
    channels: int = 8,
    outer: int = 12,
    *,
    size: tuple[int, int] = (9, 14),
    kernel: int = 3,
    strides: tuple[int, int] = (1, 1),
    first: tuple[Any, ...] = ("silu",),
    second: tuple[Any, ...] = ("relu",),
    residual: bool = False,
    part: bool = False,
    change: Callable[[Draft, int, int], None] | None = None,
) -> tuple[Draft, int]:
    """A plan around one pair, and the map between the two.

    Args:
        part: the pair's result is written straight into a concat.
        change: what else is to be done with the maps before, between (its arguments) and behind.
    """
    d = Draft()
    image = d.map(*size, 3)
    d.input(image)
    x = d.map(*size, channels)
    d.conv(image, x, weights(1, channels, 3, 3, 3), values(2, channels), pads=(1, 1), activation=("relu",))
    height, width = ((n - 1) // s + 1 for n, s in zip(size, strides, strict=True))
    between = d.map(height, width, channels)
    slopes = ("prelu", values(3, channels)) if first[0] == "prelu" else first
    window = {"pads": (kernel // 2, kernel // 2), "strides": strides, "groups": channels}
    d.conv(x, between, weights(4, channels, 1, kernel, kernel), values(5, channels), **window, activation=slopes)
    whole = d.map(height, width, outer + 4) if part else d.map(height, width, outer)
    out = d.part_of(whole, 4, outer) if part else whole
    behind: dict[str, Any] = {"activation": second}
    if residual:
        other = d.map(height, width, outer)
        d.conv(image, other, weights(6, outer, 3, 1, 1), None, strides=strides)
        behind |= {"residual": other, "activation_after": second, "activation": ("none",)}
    d.conv(between, out, weights(7, outer, channels, 1, 1), values(8, outer), **behind)
    if part:
        left = d.part_of(whole, 0, 4)
        d.conv(image, left, weights(9, 4, 3, 1, 1), None, strides=strides)
        d.join(whole, [left, out])
    if change:
        change(d, x, between)
    last = d.map(height, width, 5)
    d.conv(whole, last, weights(10, 5, d.shapes[whole][2], 3, 3), None, pads=(1, 1))
    for x in {last, *d.readable[-3:-1]} - {between} if change else {last}:
        d.output(x)
    return d, between


def frames(d: Draft, count: int = 4) -> list[list[Floats]]:
    """Noise, patches of it moved, and in the end nearly all of it."""
    found = [[values(20 + i, *d.shapes[x]) for i, (x, _) in enumerate(d.inputs)]]
    for i in range(count):
        frame = [array.copy() for array in found[-1]]
        for array in frame:
            height, width, _ = array.shape
            patch = np.s_[:, :] if i == count - 1 else np.s_[i : i + 1 + height // 5, width // 3 : width // 3 + 2 + i]
            array[patch] += 0.2 * values(40 + i, *array[patch].shape)
        found.append(frame)
    return found


def check(d: Draft, between: int, isa: str, in_streams: bool) -> None:
    """Bit for bit the same as without, on one and two threads, dense-only and as a stream; bounded at a tolerance."""
    together, apart = d.build(isa), d.build(isa, fuse=False)
    assert together.stored(between) is not in_streams
    assert (between in together.cut_maps) is not in_streams
    assert apart.stored(between)
    assert together.op_macs() == apart.op_macs()
    dense = _core.State(apart, TEAMS[1], False, 0.0)
    states = [_core.State(together, team, only, 0.0) for team, only in product(TEAMS.values(), (False, True))]
    tolerant = _core.State(together, TEAMS[2], False, 0.1)
    alone = Alone(d, isa)
    before = None
    for frame in frames(d):
        dense.reset()
        step(d, dense, frame)
        expected = arrays(d, apart, dense)
        for state in states:
            step(d, state, frame)
            check_equal(read(d, state), read(d, dense), f"{isa} output")
        for state in states[::2]:
            held = arrays(d, together, state)
            check_equal(held, {x: expected[x] for x in held}, f"{isa} map")
        step(d, tolerant, frame)
        shot = snapshot(d, together, tolerant)
        check_bounded(d, alone, shot, frame, 0.1)
        check_accounting(d, together, shot, before)
        before = shot


ISAS = pytest.mark.parametrize("isa", _core.isas())


@ISAS
@pytest.mark.parametrize("first", ACTIVATIONS, ids=lambda spec: "-".join(map(str, spec)))
def test_every_activation_in_front(isa: str, first: tuple[Any, ...]) -> None:
    for channels, residual in ((16, False), (7, True)):
        check(*pair(channels, first=first, residual=residual), isa, True)


@ISAS
@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (1, 3)])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_channels_strides_and_kernels(isa: str, strides: tuple[int, int], kernel: int) -> None:
    for channels, outer in ((2, 1), (3, 33), (15, 17), (16, 16), (17, 31), (33, 8), (35, 15)):
        absorbed = channels * outer <= CHEAP and strides == (1, 1)
        check(*pair(channels, outer, strides=strides, kernel=kernel), isa, absorbed)


@ISAS
@pytest.mark.parametrize("residual", [False, True])
def test_into_a_part_of_a_concat(isa: str, residual: bool) -> None:
    for outer in (3, 16, 20):
        check(*pair(9, outer, part=True, residual=residual, second=("hardswish",)), isa, True)


@ISAS
def test_a_costly_reader_absorbs_in_dense_only_states(isa: str) -> None:
    for residual in (False, True):
        check(*pair(40, 48, residual=residual, second=("silu",)), isa, False)
    d, _ = pair(40, 48, change=None)
    assert d.build(isa).dense_bytes != d.build(isa, fuse=False).dense_bytes  # the memory is shared otherwise
    assert d.build(isa).state_bytes == d.build(isa, fuse=False).state_bytes


@ISAS
def test_large_enough_to_be_shared_among_threads(isa: str) -> None:
    check(*pair(17, 24, size=(48, 65), residual=True), isa, True)


def read_twice(d: Draft, x: int, between: int) -> None:
    del x
    d.op("unary", d.map(*d.shapes[between]), x=between, activation=("relu",))


def two_pointwise(d: Draft, x: int, between: int) -> None:
    del x
    shape = d.shapes[between]
    d.conv(between, d.map(*shape), weights(11, shape[2], shape[2], 1, 1), None)


def is_an_output(d: Draft, x: int, between: int) -> None:
    del x
    d.output(between)


def has_a_view(d: Draft, x: int, between: int) -> None:
    del x
    d.op("unary", d.map(*d.shapes[between][:2], 2), x=d.channels_of(between, 1, 2), activation=("relu",))


@ISAS
@pytest.mark.parametrize("change", [read_twice, two_pointwise, is_an_output, has_a_view])
def test_what_somebody_else_wants_is_kept(isa: str, change: Callable[[Draft, int, int], None]) -> None:
    d, between = pair(change=change)
    check(d, between, isa, False)
    assert d.build(isa).dense_bytes == d.build(isa, fuse=False).dense_bytes


@ISAS
def test_a_view_of_a_depthwise_result_is_not_absorbed(isa: str) -> None:
    d = Draft()
    x, deep, out = d.map(6, 7, 8), d.map(6, 7, 8), d.map(6, 7, 3)
    d.input(x)
    d.conv(x, deep, weights(1, 8, 1, 3, 3), None, pads=(1, 1), groups=8)
    some = d.channels_of(deep, 2, 4)
    d.conv(some, out, weights(2, 3, 4, 1, 1), None)
    d.output(out)
    check(d, deep, isa, False)


@ISAS
def test_a_residual_that_is_the_map_between_is_kept(isa: str) -> None:
    d = Draft()
    x, deep, out = d.map(6, 7, 8), d.map(6, 7, 8), d.map(6, 7, 8)
    d.input(x)
    d.conv(x, deep, weights(1, 8, 1, 3, 3), None, pads=(1, 1), groups=8)
    d.conv(deep, out, weights(2, 8, 8, 1, 1), None, residual=deep)
    d.output(out)
    check(d, deep, isa, False)


@ISAS
def test_a_residual_before_the_pair_and_pairs_in_a_row(isa: str) -> None:
    """As in MobileNet: a pair whose input is also its residual, and the next pair behind it."""
    d = Draft()
    x, maps = d.map(8, 9, 10), []
    d.input(x, "NHWC")
    for i in range(3):
        deep, out = d.map(8, 9, 10), d.map(8, 9, 10)
        d.conv(x, deep, weights(i, 10, 1, 3, 3), None, pads=(1, 1), groups=10, activation=("clip", 0.0, 6.0))
        d.conv(deep, out, weights(9 + i, 10, 10, 1, 1), None, residual=x, cut=i != 1)
        maps.append(deep)
        x = out
    d.output(x)
    for deep in maps:
        check(d, deep, isa, True)


def test_the_map_between_has_no_values() -> None:
    d, between = pair()
    plan = d.build("")
    state = _core.State(plan, TEAMS[1], False, 0.0)
    step(d, state, frames(d)[0])
    with pytest.raises(ValueError, match="not stored"):
        state.array(between)
    with pytest.raises(ValueError, match="not under cutoff"):
        state.deviation(between)
    assert plan.state_bytes < d.build("", fuse=False).state_bytes


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("tolerance", [0.0, 0.05])
def test_the_slow_core_absorbs_alike(tolerance: float, residual: bool) -> None:
    d, between = pair(9, 10, residual=residual, first=("gelu",))
    slow = slow_core.Plan()
    for call in d.calls:
        getattr(slow, call.method)(**call.arguments)
    slow.seal()
    fast = d.build("")
    assert not slow.stored(between)
    assert slow.cut_maps == fast.cut_maps
    states: list[Any] = [
        _core.State(fast, TEAMS[1], False, tolerance),
        slow_core.State(slow, slow_core.Threads(1), False, tolerance),
    ]
    for frame in frames(d):
        for state in states:
            step(d, state, frame)
        for x in d.produced:
            if x != between:
                FLOAT32_REORDERED.check(states[0].array(x), states[1].array(x), f"map {x}", 8.0)
                assert np.array_equal(states[0].stale(x), states[1].stale(x)), x
        for op in range(len(d.ops)):
            assert np.array_equal(states[0].todo(op), states[1].todo(op)), op
        assert states[0].recomputed_macs == states[1].recomputed_macs
