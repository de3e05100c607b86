"""The native core (built from native/ by CMake): plans, states and threads. Internal; see `reconv.engine`.

A map is (height, width, channels), float32, channels contiguous; a map of codes holds uint8, real = (code - zero) *
scale. Arguments called x, out, a, b, parent, residual and parts are map ids. Pairs are (vertical, horizontal). Misuse
raises ValueError.
"""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Pair: TypeAlias = tuple[int, int]
Strides: TypeAlias = tuple[int, int, int]
Activation: TypeAlias = tuple[Any, ...]
Floats: TypeAlias = NDArray[np.float32]
Ints: TypeAlias = NDArray[np.int32]
Codes8: TypeAlias = NDArray[np.int8]
Bools: TypeAlias = NDArray[np.bool_]

def isas() -> list[str]: ...
def default_isa() -> str: ...
def default_threads() -> int: ...

class WeightStore:
    """Where plans look up weights, so that those that are equal bit for bit are kept once."""

    def __init__(self) -> None: ...
    @property
    def bytes(self) -> int:
        """Of the weights that plans use now, tables and biases apart."""

class Plan:
    def __init__(self, isa: str = "", fuse: bool = True, weights: WeightStore | None = None) -> None:
        """weights: None is a store of the plan's own."""
    def map(self, height: int, width: int, channels: int) -> int: ...
    def map8(self, height: int, width: int, channels: int, zero: int) -> int:
        """A map of codes, with zero points around it where windows reach. Channel views begin at multiples of 4."""
    def channels_of(self, parent: int, first: int, count: int) -> int: ...
    def part_of(self, parent: int, first: int, count: int) -> int: ...
    def phase_of(self, parent: int, strides: Pair, phase: Pair) -> int: ...
    def pixels_of(self, parent: int, first: int, height: int, width: int) -> int: ...
    def join(self, parent: int, parts: Sequence[int]) -> int: ...
    def size(self, x: int) -> tuple[int, int, int]: ...
    def stored(self, x: int) -> bool:
        """False: streams do not keep the map, the op that reads it does its producer's work as well."""
    def input(self, x: int, strides: Strides) -> int: ...
    def output(self, x: int, strides: Strides) -> int: ...
    def input_strides(self, input: int) -> Strides: ...
    def conv(
        self,
        x: int,
        out: int,
        weight: Floats,
        bias: Floats | None,
        strides: Pair,
        pads: Pair,
        dilations: Pair,
        groups: int,
        activation: Activation,
        residual: int = -1,
        activation_after: Activation = ("none",),
        cut: bool = True,
        macs: int = 0,
    ) -> int:
        """macs: what a pixel counts as, where some weights are zeros for convenience; 0: all count."""
    def conv8(
        self,
        x: int,
        out: int,
        weight: Codes8,
        bias: Ints | None,
        weight_scale: Floats,
        x_scale: float,
        x_zero: int,
        out_scale: float,
        out_zero: int,
        strides: Pair,
        pads: Pair,
        dilations: Pair,
        groups: int,
        activation: Activation = ("none",),
        shift: Floats | None = None,
        residual: int = -1,
        residual_scale: float = 1.0,
        residual_zero: int = 0,
        sum_scale: float = 0.0,
        sum_zero: int = 0,
        activation_after: Activation = ("none",),
        cut: bool = True,
        macs: int = 0,
        table: NDArray[np.uint8] | None = None,
        factor: Floats | None = None,
    ) -> int:
        """Codes with signed 8-bit weights into codes or, where `out` is a map of floats, reals:

        real = float32(sum of (code - x_zero) * weight + bias) * (x_scale * weight_scale) + shift, then the activation,
        then, with a residual: to codes of sum_scale and sum_zero and back where sum_scale is not 0, plus the residual's
        real, then activation_after; times factor per output channel, to codes, and at last code i becomes table[i].
        ValueError where a sum could leave 32 bits."""
    def quantize(self, x: int, out: int, scale: float, zero: int) -> int:
        """Floats to codes: to the nearest of value * (1 / scale) + zero, ties to even, from 0 to 255."""
    def dequantize(self, x: int, out: int, scale: float, zero: int) -> int: ...
    def requantize(self, x: int, out: int, x_scale: float, x_zero: int, out_scale: float, out_zero: int) -> int: ...
    def table8(self, x: int, out: int, table: NDArray[np.uint8]) -> int:
        """Code i becomes table[i]."""
    def binary8(
        self,
        a: int,
        b: int,
        out: int,
        kind: str,
        a_scale: float,
        a_zero: int,
        b_scale: float,
        b_zero: int,
        out_scale: float,
        out_zero: int,
        activation: Activation = ("none",),
    ) -> int: ...
    def average_pool8(
        self,
        x: int,
        out: int,
        kernel: Pair,
        strides: Pair,
        pads: Pair,
        pads_end: Pair,
        dilations: Pair,
        count_include_pad: bool,
        x_scale: float,
        x_zero: int,
        out_scale: float,
        out_zero: int,
        cut: bool = True,
    ) -> int: ...
    def global_pool8(
        self, x: int, out: int, x_scale: float, x_zero: int, out_scale: float, out_zero: int, cut: bool = True
    ) -> int:
        """The average."""
    def max_pool(
        self, x: int, out: int, kernel: Pair, strides: Pair, pads: Pair, dilations: Pair, cut: bool = True
    ) -> int: ...
    def average_pool(
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
    ) -> int: ...
    def global_pool(self, x: int, out: int, kind: Literal["avg", "max", "sum"], cut: bool = True) -> int: ...
    def unary(self, x: int, out: int, activation: Activation) -> int: ...
    def affine(self, x: int, out: int, scale: Floats, shift: Floats, activation: Activation) -> int: ...
    def binary(self, a: int, b: int, out: int, kind: str, activation: Activation) -> int: ...
    def binary_constant(
        self, x: int, out: int, kind: str, constant: Floats, constant_first: bool, activation: Activation
    ) -> int: ...
    def resize(self, x: int, out: int, y0: Ints, y1: Ints, wy: Floats, x0: Ints, x1: Ints, wx: Floats) -> int: ...
    def gather(self, x: int, out: int, index: Ints, fill: float) -> int: ...
    def copy(self, x: int, out: int) -> int: ...
    def softmax(self, x: int, out: int) -> int: ...
    def seal(self, stores: bool = False) -> None:
        """stores: a dense-only step writes the outputs to arrays that it is given, as they come."""
    def limit_memory(self, bytes: int, threads: int) -> None:
        """What a dense-only step of so many threads may take in all, for states made from now on, where it can be."""
    def dense_peak_bytes(self, threads: int) -> int:
        """Bytes that a dense-only step takes: maps, scratch of the threads, and the arrays of the outputs."""
    def dense_overhead_bytes(self, threads: int) -> int:
        """Of these, what are no maps."""
    def memory(self) -> list[tuple[list[int], int, list[tuple[list[int], int, int]]]]:
        """Of a dense-only step, per stretch: its ops, in how many bands of rows they run, and what lives meanwhile: the
        maps that share a piece of memory, its bytes, and the rows kept at a time, 0 for all."""
    @property
    def macs(self) -> int: ...
    @property
    def state_bytes(self) -> int: ...
    @property
    def dense_bytes(self) -> int: ...
    @property
    def weight_bytes(self) -> int:
        """Of packed weights and tables; weights that several ops share count once."""
    def order(self, op: int) -> tuple[str, int, int] | None:
        """(outside, blocks, part) of a convolution, None of other ops; see `reconv.engine.orders`."""
    def set_order(self, op: int, outside: str, blocks: int, part: int) -> None:
        """Before a state of the plan steps. The results are the same bits."""
    def layer(self, op: int) -> str:
        """The sizes that decide which order is the quickest, "" where there is none to choose."""
    def forks(self, threads: int) -> list[list[list[int]]]:
        """Where branches of a dense-only run do not depend on one another and look as if they could gain from running
        at once on so many threads: per fork its branches, each a list of ops. None under a limit of memory."""
    def set_forks(self, chosen: Sequence[int], threads: int) -> None:
        """The forks (their places in `forks`) whose branches run at once in states that are made from now on."""
    def chosen_forks(self, threads: int) -> list[int]: ...
    @property
    def isa(self) -> str: ...
    @property
    def cut_maps(self) -> list[int]: ...
    def op_macs(self) -> list[int]: ...

class Threads:
    def __init__(self, count: int) -> None: ...
    @property
    def count(self) -> int: ...

class State:
    tolerance: float
    def __init__(self, plan: Plan, threads: Threads, dense_only: bool, tolerance: float) -> None: ...
    def set_table(self, input: int, table: Floats, order: Ints) -> None:
        """The input may be frames of bytes (H, W, C), C up to 4: channel c is table[c, frame[..., order[c]]]."""
    def step(
        self,
        inputs: Sequence[Floats | None],
        outputs: Sequence[Floats | None] = [],
        frames: Sequence[NDArray[np.uint8] | None] = [],
        slots: Sequence[int] = [],
    ) -> None:
        """outputs: arrays to write to, one per output, where the state is a stream's, of which some may be None, or
        dense-only and the plan sealed so; none: they are dropped.
        frames: of an input that has a table, instead of its array in `inputs`; of any strides.
        slots: of a stream, 0 or 1 per output: its array is written to where the output changed, and then only those
        pixels of it that moved since it was written to last as the array of that slot."""
    def renew(self, output: int, slot: int) -> None:
        """The slot has another array from now on, all of which is to be written. To be said of a slot's first, too."""
    def read(self, output: int, array: Floats) -> None: ...
    def reset(self) -> None: ...
    @property
    def bytes(self) -> int: ...
    @property
    def recomputed_macs(self) -> int: ...
    @property
    def was_dense(self) -> bool: ...
    def changed(self, output: int) -> bool: ...
    def stale(self, x: int) -> Bools: ...
    def todo(self, op: int) -> Bools:
        """Of an op that was absorbed: its reader's."""
    def array(self, x: int) -> NDArray[Any]:
        """float32, or uint8 of a map of codes."""
    def deviation(self, x: int) -> Floats:
        """Of a map of codes: in codes, as set_weights takes its weights."""
    def set_weights(self, x: int, weights: Floats) -> None: ...
    def profile(self, on: bool) -> None: ...
    def op_seconds(self) -> list[float]: ...
