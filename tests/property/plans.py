"""Random plans built directly on the native core, and a description of each that can be built again elsewhere.

A `Draft` records the calls that make a plan: ids are handed out in the order of the calls, so that the same description
gives the same ids on every instruction set (`build`), and one op of it can be built alone (`build_one`) to ask what it
makes of given inputs. `drafts()` is the hypothesis strategy, `make_draft(Choices(seed))` its cousin that repeats itself
less and does not shrink.

What a convolution reads beyond its map is zero whatever its output's size, so nearly any op can be asked to produce a
map of any shape; `_fill` uses this to produce maps whole or in parts (concat), phases (transposed convolution) and runs
of pixels (flattened heads), nested at will.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from reconv import _core

Shape = tuple[int, int, int]
Pair = tuple[int, int]
Floats = NDArray[np.float32]
Draw = Callable[[st.SearchStrategy[Any]], Any]

CHANNELS = (1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 24, 31, 32, 33, 35)
SIZES = (
    *((1, 1), (1, 5), (1, 63), (1, 64), (1, 65), (1, 130), (2, 3), (5, 4), (6, 7), (9, 12), (12, 9)),
    *((3, 63), (4, 64), (3, 65), (5, 127), (7, 129)),
)
MOST_VALUES = 24_000  # of one map
MAP_ARGUMENTS = ("x", "a", "b", "residual")


@dataclass(frozen=True)
class Call:
    """One call of a method of `_core.Plan`; map ids among the arguments are those of the draft."""

    method: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class OpDraft:
    call: Call
    inputs: tuple[int, ...]
    out: int
    cut: bool = False
    macs_per_pixel: int = 0


@dataclass(frozen=True)
class View:
    kind: str  # "channels", "part", "phase" or "pixels"
    parent: int
    first: int = 0
    strides: Pair = (1, 1)
    phase: Pair = (0, 0)


@dataclass
class Draft:
    """The calls that make a plan and what is known of its maps. Layouts: "NCHW" or "NHWC" of the user's arrays."""

    calls: list[Call] = field(default_factory=list)
    shapes: list[Shape] = field(default_factory=list)
    views: dict[int, View] = field(default_factory=dict)
    ops: list[OpDraft] = field(default_factory=list)
    inputs: list[tuple[int, str]] = field(default_factory=list)
    outputs: list[tuple[int, str]] = field(default_factory=list)
    readable: list[int] = field(default_factory=list)  # produced maps, in order
    private: list[int] = field(default_factory=list)  # produced maps that no further op may read
    flattened: set[int] = field(default_factory=set)  # roots that have a pixels_of view

    # --- making

    def _view(self, shape: Shape, view: View, method: str, **arguments: Any) -> int:
        self.calls.append(Call(method, {"parent": view.parent, **arguments}))
        self.shapes.append(shape)
        self.views[len(self.shapes) - 1] = view
        return len(self.shapes) - 1

    def map(self, height: int, width: int, channels: int) -> int:
        self.calls.append(Call("map", {"height": height, "width": width, "channels": channels}))
        self.shapes.append((height, width, channels))
        return len(self.shapes) - 1

    def channels_of(self, parent: int, first: int, count: int) -> int:
        h, w, _ = self.shapes[parent]
        x = self._view((h, w, count), View("channels", parent, first), "channels_of", first=first, count=count)
        self.readable.append(x)
        return x

    def part_of(self, parent: int, first: int, count: int) -> int:
        h, w, _ = self.shapes[parent]
        return self._view((h, w, count), View("part", parent, first), "part_of", first=first, count=count)

    def phase_of(self, parent: int, strides: Pair, phase: Pair) -> int:
        h, w, c = self.shapes[parent]
        shape = (-(-(h - phase[0]) // strides[0]), -(-(w - phase[1]) // strides[1]), c)
        view = View("phase", parent, strides=strides, phase=phase)
        return self._view(shape, view, "phase_of", strides=strides, phase=phase)

    def pixels_of(self, parent: int, first: int, height: int, width: int) -> int:
        self.flattened.add(self.root(parent))
        shape = (height, width, self.shapes[parent][2])
        view = View("pixels", parent, first)
        return self._view(shape, view, "pixels_of", first=first, height=height, width=width)

    def op(self, method: str, out: int, **arguments: Any) -> int:
        inputs = tuple(arguments[k] for k in MAP_ARGUMENTS if arguments.get(k, -1) >= 0)
        call = Call(method, {**arguments, "out": out})
        self.calls.append(call)
        self.ops.append(OpDraft(call, inputs, out, arguments.get("cut", False)))
        self.readable.append(out)
        return len(self.ops) - 1

    def conv(self, x: int, out: int, weight: Floats, bias: Floats | None, **arguments: Any) -> int:
        arguments = {"strides": (1, 1), "pads": (0, 0), "dilations": (1, 1), "groups": 1, **arguments}
        arguments.setdefault("activation", ("none",))
        cut = arguments.get("cut", True)
        call = Call("conv", {"x": x, "out": out, "weight": weight, "bias": bias, **arguments})
        inputs = tuple(call.arguments[k] for k in MAP_ARGUMENTS if call.arguments.get(k, -1) >= 0)
        self.calls.append(call)
        self.ops.append(OpDraft(call, inputs, out, cut, weight.size))
        self.readable.append(out)
        return len(self.ops) - 1

    def join(self, parent: int, parts: list[int]) -> int:
        call = Call("join", {"parent": parent, "parts": parts})
        self.calls.append(call)
        self.ops.append(OpDraft(call, tuple(parts), parent))
        self.readable.append(parent)
        return len(self.ops) - 1

    def input(self, x: int, layout: str = "NCHW") -> None:
        self.calls.append(Call("input", {"x": x, "strides": strides_of(layout, self.shapes[x])}))
        self.inputs.append((x, layout))
        self.readable.append(x)

    def output(self, x: int, layout: str = "NCHW") -> None:
        self.calls.append(Call("output", {"x": x, "strides": strides_of(layout, self.shapes[x])}))
        self.outputs.append((x, layout))

    # --- asking

    @property
    def produced(self) -> list[int]:
        return sorted([*self.readable, *self.private])

    def root(self, x: int) -> int:
        while x in self.views:
            x = self.views[x].parent
        return x

    def takes_padding(self, x: int) -> bool:
        """Whether windows may reach over the border of map x."""
        if self.root(x) in self.flattened:
            return False
        while x in self.views:
            if self.views[x].kind in ("phase", "pixels"):
                return False
            x = self.views[x].parent
        return True

    def build(self, isa: str, fuse: bool = True) -> _core.Plan:
        plan = _core.Plan(isa, fuse)
        for call in self.calls:
            getattr(plan, call.method)(**call.arguments)
        plan.seal()
        return plan

    def build_one(self, index: int, isa: str) -> _core.Plan:
        """Op `index` alone: one input per map that it reads (in the op's order), one output, all (H, W, C)."""
        op = self.ops[index]
        plan = _core.Plan(isa)
        ids = {x: plan.map(*self.shapes[x]) for x in dict.fromkeys((*op.inputs, op.out))}
        for x in dict.fromkeys(op.inputs):
            plan.input(ids[x], strides_of("NHWC", self.shapes[x]))
        arguments = dict(op.call.arguments)
        for name in (*MAP_ARGUMENTS, "out"):
            if arguments.get(name, -1) >= 0:
                arguments[name] = ids[arguments[name]]
        getattr(plan, op.call.method)(**arguments)
        plan.output(ids[op.out], strides_of("NHWC", self.shapes[op.out]))
        plan.seal()
        return plan

    def __repr__(self) -> str:
        def short(value: Any) -> str:
            return f"<{value.dtype} {value.shape}>" if isinstance(value, np.ndarray) else repr(value)

        lines = (f"{c.method}({', '.join(f'{k}={short(v)}' for k, v in c.arguments.items())})" for c in self.calls)
        return "Draft(\n  " + "\n  ".join(lines) + "\n)"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # hypothesis would print the fields
        printer.text(repr(self))


def strides_of(layout: str, shape: Shape) -> tuple[int, int, int]:
    """Element strides of (y, x, channel) in a C-contiguous array of a map of this shape."""
    height, width, channels = shape
    return (width, 1, height * width) if layout == "NCHW" else (width * channels, channels, 1)


def to_user(frame: Floats, layout: str) -> Floats:
    """A map's values (H, W, C) as the array that a user of this layout passes."""
    return np.ascontiguousarray(frame.transpose(2, 0, 1) if layout == "NCHW" else frame)


def from_user(array: Floats, layout: str) -> Floats:
    return np.ascontiguousarray(array.transpose(1, 2, 0)) if layout == "NCHW" else array


def user_shape(shape: Shape, layout: str) -> Shape:
    return (shape[2], shape[0], shape[1]) if layout == "NCHW" else shape


# --- strategies


class Choices:
    """Where a draft's choices come from: hypothesis (shrinks what fails) or a seed (repeats itself less)."""

    def __init__(self, source: Draw | int) -> None:
        self._draw = None if isinstance(source, int) else source
        self._random = np.random.default_rng(source if isinstance(source, int) else 0)

    def pick(self, values: Iterable[Any]) -> Any:
        values = list(values)
        return values[self.whole(0, len(values) - 1)]

    def whole(self, low: int, high: int) -> int:
        return int(self._draw(st.integers(low, high)) if self._draw else self._random.integers(low, high + 1))

    def coin(self) -> bool:
        return bool(self.whole(0, 1))

    def random(self) -> np.random.Generator:
        return np.random.default_rng(self.whole(0, 2**16))


ACTIVATIONS: tuple[tuple[Any, ...], ...] = (
    *(("none",), ("relu",), ("silu",), ("clip", -0.5, 0.75), ("clip", 0.0, 6.0), ("leaky", 0.1), ("prelu",)),
    *(("sigmoid",), ("tanh",), ("hardsigmoid", 0.2, 0.5), ("hardswish",), ("gelu",), ("gelu_tanh",), ("erf",)),
    *(("elu", 0.8), ("softplus",), ("mish",)),
)


def activation(choices: Choices, channels: int) -> tuple[Any, ...]:
    chosen: tuple[Any, ...] = choices.pick(ACTIVATIONS)
    if chosen[0] == "prelu":
        return ("prelu", choices.random().uniform(-0.5, 0.5, channels).astype(np.float32))
    return chosen


def _divisors(n: int, m: int) -> list[int]:
    return [g for g in range(2, min(n, m) + 1) if n % g == 0 and m % g == 0]


def _produce_conv(choices: Choices, d: Draft, out: int) -> bool:
    height, width, channels = d.shapes[out]
    sources = [x for x in d.readable if d.takes_padding(x)]
    kernel = (choices.whole(1, min(3, height + 1)), choices.pick((1, 2, 3, 5)))
    strides = (choices.pick((1, 1, 1, 2, 3)), choices.pick((1, 1, 1, 2, 3, 4)))
    dilations = (choices.pick((1, 1, 2)), choices.pick((1, 1, 2, 3)))
    pads = (choices.whole(-1, 2), choices.whole(-2, 3))
    scattered = [x for x in d.readable if d.shapes[x][0] >= height and d.shapes[x][1] >= width]
    if not sources or (scattered and choices.whole(0, 3) == 0):
        sources, kernel, strides, pads = scattered, (1, 1), (1, 1), (0, 0)
    if not sources:
        return False
    x = choices.pick(sources)
    inner = d.shapes[x][2]
    groups = 1
    if inner == channels > 1 and choices.coin():
        groups = channels
    elif (shared := _divisors(inner, channels)) and choices.whole(0, 2) == 0:
        groups = choices.pick(shared)
    random = choices.random()
    fan_in = inner // groups * kernel[0] * kernel[1]
    weight = (random.standard_normal((channels, inner // groups, *kernel)) * 1.3 / np.sqrt(fan_in)).astype(np.float32)
    bias = random.standard_normal(channels).astype(np.float32) * np.float32(0.3) if choices.coin() else None
    arguments: dict[str, Any] = {"strides": strides, "pads": pads, "dilations": dilations, "groups": groups}
    arguments["activation"] = activation(choices, channels)
    twins = [y for y in d.readable if d.shapes[y] == d.shapes[out]]
    if twins and choices.coin():
        arguments |= {"residual": choices.pick(twins), "activation_after": activation(choices, channels)}
    if choices.whole(0, 7) == 0:
        arguments["cut"] = False
    d.conv(x, out, weight, bias, **arguments)
    return True


def _produce_pair(choices: Choices, d: Draft, out: int) -> bool:
    """A depthwise convolution into a 1x1 convolution, mostly its only reader, which then does both."""
    height, width, channels = d.shapes[out]
    fits = [x for x in d.readable if d.shapes[x][2] > 1 and height * width * d.shapes[x][2] <= MOST_VALUES]
    sources = [x for x in fits if d.takes_padding(x)]
    if not sources:
        return False
    x = choices.pick(sources)
    inner = d.shapes[x][2]
    random = choices.random()
    kernel = choices.pick(((3, 3), (3, 3), (1, 1), (5, 5), (2, 3)))
    between = d.map(height, width, inner)
    arguments: dict[str, Any] = {"strides": (choices.pick((1, 1, 2)), choices.pick((1, 1, 2, 3))), "groups": inner}
    arguments |= {"pads": (choices.whole(0, 2), choices.whole(0, 2)), "activation": activation(choices, inner)}
    weight = (random.standard_normal((inner, 1, *kernel)) * 1.3 / np.sqrt(prod(kernel))).astype(np.float32)
    bias = random.standard_normal(inner).astype(np.float32) * np.float32(0.3) if choices.coin() else None
    d.conv(x, between, weight, bias, **arguments, cut=choices.whole(0, 7) > 0)
    weight = (random.standard_normal((channels, inner, 1, 1)) * 1.3 / np.sqrt(inner)).astype(np.float32)
    arguments = {"activation": activation(choices, channels), "cut": choices.whole(0, 7) > 0}
    twins = [y for y in d.readable if d.shapes[y] == d.shapes[out]]
    if twins and choices.whole(0, 2) == 0:
        arguments |= {"residual": choices.pick(twins), "activation_after": activation(choices, channels)}
    d.conv(between, out, weight, None, **arguments)
    if choices.whole(0, 3):
        d.readable.remove(between)
        d.private.append(between)
    return True


def _touches(axis: tuple[int, int, int, int, int, int]) -> bool:
    """Whether every window along one axis has a tap inside the map."""
    out, size, kernel, stride, pad, dilation = axis
    return all(any(0 <= o * stride - pad + k * dilation < size for k in range(kernel)) for o in range(out))


def _produce_pool(choices: Choices, d: Draft, out: int) -> bool:
    height, width, channels = d.shapes[out]
    sources = [x for x in d.readable if d.shapes[x][2] == channels]
    if not sources:
        return False
    x = choices.pick(sources)
    in_height, in_width, _ = d.shapes[x]
    if (height, width) == (1, 1) and choices.coin():
        d.op("global_pool", out, x=x, kind=choices.pick(("avg", "max", "sum")), cut=choices.coin())
        return True
    kernel = (choices.whole(1, 3), choices.whole(1, 5))
    strides = (max(1, in_height // height), max(1, in_width // width))
    dilations = (1, 1)
    if choices.coin():
        dilations = (choices.whole(1, 2), choices.whole(1, 2))
    pads = (choices.whole(0, kernel[0] - 1), choices.whole(0, kernel[1] - 1))
    sizes = zip((height, width), (in_height, in_width), kernel, strides, pads, dilations, strict=True)
    if not all(_touches(axis) for axis in sizes):
        return False
    window = {"x": x, "kernel": kernel, "strides": strides, "pads": pads, "dilations": dilations, "cut": choices.coin()}
    if choices.coin():
        d.op("max_pool", out, **window)
    else:
        d.op("average_pool", out, **window, pads_end=pads, count_include_pad=choices.coin())
    return True


def _produce_same(choices: Choices, d: Draft, out: int) -> bool:
    shape = d.shapes[out]
    sources = [x for x in d.readable if d.shapes[x] == shape]
    if not sources:
        return False
    x = choices.pick(sources)
    kind = choices.pick(("unary", "affine", "softmax"))
    if kind == "unary":
        d.op("unary", out, x=x, activation=activation(choices, shape[2]))
    elif kind == "softmax":
        d.op("softmax", out, x=x)
    else:
        scale, shift = choices.random().standard_normal((2, shape[2])).astype(np.float32)
        d.op("affine", out, x=x, scale=scale, shift=shift, activation=activation(choices, shape[2]))
    return True


def _produce_copy(choices: Choices, d: Draft, out: int) -> bool:
    height, width, channels = d.shapes[out]
    sources = [x for x in d.readable if prod(d.shapes[x][:2]) == height * width and d.shapes[x][2] == channels]
    if sources:
        d.op("copy", out, x=choices.pick(sources))
    return bool(sources)


def _produce_binary(choices: Choices, d: Draft, out: int) -> bool:
    shape = d.shapes[out]
    sources = [x for x in d.readable if all(n in (1, m) for n, m in zip(d.shapes[x], shape, strict=True))]
    full = [x for x in sources if d.shapes[x] == shape] or sources
    if not full:
        return False
    a = choices.pick(full)
    kind = choices.pick(("add", "sub", "mul", "div", "min", "max", "add", "mul"))
    after = activation(choices, shape[2])
    if choices.coin():
        b = choices.pick(sources)
        a, b = (b, a) if choices.coin() else (a, b)
        d.op("binary", out, a=a, b=b, kind=kind, activation=after)
        return True
    small = tuple(1 if choices.coin() else n for n in shape)
    first = choices.coin()
    constant = choices.random().uniform(0.25, 1.5, small).astype(np.float32)
    if not first and choices.whole(0, 3) == 0:
        kind, constant = "pow", np.full((1, 1, 1), 2.0, np.float32)
    d.op("binary_constant", out, x=a, kind=kind, constant=constant, constant_first=first, activation=after)
    return True


def resize_table(size: int, out: int, linear: bool) -> tuple[NDArray[np.int32], NDArray[np.int32], Floats]:
    """Two taps per output position, half-pixel coordinates."""
    at = np.clip((np.arange(out) + 0.5) * size / out - 0.5, 0, size - 1)
    low = np.floor(at).astype(np.int32)
    if not linear:
        return low, low, np.zeros(out, np.float32)
    return low, np.minimum(low + 1, size - 1).astype(np.int32), (at - low).astype(np.float32)


def block_index(choices: Choices, source: Shape, target: Shape) -> NDArray[np.int32]:
    """A move that repeats itself from block to block of pixels, as pixel shuffles do."""
    high, wide = (-(-n // m) for n, m in zip(target[:2], source[:2], strict=True))
    y, x, c = np.indices(target)
    channel = (c * choices.pick((1, 1, 2, 3)) + (y % high) * wide + x % wide + choices.whole(0, 3)) % source[2]
    return np.asarray(((y // high) * source[1] + x // wide) * source[2] + channel, np.int32)


def _produce_move(choices: Choices, d: Draft, out: int) -> bool:
    height, width, channels = d.shapes[out]
    same = [x for x in d.readable if d.shapes[x][2] == channels]
    if same and choices.coin():
        x = choices.pick(same)
        linear = choices.coin()
        y0, y1, wy = resize_table(d.shapes[x][0], height, linear)
        x0, x1, wx = resize_table(d.shapes[x][1], width, linear)
        d.op("resize", out, x=x, y0=y0, y1=y1, wy=wy, x0=x0, x1=x1, wx=wx)
        return True
    x = choices.pick(d.readable)
    if choices.whole(0, 2) == 0:
        d.op("gather", out, x=x, index=block_index(choices, d.shapes[x], d.shapes[out]), fill=0.0)
        return True
    count, values = prod(d.shapes[x]), height * width * channels
    index = (choices.whole(0, count - 1) + np.arange(values) * choices.pick((1, 1, 2, 5))) % count
    if choices.coin():
        index[choices.random().random(values) < 0.1] = -1
    index = index.astype(np.int32).reshape(height, width, channels)
    d.op("gather", out, x=x, index=index, fill=choices.pick((0.0, -0.0, 0.5)))
    return True


PRODUCERS: tuple[Callable[[Choices, Draft, int], bool], ...] = (
    *(_produce_conv, _produce_conv, _produce_conv, _produce_pool, _produce_same),
    *(_produce_copy, _produce_binary, _produce_binary, _produce_move, _produce_pair, _produce_pair),
)


def _split(choices: Choices, total: int, pieces: int) -> list[int]:
    cuts = sorted({choices.whole(1, total - 1) for _ in range(pieces - 1)})
    return [b - a for a, b in zip([0, *cuts], [*cuts, total], strict=True)]


def _factor(choices: Choices, count: int) -> Pair:
    height = choices.pick([h for h in (1, 2, 3, 4) if count % h == 0])
    return height, count // height


def _fill(choices: Choices, d: Draft, target: int, depth: int) -> None:
    """Produces a map, whole or in parts."""
    height, width, channels = d.shapes[target]
    ways = ["whole"] * 3
    if depth < 2:
        ways += ["parts"] * (channels > 1) + ["phases"] * (height * width > 1)
        ways += ["pixels"] * (height == 1 and width > 1)
    way = choices.pick(ways)
    parts: list[int] = []
    if way == "whole":
        chosen = _produce_pool if (height, width) == (1, 1) and choices.coin() else choices.pick(PRODUCERS)
        producers = (chosen, _produce_conv, _produce_move)  # the last one can make anything
        assert any(produce(choices, d, target) for produce in producers)
        return
    if way == "parts":
        first = 0
        for count in _split(choices, channels, 3):
            parts.append(d.part_of(target, first, count))
            first += count
    elif way == "phases":
        strides = (min(height, choices.whole(1, 3)), min(width, choices.whole(1, 3)))
        phases = [(y, x) for y in range(strides[0]) for x in range(strides[1])]
        parts = [d.phase_of(target, strides, phase) for phase in phases]
    else:
        first = 0
        for count in _split(choices, width, 3):
            parts.append(d.pixels_of(target, first, *_factor(choices, count)))
            first += count
    for part in parts:
        _fill(choices, d, part, depth + 1)
    d.join(target, parts)


def _target_shape(choices: Choices, d: Draft) -> Shape:
    height, width, channels = d.shapes[choices.pick(d.readable)]
    way = choices.pick(("same", "channels", "channels", "half", "double", "vector", "flat"))
    if way != "same":
        channels = choices.pick(CHANNELS)
    if way == "half":
        height, width = -(-height // 2), -(-width // 2)
    elif way == "double":
        height, width = height * 2, width * 2
    elif way == "vector":
        height = width = 1
        if choices.coin():  # as deep as a map: what a global pool makes of it
            channels = d.shapes[choices.pick(d.readable)][2]
    elif way == "flat":
        height, width = 1, height * width
    while height * width * channels > MOST_VALUES:
        height, width, channels = -(-height // 2), max(1, width // 2), max(1, channels - 5)
    return height, width, channels


def make_draft(choices: Choices, most_targets: int = 6, big: bool = False) -> Draft:
    """A draft of up to `most_targets` maps beside its inputs. big: large enough that ops are shared among threads."""
    d = Draft()
    for _ in range(1 if big else choices.whole(1, 2)):
        height, width = choices.pick(((24, 40), (17, 65))) if big else choices.pick(SIZES)
        channels = choices.pick((16, 17) if big else CHANNELS[:8])
        layout = choices.pick(("NCHW", "NHWC"))
        if channels > 1 and choices.whole(0, 3) == 0:  # the frame is written into a part of a map
            whole = d.map(height, width, channels)
            first, rest = d.part_of(whole, 0, 1), d.part_of(whole, 1, channels - 1)
            d.input(first, layout)
            d.input(rest, layout)
            d.join(whole, [first, rest])
        else:
            d.input(d.map(height, width, channels), layout)
    for i in range(choices.whole(1, most_targets)):
        if big and i == 0:
            height, width, _ = d.shapes[d.readable[-1]]
            _fill(choices, d, d.map(height, width, choices.pick((24, 31, 32))), 1)
            continue
        wide = [x for x in d.readable if d.shapes[x][2] > 1 and d.views.get(x, View("", -1)).kind != "channels"]
        if wide and choices.whole(0, 5) == 0:
            parent = choices.pick(wide)
            first = choices.whole(0, d.shapes[parent][2] - 1)
            d.channels_of(parent, first, choices.whole(1, d.shapes[parent][2] - first))
        _fill(choices, d, d.map(*_target_shape(choices, d)), 0)
    read = {x for op in d.ops for x in op.inputs}
    ends = [x for x in d.readable if x not in read]
    for x in dict.fromkeys([*ends, choices.pick(d.readable)]):
        d.output(x, choices.pick(("NCHW", "NHWC")))
    return d


@st.composite
def drafts(draw: Draw, most_targets: int = 6, big: bool = False) -> Draft:
    return make_draft(Choices(draw), most_targets, big)
