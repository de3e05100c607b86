"""Every op against numpy in float64, over all remainders of channels and widths, on every instruction set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from reconv import _core
from tests.oracle import reference
from tests.property.plans import ACTIVATIONS, Draft, from_user, resize_table, to_user, user_shape
from tests.tolerances import EXACT, FLOAT32_REORDERED

Floats = NDArray[np.float32]
Shape = tuple[int, int, int]
ISAS = _core.isas()
TEAM = _core.Threads(1)


def values(seed: int, *shape: int) -> Floats:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def run(isa: str, maps: list[Floats], shape: Shape, method: str, **arguments: Any) -> Floats:
    """The output of the plan of one op on these maps (x and residual, or a and b)."""
    draft = Draft()
    inputs = [draft.map(*x.shape) for x in maps]
    for x in inputs:
        draft.input(x, "NHWC")
    out = draft.map(*shape)
    arguments |= zip(("a", "b") if method == "binary" else ("x", "residual"), inputs, strict=False)
    if method == "conv":
        draft.conv(out=out, **arguments)
    else:
        draft.op(method, out, **arguments)
    draft.output(out, "NHWC")
    state = _core.State(draft.build(isa), TEAM, False, 0.0)
    state.step(maps)
    array = np.empty(shape, np.float32)
    state.read(0, array)
    return array


def check_conv(isa: str, x: Floats, weight: Floats, bias: Floats | None, size: tuple[int, int], **window: Any) -> None:
    shape = (*size, len(weight))
    got = run(isa, [x], shape, "conv", weight=weight, bias=bias, **window)
    expected, scale = reference.conv(x, weight, bias, size, **window)
    FLOAT32_REORDERED.check(got, expected, f"{isa} {x.shape} -> {shape}, weight {weight.shape}, {window}", scale)


@pytest.mark.parametrize("isa", ISAS)
def test_convolution_over_all_channels(isa: str) -> None:
    for n in range(1, 36):
        for inner, outer in {(n, n), (n, n * 7 % 35 + 1), (n * 11 % 35 + 1, n)}:
            size = (2, n * 5 % 14 + 1)
            check_conv(isa, values(n, *size, inner), values(outer, outer, inner, 1, 1), values(3, outer), size)
            check_conv(isa, values(n, *size, inner), values(outer, outer, inner, 3, 3), None, size, pads=(1, 1))


@pytest.mark.parametrize("isa", ISAS)
def test_convolution_over_all_widths_and_kernels(isa: str) -> None:
    for width, kernel in product(range(1, 15), (1, 2, 3, 5, 7)):
        for inner, outer in ((3, 16), (5, 33)):
            pads = (kernel // 2, kernel // 2)
            weight = values(kernel, outer, inner, kernel, kernel)
            check_conv(isa, values(width, 3, width, inner), weight, values(1, outer), (3, width), pads=pads)


@pytest.mark.parametrize("isa", ISAS)
def test_convolution_over_strides_dilations_and_pads(isa: str) -> None:
    x = values(0, 9, 13, 4)
    for stride, dilation, pad, outer in product((1, 2, 3, 5), (1, 2, 3), (-2, -1, 0, 1, 4), (8, 17)):
        for kernel in ((3, 2), (1, 4)):
            size = tuple(
                max(1, (n + 2 * pad - dilation * (k - 1) - 1) // stride + 1)
                for n, k in zip(x.shape[:2], kernel, strict=True)
            )
            window = {"strides": (stride, stride), "dilations": (dilation, dilation), "pads": (pad, pad)}
            check_conv(isa, x, values(1, outer, 4, *kernel), None, (size[0], size[1]), **window)


@pytest.mark.parametrize("isa", ISAS)
def test_convolution_in_groups(isa: str) -> None:
    for groups, inner, outer in product((2, 3, 5), (1, 2, 3, 7, 8, 16), (1, 2, 7, 8, 9, 16, 17, 33)):
        x, weight = values(groups, 3, 5, inner * groups), values(inner, outer * groups, inner, 3, 3)
        check_conv(isa, x, weight, values(9, outer * groups), (3, 5), groups=groups, pads=(1, 1))


@pytest.mark.parametrize("isa", ISAS)
def test_depthwise_convolution(isa: str) -> None:
    for channels in range(1, 36):
        width, kernel = channels * 3 % 14 + 1, (1, 2, 3, 5, 7)[channels % 5]
        window = {"groups": channels, "strides": (1, channels % 3 + 1), "pads": (kernel // 2, kernel // 2)}
        x, weight = values(channels, 4, width, channels), values(kernel, channels, 1, kernel, kernel)
        size = (4, (width + 2 * (kernel // 2) - kernel) // (channels % 3 + 1) + 1)
        check_conv(isa, x, weight, values(2, channels), size, **window)
    for width, kernel in product(range(1, 15), (1, 3, 5)):
        window = {"groups": 24, "pads": (kernel // 2, kernel // 2)}
        check_conv(isa, values(width, 2, width, 24), values(kernel, 24, 1, kernel, kernel), None, (2, width), **window)


def with_slopes(spec: tuple[Any, ...], channels: int) -> tuple[Any, ...]:
    return ("prelu", values(5, channels)) if spec[0] == "prelu" else spec


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("spec", ACTIVATIONS, ids=lambda spec: "-".join(map(str, spec)))
def test_fused_activations_and_residuals(isa: str, spec: tuple[Any, ...]) -> None:
    """activation_after(activation(conv + bias) + residual): an activation is at most 1.2 times as steep as the line."""
    for channels, kernel, groups in product((3, 16, 17, 33), (1, 3), (False, True)):
        spec = with_slopes(spec, channels)
        x, residual = values(channels, 3, 7, channels), values(8, 3, 7, channels)
        weight = values(kernel, channels, 1 if groups else channels, kernel, kernel)
        bias = values(4, channels)
        window: dict[str, Any] = {"pads": (kernel // 2, kernel // 2), "groups": channels if groups else 1}
        straight, scale = reference.conv(x, weight, bias, (3, 7), **window)
        first = reference.activation(straight, spec)
        got = run(isa, [x], x.shape, "conv", weight=weight, bias=bias, **window, activation=spec)
        FLOAT32_REORDERED.check(got, first, f"{isa} conv {spec[0]}, {channels} channels", 2 * scale + 1)
        fused = {**window, "activation": spec, "activation_after": spec}
        got = run(isa, [x, residual], x.shape, "conv", weight=weight, bias=bias, **fused)
        after = reference.activation(first + residual, spec)
        FLOAT32_REORDERED.check(
            got, after, f"{isa} {spec[0]} twice, {channels} channels", 2 * (scale + abs(residual)) + 1
        )


SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-45, 1.2e-38, -1.2e-38, 3e38, -3e38], np.float32)
# where the approximation's product has no limit: 0 times infinity
FUNCTIONS = (("exp",), ("log",), ("sqrt",))  # not among the activations of random plans: they leave the finite too soon
NO_LIMIT = {"silu", "hardswish", "gelu", "gelu_tanh", "mish"}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("spec", [*ACTIVATIONS, *FUNCTIONS], ids=lambda spec: "-".join(map(str, spec)))
def test_activations_over_all_of_float32(isa: str, spec: tuple[Any, ...]) -> None:
    wide = np.logspace(-44, 38, 3001)
    x = np.concatenate([np.linspace(-20, 20, 6001), np.linspace(-120, 120, 1001), wide, -wide, SPECIAL])
    x = x.astype(np.float32).reshape(1, -1, 1)
    spec = with_slopes(spec, 1)
    got = run(isa, [x], x.shape, "unary", activation=spec)
    expected = reference.activation(x, spec)
    compared = np.ones(x.shape, bool)
    if spec[0] in NO_LIMIT:
        compared &= x != -np.inf
    if spec[0] == "silu":  # a sigmoid is never below 2^-126, so the product leaves zero again at the end of the range
        compared &= ~(x < -1e30)
    scale = np.where(np.isfinite(x), np.minimum(np.abs(x.astype(np.float64)), 1e4), 0)
    scale = np.maximum(scale, 1) if spec[0] in ("hardsigmoid", "erf", "tanh") else scale
    FLOAT32_REORDERED.check(got[compared], expected[compared], f"{isa} {spec[0]}", scale[compared])
    if spec[0] in ("none", "relu", "clip", "leaky", "prelu"):
        single = expected.astype(np.float32)
        EXACT.check(got, single, f"{isa} {spec[0]}")


@pytest.mark.parametrize("isa", ISAS)
def test_a_remainder_of_channels_takes_the_same_activation(isa: str) -> None:
    """A value gives the same bits in every lane and in the last part of a pixel."""
    for spec, channels in product((*ACTIVATIONS, *FUNCTIONS), (1, 4, 7, 8, 9, 15, 16, 17, 33)):
        if spec[0] == "prelu":
            continue
        column = np.abs(values(3, 1, 6, 1)) if spec in FUNCTIONS else values(3, 1, 6, 1)
        x = np.repeat(column, channels, axis=2)
        got = run(isa, [x], x.shape, "unary", activation=spec)
        alone = run(isa, [column], column.shape, "unary", activation=spec)
        EXACT.check(got, np.repeat(alone, channels, axis=2), f"{isa} {spec[0]}, {channels} channels")


@pytest.mark.parametrize("isa", ISAS)
def test_pools(isa: str) -> None:
    for channels, width in [(c, c % 14 + 1) for c in range(1, 36)]:
        x = values(channels, 5, width, channels)
        kernel = (channels % 3 + 1, channels % 5 + 1)
        strides, dilations = (1 + channels % 2, 1 + channels % 3), (1, 1 + channels % 2)
        pads = (kernel[0] // 2, kernel[1] // 2)
        size = tuple(-(-n // s) for n, s in zip(x.shape[:2], strides, strict=True))
        size = tuple(  # without windows that lie beside the map
            int((reference.windows(n, m, *axis) >= 0).any(axis=1).sum())
            for n, m, *axis in zip(x.shape[:2], size, kernel, strides, pads, dilations, strict=True)
        )
        shape = (size[0], size[1], channels)
        window = {"strides": strides, "pads": pads, "dilations": dilations}
        got = run(isa, [x], shape, "max_pool", kernel=kernel, **window)
        highest = reference.pool(x, shape[:2], kernel, lambda v, _y, _x: v.max(axis=0), **window)
        EXACT.check(got, highest, f"{isa} max pool {x.shape} {kernel} {window}")
        for count_pads in (False, True):
            ends = (channels % 2, channels % 3)

            axes_of_pads = (x.shape[:2], kernel, strides, pads, dilations, ends) if count_pads else None

            def mean(v: Any, y: int, column: int, axes_of_pads: Any = axes_of_pads) -> Any:
                if axes_of_pads is None:
                    return v.mean(axis=0)
                axes = zip((y, column), *axes_of_pads, strict=True)  # taps inside the padded map, down and across
                taps = [sum(-p <= at * s - p + k * q < n + e for k in range(m)) for at, n, m, s, p, q, e in axes]
                return v.sum(axis=0) / np.prod(taps)

            arguments = {**window, "kernel": kernel, "pads_end": ends, "count_include_pad": count_pads}
            got = run(isa, [x], shape, "average_pool", **arguments)
            FLOAT32_REORDERED.check(
                got, reference.pool(x, shape[:2], kernel, mean, **window), f"{isa} average {arguments}", 3.0
            )


@pytest.mark.parametrize("isa", ISAS)
def test_global_pools_softmax_and_affine(isa: str) -> None:
    for channels in range(1, 36):
        x = values(channels, 3, channels % 14 + 1, channels)
        exact = x.astype(np.float64)
        for kind, expected in (("avg", exact.mean((0, 1))), ("sum", exact.sum((0, 1))), ("max", exact.max((0, 1)))):
            got = run(isa, [x], (1, 1, channels), "global_pool", kind=kind, cut=True)
            FLOAT32_REORDERED.check(got[0, 0], expected, f"{isa} {kind}", np.abs(exact).sum((0, 1)))
        got = run(isa, [x * 9], x.shape, "softmax")
        FLOAT32_REORDERED.check(got, reference.softmax(x * 9), f"{isa} softmax of {channels}", 1.0)
        scale, shift = values(7, 2, channels)
        affine = {"scale": scale, "shift": shift, "activation": ("none",)}
        got = run(isa, [x], x.shape, "affine", **affine)
        FLOAT32_REORDERED.check(got, exact * scale + shift, f"{isa} affine", np.abs(exact * scale) + np.abs(shift))


ARITHMETIC: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "min": np.minimum,
    "max": np.maximum,
    "pow": np.power,
}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kind", ARITHMETIC)
def test_arithmetic_with_all_broadcasts(isa: str, kind: str) -> None:
    for channels in (1, 3, 8, 17, 35):
        shape = (3, 5, channels)
        a, none = np.abs(values(channels, *shape)) + np.float32(0.1), ("none",)
        for ones in product((False, True), repeat=3):
            small = [1 if one else n for one, n in zip(ones, shape, strict=True)]
            b = values(2, *small)
            formula = ARITHMETIC[kind]
            for first, second in ((a, b), (np.abs(b), a)):
                expected = formula(first.astype(np.float64), second.astype(np.float64))
                got = run(isa, [first, second], shape, "binary", kind=kind, activation=none)
                FLOAT32_REORDERED.check(got, expected, f"{isa} {kind} {first.shape} {second.shape}")
            for constant_first in (False, True):
                pair = (np.abs(b), a) if constant_first else (a, b)
                expected = formula(pair[0].astype(np.float64), pair[1].astype(np.float64))
                arguments: dict[str, Any] = {"kind": kind, "activation": none, "constant_first": constant_first}
                arguments["constant"] = pair[0] if constant_first else b
                got = run(isa, [a], shape, "binary_constant", **arguments)
                FLOAT32_REORDERED.check(got, expected, f"{isa} {kind} constant {small}, first: {constant_first}")


@pytest.mark.parametrize("isa", ISAS)
def test_moves(isa: str) -> None:
    for channels in range(1, 36):
        x = values(channels, 4, channels % 14 + 1, channels)
        height, width, _ = x.shape
        for linear, (rows, columns) in product((False, True), ((8, 2 * width), (3, max(1, width - 1)))):
            (y0, y1, wy), (x0, x1, wx) = resize_table(height, rows, linear), resize_table(width, columns, linear)
            table = {"y0": y0, "y1": y1, "wy": wy, "x0": x0, "x1": x1, "wx": wx}
            got = run(isa, [x], (rows, columns, channels), "resize", **table)
            down, right = wy[:, None, None].astype(np.float64), wx[:, None].astype(np.float64)
            top = x[y0][:, x0] * (1 - right) + x[y0][:, x1] * right
            bottom = x[y1][:, x0] * (1 - right) + x[y1][:, x1] * right
            FLOAT32_REORDERED.check(got, top * (1 - down) + bottom * down, f"{isa} resize {x.shape}", 8.0)
            if not linear:
                EXACT.check(got, x[y0][:, x0], f"{isa} nearest {x.shape}")
        index = np.random.default_rng(channels).integers(-1, x.size, (3, 6, channels)).astype(np.int32)
        got = run(isa, [x], index.shape, "gather", index=index, fill=0.5)
        EXACT.check(got, np.where(index < 0, np.float32(0.5), x.ravel()[index]), f"{isa} gather")
        flat = (1, height * width, channels)
        got = run(isa, [x], flat, "copy")
        EXACT.check(got, x.reshape(flat), f"{isa} copy")


def regular_moves() -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Moves that repeat block by block, over maps (6, 10, 12) of numbers of elements, and near misses."""
    numbers = np.arange(6 * 10 * 12).reshape(6, 10, 12)
    for a, b in ((1, 2), (2, 1), (2, 2), (3, 2), (1, 12)):
        c = 12 // (a * b)
        yield f"DCR {a}x{b}", numbers.reshape(6, 10, a, b, c).transpose(0, 2, 1, 3, 4).reshape(6 * a, -1, c)
        yield (
            f"columns to space {a}x{b}",
            numbers.reshape(6, 10, c, a, b).transpose(0, 3, 1, 4, 2).reshape(6 * a, -1, c),
        )
    shuffled = numbers.reshape(6, 10, 12 // 2, 2, 1).transpose(0, 3, 1, 2, 4).reshape(12, 10, 6)
    yield "depth to rows", shuffled
    yield "cut off", shuffled[:-1, 1:-1]
    for g in (2, 3, 12):
        yield f"channels in {g} groups", numbers.reshape(6, 10, g, 12 // g).swapaxes(2, 3).reshape(6, 10, 12)
    deep = numbers.reshape(3, 2, 5, 2, 12).transpose(0, 2, 1, 3, 4).reshape(3, 5, 48)
    yield "space to depth", deep
    yield "space to depth, one pixel", deep[:1, :1]
    yield "strided", numbers[1::2, 2::3]
    yield "strided, some channels", numbers[::5, ::4, 3:10:2]
    yield "twice as large", numbers.repeat(2, 0).repeat(3, 1)
    yield "upside down", numbers[::-1]
    yield "mirrored", numbers[:, ::-1]
    yield "channels from the last", numbers[:, :, ::-1]
    yield "one value", np.full((3, 4, 5), 77)
    yield "over the end of a row", numbers.reshape(1, 60, 12)[:, 5:33].reshape(4, 7, 12)
    off = numbers.copy()
    off[-1, -1, -1] -= 1
    yield "all but one", off


@pytest.mark.parametrize("isa", ISAS)
def test_moves_of_whole_blocks(isa: str) -> None:
    """Values, and which pixels are stale after some pixels of the input moved."""
    x = values(1, 6, 10, 12)
    random = np.random.default_rng(7)
    for name, index in regular_moves():
        draft = Draft()
        source, out = draft.map(*x.shape), draft.map(*index.shape)
        draft.input(source, "NHWC")
        draft.op("gather", out, x=source, index=np.ascontiguousarray(index, np.int32), fill=0.5)
        draft.output(out, "NHWC")
        state = _core.State(draft.build(isa), TEAM, False, 0.0)
        state.step([x])
        EXACT.check(state.array(out), x.ravel()[index], f"{isa} {name}")
        frame = x
        for share in (0.02, 0.2, 0.7):
            moved = random.random((6, 10)) < share
            frame = np.where(moved[:, :, None], frame + 1, frame)
            state.step([frame])
            EXACT.check(state.array(out), frame.ravel()[index], f"{isa} {name}, {share}")
            assert np.array_equal(state.stale(out), moved.ravel()[index // 12].any(2)), name


@pytest.mark.parametrize("isa", ISAS)
def test_frames_come_in_and_go_out_in_any_layout(isa: str) -> None:
    for channels, (here, there) in product(range(1, 36), product(("NCHW", "NHWC"), repeat=2)):
        x = values(channels, 3, (channels * 5) % 70 + 1, channels)
        draft = Draft()
        draft.input(draft.map(*x.shape), here)
        draft.output(0, there)
        for dense_only in (False, True):
            state = _core.State(draft.build(isa), TEAM, dense_only, 0.0)
            state.step([to_user(x, here)])
            out = np.empty(user_shape(x.shape, there), np.float32)
            state.read(0, out)
            EXACT.check(from_user(out, there), x, f"{isa} {here} -> {there}")


def test_the_tolerances_can_fail() -> None:
    x = values(1, 4, 4)
    EXACT.check(x, x, "itself")
    FLOAT32_REORDERED.check(x, x * np.float64(1 + 1e-7), "rounded")
    for tolerance, wrong in ((EXACT, np.nextafter(x, np.float32(9))), (FLOAT32_REORDERED, x * np.float32(1 + 1e-5))):
        with pytest.raises(AssertionError, match="16 of 16 values differ"):
            tolerance.check(wrong, x, "shifted")
    for odd in (np.nan, np.inf, -np.inf):
        holed = x.copy()
        holed[1, 2] = odd
        FLOAT32_REORDERED.check(holed, holed, "itself")
        for got, expected in ((holed, x), (x, holed)):
            with pytest.raises(AssertionError, match=r"1 of 16 values differ, first at \(.*1.*2.*\)"):
                FLOAT32_REORDERED.check(got, expected, "holed")
    with pytest.raises(AssertionError, match="shape"):
        EXACT.check(x, x[:2], "cut")
