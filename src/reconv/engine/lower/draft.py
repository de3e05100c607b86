"""A plan in the making: ops over maps whose sizes are known, before they are fused, placed and handed to the core.

The lowering functions append ops without looking ahead; `fuse` and `place` then rewrite the list; `emit` writes the
sealed plan. Ops mirror those of ``reconv._core.Plan``; `Pick`, `Pad` and `Transposed` stand for several of them.
A map in `Draft.codes` holds 8-bit codes; the ops that only codes know are in `reconv.engine.lower.draft_codes`, those
that only move what they read are the same for both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from reconv.engine.lower.layout import Geometry

__all__ = [
    "NONE",
    "Activation",
    "Affine",
    "Assemble",
    "AveragePool",
    "Binary",
    "BinaryConstant",
    "Channels",
    "Codes",
    "Conv",
    "Copy",
    "Draft",
    "Gather",
    "GlobalPool",
    "Grid",
    "MaxPool",
    "Op",
    "Pad",
    "Pick",
    "Pixels",
    "Resize",
    "Softmax",
    "Transposed",
    "Unary",
    "View",
]

Activation = tuple[Any, ...]
Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Pair = tuple[int, int]
OpT = TypeVar("OpT", bound="Op")
NONE: Activation = ("none",)


class Codes(NamedTuple):
    """What the codes of a map stand for: real = (code - zero) * scale, scale a float32, codes and zero 0 to 255."""

    scale: float
    zero: int


@dataclass(frozen=True, eq=False)
class Grid:
    """Weights that are whole multiples of a step per output channel: what a file says that quantizes them.

    ``scale`` (Cout,) holds the steps. ``bias`` (Cout,) are the whole numbers of the bias and ``bias_scale`` (Cout,)
    their steps, None where the bias is any float.
    """

    scale: Floats
    bias: Ints | None = None
    bias_scale: Floats | None = None


@dataclass(eq=False, kw_only=True)
class Op:
    """One op: writes the map ``out``. ``nodes`` are the graph's nodes that it stands for, by position."""

    out: int
    nodes: frozenset[int] = frozenset()

    @property
    def reads(self) -> tuple[int, ...]:
        return (self.x,) if hasattr(self, "x") else ()

    def rewire(self, maps: Mapping[int, int]) -> None:
        """Read other maps, where the mapping has one."""
        for name in ("x", "a", "b", "residual"):
            if hasattr(self, name):
                setattr(self, name, maps.get(getattr(self, name), getattr(self, name)))


@dataclass(eq=False, kw_only=True)
class Conv(Op):
    """out = after(activation(conv(x) + bias) + residual); weight (Cout, Cin / groups, kh, kw), ``grid`` its steps."""

    x: int
    weight: Floats
    bias: Floats | None
    strides: Pair
    pads: Pair
    dilations: Pair
    groups: int
    activation: Activation = NONE
    residual: int = -1
    activation_after: Activation = NONE
    grid: Grid | None = None

    @property
    def reads(self) -> tuple[int, ...]:
        return (self.x,) if self.residual < 0 else (self.x, self.residual)


@dataclass(eq=False, kw_only=True)
class Transposed(Op):
    """Transposed convolution; weight (Cin, Cout / groups, kh, kw) as in ONNX, ``grid`` its steps."""

    x: int
    weight: Floats
    bias: Floats | None
    strides: Pair
    pads: Pair
    dilations: Pair
    groups: int
    activation: Activation = NONE
    grid: Grid | None = None


@dataclass(eq=False, kw_only=True)
class MaxPool(Op):
    x: int
    kernel: Pair
    strides: Pair
    pads: Pair
    dilations: Pair


@dataclass(eq=False, kw_only=True)
class AveragePool(Op):
    x: int
    kernel: Pair
    strides: Pair
    pads: Pair
    pads_end: Pair
    dilations: Pair
    count_include_pad: bool


@dataclass(eq=False, kw_only=True)
class GlobalPool(Op):
    x: int
    kind: str


@dataclass(eq=False, kw_only=True)
class Unary(Op):
    x: int
    activation: Activation


@dataclass(eq=False, kw_only=True)
class Affine(Op):
    """out = activation(x * scale + shift), both (C,)."""

    x: int
    scale: Floats
    shift: Floats
    activation: Activation = NONE


@dataclass(eq=False, kw_only=True)
class Binary(Op):
    a: int
    b: int
    kind: str
    activation: Activation = NONE

    @property
    def reads(self) -> tuple[int, ...]:
        return (self.a, self.b)


@dataclass(eq=False, kw_only=True)
class BinaryConstant(Op):
    """``constant`` is (H|1, W|1, C|1) of the output."""

    x: int
    kind: str
    constant: Floats
    constant_first: bool
    activation: Activation = NONE


@dataclass(eq=False, kw_only=True)
class Resize(Op):
    """Two taps along each axis: see ``_core.Plan.resize``."""

    x: int
    y0: Ints
    y1: Ints
    wy: Floats
    x0: Ints
    x1: Ints
    wx: Floats


@dataclass(eq=False, kw_only=True)
class Gather(Op):
    x: int
    index: Ints
    fill: float = 0.0


@dataclass(eq=False, kw_only=True)
class Pick(Op):
    """out[y, x] = x[start + steps * (y, x)]: a Slice with steps."""

    x: int
    start: Pair
    steps: Pair


@dataclass(eq=False, kw_only=True)
class Pad(Op):
    """The map with ``fill`` around it; ``before`` is (top, left)."""

    x: int
    before: Pair
    fill: float


@dataclass(eq=False, kw_only=True)
class Copy(Op):
    """The same pixels, row-major, in a map of another height and width."""

    x: int


@dataclass(eq=False, kw_only=True)
class Softmax(Op):
    """Over the channels of every pixel."""

    x: int


@dataclass(eq=False, kw_only=True)
class View(Op):
    """Channels ``first`` and on of x, nothing moved."""

    x: int
    first: int


@dataclass(frozen=True)
class Channels:
    """A part of a concat on channels."""

    first: int
    count: int


@dataclass(frozen=True)
class Pixels:
    """A part of a concat on pixels, in a map of height 1."""

    first: int
    height: int
    width: int


@dataclass(eq=False, kw_only=True)
class Assemble(Op):
    """A concat: ``out`` is made of the maps ``parts``, each in its place."""

    parts: list[tuple[int, Channels | Pixels]]

    @property
    def reads(self) -> tuple[int, ...]:
        return tuple(part for part, _ in self.parts)

    def rewire(self, maps: Mapping[int, int]) -> None:
        self.parts = [(maps.get(part, part), where) for part, where in self.parts]


@dataclass(eq=False)
class Draft:
    """Maps and ops, in execution order. ``inputs`` and ``outputs`` are maps; an output counts as a use.

    ``codes`` says of the maps that hold codes what they stand for; all others hold floats.
    """

    maps: list[Geometry] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    producer: dict[int, Op] = field(default_factory=dict)
    uses: Counter[int] = field(default_factory=Counter)
    codes: dict[int, Codes] = field(default_factory=dict)

    def map(self, geometry: Geometry, codes: Codes | None = None) -> int:
        self.maps.append(geometry)
        if codes is not None:
            self.codes[len(self.maps) - 1] = codes
        return len(self.maps) - 1

    def like(self, x: int) -> int:
        """A new map of the size and the kind of another."""
        return self.map(self.maps[x], self.codes.get(x))

    def forget(self, maps: int) -> None:
        """Take back the maps from this number on."""
        del self.maps[maps:]
        self.codes = {x: codes for x, codes in self.codes.items() if x < maps}

    def add(self, op: Op) -> int:
        """Append the op; the map that it writes."""
        self.ops.append(op)
        return op.out

    def index(self) -> None:
        """Recompute ``producer`` and ``uses`` after the list was changed."""
        self.producer = {op.out: op for op in self.ops}
        self.uses = Counter(self.outputs)
        for op in self.ops:
            self.uses.update(op.reads)

    def sweep(self) -> None:
        """Drop the ops whose results nothing needs."""
        needed = set(self.outputs)
        kept = []
        for op in reversed(self.ops):
            if op.out in needed:
                needed.update(op.reads)
                kept.append(op)
        self.ops = kept[::-1]
        self.index()

    def made_by(self, x: int, kind: type[OpT], alone: bool = True) -> OpT | None:
        """The op that makes map x, if it is of this kind and (when ``alone``) x has no other user."""
        op = self.producer.get(x)
        return op if isinstance(op, kind) and (not alone or self.uses[x] == 1) else None

    def swap(self, old: Iterable[Op], new: Op) -> None:
        """Put ``new`` in the place of the last of ``old``, and take the others out."""
        gone = list(old)
        new.nodes = new.nodes.union(*(op.nodes for op in gone))
        self.put(gone, [new])

    def put(self, old: Iterable[Op], new: list[Op]) -> None:
        """Put ``new`` in the place of the last of ``old``, and take the others out; each op stands for what it says."""
        gone = list(old)
        last = max(self.ops.index(op) for op in gone)
        self.ops[last + 1 : last + 1] = new
        self.ops = [op for op in self.ops if all(op is not other for other in gone)]
        self.index()

    def redirect(self, old: int, new: int) -> None:
        """Let all readers of one map read another."""
        for op in self.ops:
            op.rewire({old: new})
        self.index()
