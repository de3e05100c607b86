"""The core again, slow and obvious, in numpy: the second oracle beside ONNX Runtime.

Same interface as ``reconv._core``. Every step computes every op whole from the stored inputs, and then takes over only
the pixels that the stale sets allow; windows are loops over taps. Nothing is shared with the native core.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

__all__ = ["Plan", "State", "Threads"]

Array = np.ndarray[Any, Any]
Pair = tuple[int, int]


def activate(x: Array, activation: tuple[Any, ...]) -> Array:
    kind, *p = activation
    if kind == "prelu":
        return np.where(x < 0, x * p[0], x)
    with np.errstate(all="ignore"):
        return np.asarray(FUNCTIONS[kind](x.astype(np.float64), *p), np.float32)


def _erf(x: Array) -> Array:
    return np.asarray([math.erf(v) for v in x.ravel()]).reshape(x.shape)


def _sigmoid(x: Array) -> Array:
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), 1 - 1 / (1 + np.exp(-np.abs(x))))


def _hard(x: Array, alpha: float, beta: float) -> Array:
    return np.clip(alpha * x + beta, 0, 1)


def _gelu_tanh(x: Array) -> Array:
    return np.asarray(0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))


FUNCTIONS: dict[str, Callable[..., Array]] = {
    "none": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "clip": np.clip,
    "leaky": lambda x, alpha: np.where(x < 0, alpha * x, x),
    "sigmoid": _sigmoid,
    "silu": lambda x: x * _sigmoid(x),
    "tanh": np.tanh,
    "hardsigmoid": _hard,
    "hardswish": lambda x: x * _hard(x, 1 / 6, 0.5),
    "gelu": lambda x: 0.5 * x * (1 + _erf(x / math.sqrt(2))),
    "gelu_tanh": _gelu_tanh,
    "erf": _erf,
    "elu": lambda x, alpha: np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x),
    "softplus": lambda x: np.logaddexp(0, x),
    "mish": lambda x: x * np.tanh(np.logaddexp(0, x)),
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
}
ARITHMETIC: dict[str, Callable[..., Array]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "min": np.minimum,
    "max": np.maximum,
    "pow": np.power,
}


@dataclass(frozen=True)
class Window:
    kernel: Pair
    strides: Pair = (1, 1)
    pads: Pair = (0, 0)
    dilations: Pair = (1, 1)

    def taps(self, x: Array, out: Pair, fill: Any) -> Iterator[tuple[int, int, Array]]:
        """For every tap (i, j) of the kernel, what it reads at every output pixel; ``fill`` outside of x."""
        for i in range(self.kernel[0]):
            ys = np.arange(out[0]) * self.strides[0] - self.pads[0] + i * self.dilations[0]
            for j in range(self.kernel[1]):
                xs = np.arange(out[1]) * self.strides[1] - self.pads[1] + j * self.dilations[1]
                inside = ((ys >= 0) & (ys < x.shape[0]))[:, None] & ((xs >= 0) & (xs < x.shape[1]))
                read = x[np.clip(ys, 0, x.shape[0] - 1)[:, None], np.clip(xs, 0, x.shape[1] - 1)]
                yield i, j, np.where(inside.reshape(inside.shape + (1,) * (x.ndim - 2)), read, fill)


@dataclass(frozen=True)
class Op:
    """``compute`` takes the inputs' arrays, ``spread`` their stale sets; both give the output's."""

    out: int
    inputs: tuple[int, ...]
    compute: Callable[..., Array]
    spread: Callable[..., Array]
    cut: bool = False
    macs: int = 0
    parts: tuple[int, ...] = ()
    depthwise: bool = False  # with nothing added behind its activation
    pointwise: int = 0  # multiply-adds per pixel of a 1x1 convolution in one group, over the same pixels
    front: int = -1  # the op that this one does as well, pixel by pixel


@dataclass
class Map:
    size: tuple[int, int, int]
    parent: int = -1
    view: Callable[[Array], Array] | None = None
    shares_stale: bool = False


@dataclass
class Plan:
    """``isa`` is there for the interface; ``fuse`` as in the core, but alike for streams and dense-only states."""

    isa: str = "slow"
    fuse: bool = True
    maps: list[Map] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    inputs: list[tuple[int, tuple[int, int, int]]] = field(default_factory=list)
    outputs: list[tuple[int, tuple[int, int, int]]] = field(default_factory=list)
    produced: set[int] = field(default_factory=set)
    absorbed: dict[int, int] = field(default_factory=dict)  # op -> the op that does its work
    sealed: bool = False

    def map(self, height: int, width: int, channels: int) -> int:
        return self._map(Map((height, width, channels)))

    def _map(self, made: Map) -> int:
        assert not self.sealed
        assert min(made.size) > 0
        self.maps.append(made)
        return len(self.maps) - 1

    def channels_of(self, parent: int, first: int, count: int) -> int:
        assert parent in self.produced
        assert first >= 0
        assert first + count <= self.maps[parent].size[2]
        size = (*self.maps[parent].size[:2], count)
        x = self._map(Map(size, parent, lambda a: a[:, :, first : first + count], shares_stale=True))
        self.produced.add(x)
        return x

    def part_of(self, parent: int, first: int, count: int) -> int:
        assert parent not in self.produced
        assert first + count <= self.maps[parent].size[2]
        size = (*self.maps[parent].size[:2], count)
        return self._map(Map(size, parent, lambda a: a[:, :, first : first + count] if a.ndim == 3 else a))

    def phase_of(self, parent: int, strides: Pair, phase: Pair) -> int:
        assert parent not in self.produced
        height, width, channels = self.maps[parent].size
        size = (-(-(height - phase[0]) // strides[0]), -(-(width - phase[1]) // strides[1]), channels)
        return self._map(Map(size, parent, lambda a: a[phase[0] :: strides[0], phase[1] :: strides[1]]))

    def pixels_of(self, parent: int, first: int, height: int, width: int) -> int:
        assert parent not in self.produced
        whole = self.maps[parent].size
        assert whole[0] == 1
        assert first + height * width <= whole[1]

        def view(a: Array) -> Array:
            return a[0, first : first + height * width].reshape(height, width, *a.shape[2:])

        return self._map(Map((height, width, whole[2]), parent, view))

    def join(self, parent: int, parts: Sequence[int]) -> int:
        assert all(part in self.produced and self.maps[part].parent == parent for part in parts)
        return self._add(Op(parent, tuple(parts), lambda *_: np.empty(0), lambda *_: np.empty(0), parts=tuple(parts)))

    def input(self, x: int, strides: tuple[int, int, int]) -> int:
        assert x not in self.produced
        self.produced.add(x)
        self.inputs.append((x, strides))
        return len(self.inputs) - 1

    def output(self, x: int, strides: tuple[int, int, int]) -> int:
        assert x in self.produced
        self.outputs.append((x, strides))
        return len(self.outputs) - 1

    def _add(self, op: Op) -> int:
        assert not self.sealed
        assert all(x in self.produced for x in op.inputs), "read before it is produced"
        assert op.out not in self.produced, "produced twice"
        self.produced.add(op.out)
        self.ops.append(op)
        return len(self.ops) - 1

    def conv(  # noqa: PLR0917
        self,
        x: int,
        out: int,
        weight: Array,
        bias: Array | None,
        strides: Pair,
        pads: Pair,
        dilations: Pair,
        groups: int,
        activation: tuple[Any, ...],
        residual: int = -1,
        activation_after: tuple[Any, ...] = ("none",),
        cut: bool = True,
        macs: int = 0,
    ) -> int:
        columns, each, height, width = weight.shape
        size = self.maps[out].size
        assert size[2] == columns
        assert self.maps[x].size[2] == each * groups
        window = Window((height, width), strides, pads, dilations)
        grouped = weight.reshape(groups, columns // groups, each, height, width).astype(np.float64)

        def compute(a: Array, *rest: Array) -> Array:
            total = np.zeros((*size[:2], groups, columns // groups))
            for i, j, tap in window.taps(a, size[:2], np.float32(0)):
                if grouped[..., i, j].any():
                    total += np.einsum("hwgc,gnc->hwgn", tap.reshape(*size[:2], groups, each), grouped[..., i, j])
            result = total.reshape(size) + (0 if bias is None else bias)
            result = activate(result.astype(np.float32), activation)
            return activate(result + rest[0] if rest else result, activation_after)

        def spread(stale: Array, *rest: Array) -> Array:
            return _any([tap for _, _, tap in window.taps(stale, size[:2], False)] + list(rest))

        inputs = (x,) if residual < 0 else (x, residual)
        assert residual < 0 or self.maps[residual].size == size
        still = (strides, pads, (height, width), groups) == ((1, 1), (0, 0), (1, 1), 1)
        return self._add(
            Op(
                out,
                inputs,
                compute,
                spread,
                cut,
                size[0] * size[1] * (macs or weight.size),
                depthwise=groups == columns == self.maps[x].size[2] > 1
                and (residual, activation_after) == (-1, ("none",)),
                pointwise=(macs or weight.size) if still and self.maps[x].size[:2] == size[:2] else 0,
            )
        )

    def max_pool(  # noqa: PLR0917
        self, x: int, out: int, kernel: Pair, strides: Pair, pads: Pair, dilations: Pair, cut: bool = True
    ) -> int:
        window, size = Window(kernel, strides, pads, dilations), self.maps[out].size[:2]

        def compute(a: Array) -> Array:
            return np.asarray(np.max([t for _, _, t in window.taps(a, size, np.float32(-np.inf))], 0))

        return self._add(Op(out, (x,), compute, lambda s: _any([t for *_, t in window.taps(s, size, False)]), cut))

    def average_pool(  # noqa: PLR0917
        self,
        x: int,
        out: int,
        kernel: Pair,
        strides: Pair,
        pads: Pair,
        pads_end: Pair,
        dilations: Pair,
        count_include_pad: bool,
        cut: bool = True,
    ) -> int:
        window, size = Window(kernel, strides, pads, dilations), self.maps[out].size[:2]
        height, width, _ = self.maps[x].size
        padded = (
            (height + pads[0] + pads_end[0], width + pads[1] + pads_end[1]) if count_include_pad else (height, width)
        )
        origin = (0, 0) if count_include_pad else pads
        counted = Window(kernel, strides, origin, dilations)
        count = np.sum([t for *_, t in counted.taps(np.ones(padded), size, 0.0)], 0)[:, :, None]

        def compute(a: Array) -> Array:
            return np.asarray(np.sum([t for *_, t in window.taps(a, size, np.float32(0))], 0, np.float64) / count)

        return self._add(Op(out, (x,), compute, lambda s: _any([t for *_, t in window.taps(s, size, False)]), cut))

    def global_pool(self, x: int, out: int, kind: str, cut: bool = True) -> int:
        assert self.maps[out].size == (1, 1, self.maps[x].size[2])
        reduce: Callable[..., Any] = getattr(np, {"avg": "mean"}.get(kind, kind))
        return self._add(
            Op(
                out,
                (x,),
                lambda a: np.asarray(reduce(a.astype(np.float64), axis=(0, 1), keepdims=True)),
                lambda s: s.any(keepdims=True),
                cut,
            )
        )

    def _local(self, out: int, inputs: tuple[int, ...], compute: Callable[..., Array]) -> int:
        """An op whose pixel depends on the same pixel of its inputs, broadcast."""
        size = self.maps[out].size
        for x in inputs:
            assert all(n in (1, m) for n, m in zip(self.maps[x].size, size, strict=True))
        return self._add(
            Op(
                out,
                inputs,
                lambda *a: np.broadcast_to(compute(*a), size),
                lambda *s: np.broadcast_to(_any(list(s)), size[:2]),
            )
        )

    def unary(self, x: int, out: int, activation: tuple[Any, ...]) -> int:
        return self._local(out, (x,), lambda a: activate(a, activation))

    def affine(self, x: int, out: int, scale: Array, shift: Array, activation: tuple[Any, ...]) -> int:
        assert scale.shape == shift.shape == self.maps[x].size[2:]
        return self._local(out, (x,), lambda a: activate(a * scale + shift, activation))

    def binary(self, a: int, b: int, out: int, kind: str, activation: tuple[Any, ...]) -> int:
        return self._local(out, (a, b), lambda x, y: activate(ARITHMETIC[kind](x, y), activation))

    def binary_constant(  # noqa: PLR0917
        self, x: int, out: int, kind: str, constant: Array, constant_first: bool, activation: tuple[Any, ...]
    ) -> int:
        def compute(a: Array) -> Array:
            pair = (constant, a) if constant_first else (a, constant)
            return activate(ARITHMETIC[kind](*pair), activation)

        return self._local(out, (x,), compute)

    def softmax(self, x: int, out: int) -> int:
        def compute(a: Array) -> Array:
            e = np.exp(a.astype(np.float64) - a.max(2, keepdims=True))
            return np.asarray(e / e.sum(2, keepdims=True))

        return self._local(out, (x,), compute)

    def resize(self, x: int, out: int, y0: Array, y1: Array, wy: Array, x0: Array, x1: Array, wx: Array) -> int:  # noqa: PLR0917
        v, u = wy[:, None, None], wx[None, :, None]

        def compute(a: Array) -> Array:
            upper = a[y0][:, x0] * (1 - u) + a[y0][:, x1] * u
            lower = a[y1][:, x0] * (1 - u) + a[y1][:, x1] * u
            return np.asarray(np.where(v == 0, upper, upper * (1 - v) + lower * v))

        return self._add(Op(out, (x,), compute, lambda s: _any([s[p][:, q] for p in (y0, y1) for q in (x0, x1)])))

    def gather(self, x: int, out: int, index: Array, fill: float) -> int:
        channels = self.maps[x].size[2]
        assert index.shape == self.maps[out].size

        def spread(stale: Array) -> Array:
            return np.asarray(np.where(index < 0, False, stale.ravel()[index // channels]).any(2))

        def compute(a: Array) -> Array:
            return np.where(index < 0, np.float32(fill), a.ravel()[index])

        return self._add(Op(out, (x,), compute, spread))

    def copy(self, x: int, out: int) -> int:
        size = self.maps[out].size
        assert self.maps[x].size[2] == size[2]
        return self._add(Op(out, (x,), lambda a: a.reshape(size), lambda s: s.reshape(size[:2])))

    def seal(self) -> None:
        self.sealed = True
        for i, op in enumerate(self.ops if self.fuse else ()):
            between = op.inputs[0]
            front = next((j for j, made in enumerate(self.ops) if made.out == between), -1)
            if front < 0 or not self.ops[front].depthwise or not 0 < op.pointwise <= 1024:
                continue
            strides = self.maps[self.ops[front].inputs[0]].size[:2] != self.maps[between].size[:2]
            if not strides and self._alone(between):
                self.absorbed[front] = i
                self.ops[i] = _both(self.ops[front], op, front)

    def _alone(self, x: int) -> bool:
        """Whether the map is read once, by one op, and neither has views nor is one."""
        readers = [y for op in self.ops for y in op.inputs] + [y for y, _ in self.outputs]
        return readers.count(x) == 1 and self.maps[x].view is None and all(made.parent != x for made in self.maps)

    def stored(self, x: int) -> bool:
        return x not in {self.ops[i].out for i in self.absorbed}

    @property
    def cut_maps(self) -> list[int]:
        made = [op.out for i, op in enumerate(self.ops) if op.cut and i not in self.absorbed]
        return [x for x, _ in self.inputs] + made

    def op_macs(self) -> list[int]:
        return [op.macs for op in self.ops]

    @property
    def macs(self) -> int:
        return sum(op.macs for op in self.ops)


def _both(first: Op, second: Op, front: int) -> Op:
    """The second op of its first input as the first op makes it."""

    def compute(a: Array, *rest: Array) -> Array:
        return second.compute(first.compute(a), *rest)

    def spread(stale: Array, *rest: Array) -> Array:
        return second.spread(first.spread(stale), *rest)

    inputs = first.inputs + second.inputs[1:]
    return replace(second, inputs=inputs, compute=compute, spread=spread, front=front)


def _any(masks: list[Array]) -> Array:
    result = masks[0]
    for mask in masks[1:]:
        result = result | mask
    return result


@dataclass
class Threads:
    count: int


class State:
    def __init__(self, plan: Plan, threads: Threads, dense_only: bool, tolerance: float) -> None:
        self.plan, self.tolerance = plan, tolerance
        self.dense_only = dense_only
        self.arrays: list[Array] = []
        self.stales: list[Array] = []
        for made in plan.maps:
            if made.view is None:
                self.arrays.append(np.zeros(made.size, np.float32))
            else:
                self.arrays.append(made.view(self.arrays[made.parent]))
                assert self.arrays[-1].base is not None
            own = self.stales[made.parent] if made.shares_stale else np.zeros(made.size[:2], np.bool_)
            self.stales.append(own)
        self.todos = [np.zeros(plan.maps[op.out].size[:2], np.bool_) for op in plan.ops]
        self.weights: dict[int, Array] = {}
        self.recomputed_macs = 0
        self.was_dense = False
        self.reset()

    def reset(self) -> None:
        self._fresh = True

    def step(self, inputs: list[Array]) -> None:
        fresh, plan = self._fresh or self.dense_only, self.plan
        self.was_dense, self._fresh, self.recomputed_macs = fresh, False, 0
        for (x, strides), array in zip(plan.inputs, inputs, strict=True):
            ys, xs, cs = np.indices(plan.maps[x].size)
            new = array.ravel()[ys * strides[0] + xs * strides[1] + cs * strides[2]]
            self._store(x, new, np.ones(new.shape[:2], np.bool_), True, fresh)
        for i, op in enumerate(plan.ops):
            if i in plan.absorbed:
                continue
            if op.parts:
                for part in op.parts:
                    view = plan.maps[part].view
                    assert view is not None
                    if part == op.parts[0]:
                        self.stales[op.out][:] = False
                    view(self.stales[op.out])[...] |= self.stales[part]
                self.todos[i] = self.stales[op.out].copy()
                continue
            todo = op.spread(*(self.stales[x] for x in op.inputs))
            todo = np.ones_like(todo) if fresh else todo
            new = op.compute(*(self.arrays[x] for x in op.inputs)).astype(np.float32)
            self._store(op.out, new, todo, op.cut, fresh)
            self.todos[i] = todo
            self.recomputed_macs += op.macs * int(todo.sum()) // todo.size
            if op.front >= 0:
                self.todos[op.front] = todo
                self.recomputed_macs += plan.ops[op.front].macs * int(todo.sum()) // todo.size

    def _store(self, x: int, new: Array, todo: Array, cut: bool, fresh: bool) -> None:
        """Take over the recomputed pixels, but for those that the cutoff keeps."""
        old = self.arrays[x]
        moved = todo.copy()
        if cut and not fresh:
            if self.tolerance > 0:
                distance = np.sqrt((self.weights[x] * (new.astype(np.float64) - old) ** 2).sum(2))
                same = distance <= self.tolerance
            else:
                same = (np.ascontiguousarray(new).view(np.int32) == np.ascontiguousarray(old).view(np.int32)).all(2)
            moved &= ~(same & np.isfinite(new).all(2))
        if cut and fresh and self.tolerance > 0:
            self.weights[x] = 1 / (new.shape[2] * _deviation(new) ** 2)
        old[moved] = new[moved]
        self.stales[x][...] = moved

    def read(self, output: int, array: Array) -> None:
        x, strides = self.plan.outputs[output]
        ys, xs, cs = np.indices(self.plan.maps[x].size)
        array.reshape(-1)[(ys * strides[0] + xs * strides[1] + cs * strides[2])] = self.arrays[x]

    def changed(self, output: int) -> bool:
        return bool(self.stales[self.plan.outputs[output][0]].any())

    def stale(self, x: int) -> Array:
        return self.stales[x].copy()

    def todo(self, op: int) -> Array:
        return self.todos[op].copy()

    def array(self, x: int) -> Array:
        if not self.plan.stored(x):
            raise ValueError("the map is not stored")
        return self.arrays[x].copy()


def _deviation(values: Array) -> Array:
    """Standard deviation per channel, not below 0.05 of the map's; of a pooled vector, the vector's RMS."""
    flat = values.reshape(-1, values.shape[2]).astype(np.float64)
    if len(flat) < 16:
        return np.full(flat.shape[1], np.sqrt((flat**2).mean()))
    deviations = flat.std(0)
    return np.asarray(np.maximum(deviations, 0.05 * np.sqrt((deviations**2).mean())))
