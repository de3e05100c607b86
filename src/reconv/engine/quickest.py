"""Which loop orders are the quickest here, and where branches should run at once: measured, remembered for the process.

All candidates are timed inside dense runs of the whole plan on noise, every layer at once, so that the caches hold what
they hold in use: alone, a layer would find its weights in the second cache, where a real run has long replaced them.
The best of each layer has to beat the default clearly, and then again in a second measurement, of all winners together
beside the default; otherwise the default stays. Then the same is done for the forks, whose branches run one after the
other by default, every op on all threads. Layers are remembered by their sizes, kernel, strides and groups, forks by
their layers; both by instruction set and number of threads.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from reconv import _core
from reconv.engine.lower import Lowered
from reconv.engine.orders import KernelSource, Order, apply, check_machine, forks_of, layers_of, order_of, set_order

__all__ = ["CANDIDATES", "Choose", "Memo", "chooser", "measure"]

LEAST_MACS = 300_000  # of a layer: a smaller one runs on one thread, in microseconds
BUDGET_SECONDS = 4.0  # for one plan, unless its runs are so slow that LEAST_TIMINGS take longer
LEAST_TIMINGS = 14
ROUNDS, LEAST_ROUNDS, CONFIRMING_ROUNDS = 7, 2, 4
CLEAR, CONFIRMED = 0.97, 0.99  # of the default's time: what another order has to come down to

# In the order of what they have been worth: a slow model has time for the first ones only.
CANDIDATES = (
    Order("channels", 64, 6144),
    Order("pixels", 64, 6144),
    Order("pixels", 8, 0),
    Order("pixels", 16, 0),
    Order("pixels", 8, 6144),
    Order("channels", 64, 0),
    Order("pixels", 4, 0),
    Order("channels", 16, 6144),
)

Times: TypeAlias = NDArray[np.float64]
Choose: TypeAlias = Callable[[Lowered, _core.Threads], None]
Key: TypeAlias = tuple[str, str, int]


@dataclass
class Memo:
    """What was measured, by layer or fork, instruction set and number of threads. May be used by several threads."""

    orders: dict[Key, Order] = field(default_factory=dict)
    forks: dict[Key, bool] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


PROCESS = Memo()


@dataclass(frozen=True)
class Setting:
    """The orders of ops, and the forks whose branches run at once."""

    orders: Mapping[int, Order]
    forks: tuple[int, ...] = ()


def chooser(kernels: KernelSource, threads: int) -> Choose | None:
    """What sets the orders and forks of a new plan; None leaves the default.

    Args:
        kernels: "default", "measured", or what `reconv.engine.orders.read_kernels` takes.
        threads: that the plan will run on.

    Raises:
        ProfileError: the file cannot be read, or was measured on another machine or number of threads.
    """
    if isinstance(kernels, str) and kernels == "default":
        return None
    if isinstance(kernels, str) and kernels == "measured":
        return measure
    found = check_machine(kernels, threads)

    def choose(lowered: Lowered, _: _core.Threads) -> None:
        apply(lowered.plan, found, kernels)

    return choose


def measure(
    lowered: Lowered, team: _core.Threads, memo: Memo = PROCESS, budget_seconds: float = BUDGET_SECONDS
) -> None:
    """Set the quickest orders and forks of a plan that no state uses yet, timing what ``memo`` does not know.

    Takes up to ``budget_seconds`` for either, or about 30 dense runs where these take longer, and the memory of a dense
    run or two.
    """
    plan = lowered.plan
    with memo.lock:  # two measurements at once would disturb each other
        layers = layers_of(plan)
        key = {layer: (layer, plan.isa, team.count) for layer in layers.values()}
        macs = plan.op_macs()
        unknown = {op: x for op, x in layers.items() if key[x] not in memo.orders and macs[op] >= LEAST_MACS}
        if unknown:
            found = _orders(_Clock(lowered, team), plan, unknown, team.count, budget_seconds)
            memo.orders.update((key[layer], order) for layer, order in found.items())
        for op, layer in layers.items():
            if key[layer] in memo.orders:
                set_order(plan, op, memo.orders[key[layer]])
        forks = [(name, plan.isa, team.count) for name in forks_of(plan, team.count)] if team.count > 1 else []
        if any(fork not in memo.forks for fork in forks):
            for fork, good in zip(forks, _forks(_Clock(lowered, team), plan, team.count, budget_seconds), strict=True):
                memo.forks.setdefault(fork, good)
        plan.set_forks([i for i, fork in enumerate(forks) if memo.forks[fork]], team.count)


def _orders(
    clock: _Clock, plan: _core.Plan, layers: Mapping[int, str], threads: int, budget: float
) -> dict[str, Order]:
    """The quickest order of each layer; ``layers`` has the ops to be timed."""
    names = list(dict.fromkeys(layers.values()))
    default = {op: order_of(plan, op) for op in layers}
    timings = _timings(clock, budget)
    candidates = [order for order in CANDIDATES if threads > 1 or order.outside == "pixels"]
    rounds = max(min(timings // (1 + len(candidates)), ROUNDS), LEAST_ROUNDS)
    candidates = candidates[: timings // rounds - 1]

    def together(best: Sequence[int]) -> Setting:
        at = dict(zip(names, best, strict=True))
        return Setting({op: candidates[at[x] - 1] if at[x] else default[op] for op, x in layers.items()})

    settings = [Setting(default), *(Setting(dict.fromkeys(layers, order)) for order in candidates)]
    groups = [[op for op, layer in layers.items() if layer == name] for name in names]
    chosen = together(_chosen(clock, settings, together, groups, rounds)).orders
    for op, order in default.items():
        set_order(plan, op, order)
    return {layer: chosen[op] for op, layer in layers.items()}


def _forks(clock: _Clock, plan: _core.Plan, threads: int, budget: float) -> list[bool]:
    """Which forks are quicker with their branches at once."""
    groups = [[op for branch in fork for op in branch] for fork in plan.forks(threads)]

    def together(best: Sequence[int]) -> Setting:
        return Setting({}, tuple(i for i, good in enumerate(best) if good))

    rounds = max(min(_timings(clock, budget) // 2, ROUNDS), LEAST_ROUNDS)
    settings = [Setting({}), together([1] * len(groups))]
    return [bool(good) for good in _chosen(clock, settings, together, groups, rounds)]


def _timings(clock: _Clock, budget: float) -> int:
    """How many timings of one setting there is time for, those that confirm apart."""
    return max(int(budget / (2 * clock.step_seconds)), LEAST_TIMINGS) - 2 * CONFIRMING_ROUNDS


def _chosen(
    clock: _Clock,
    settings: Sequence[Setting],
    together: Callable[[Sequence[int]], Setting],
    groups: Sequence[Sequence[int]],
    rounds: int,
) -> list[int]:
    """The setting of each group of ops, 0 (the default) unless another is clearly better and is so again.

    ``together`` makes one setting out of one choice per group.
    """
    first = clock.times(settings, groups, rounds)
    best = np.where(first.min(axis=0) < CLEAR * first[0], first.argmin(axis=0), 0)
    if not best.any():
        return [0] * len(groups)
    second = clock.times([settings[0], together([int(b) for b in best])], groups, CONFIRMING_ROUNDS)
    return [int(b) for b in np.where(second[1] < CONFIRMED * second[0], best, 0)]


class _Clock:
    """Dense runs on noise, timed by groups of ops: a group's time is the sum of theirs."""

    def __init__(self, lowered: Lowered, team: _core.Threads) -> None:
        self._plan, self._team = lowered.plan, team
        self._states: dict[tuple[int, ...], _core.State] = {}
        random = np.random.default_rng(0)
        self._feeds = [random.random(border.shape, np.float32) for border in lowered.inputs]
        state = self._state(())
        state.step(self._feeds)
        start = time.perf_counter()
        state.step(self._feeds)
        self.step_seconds = time.perf_counter() - start

    def times(self, settings: Sequence[Setting], groups: Sequence[Sequence[int]], rounds: int) -> Times:
        """(settings, groups): median seconds; the settings take turns."""
        found: Times = np.empty((rounds, len(settings), len(groups)))
        for turn in range(rounds):
            for i in range(len(settings)):
                at = (i + turn) % len(settings)
                for op, order in settings[at].orders.items():
                    set_order(self._plan, op, order)
                state = self._state(settings[at].forks)
                state.step(self._feeds)  # leaves in the caches what this setting leaves there
                state.profile(True)
                state.step(self._feeds)
                seconds = np.array(state.op_seconds())
                found[turn, at] = [seconds[list(ops)].sum() for ops in groups]
        return cast(Times, np.median(found, axis=0))

    def _state(self, forks: tuple[int, ...]) -> _core.State:
        if forks not in self._states:
            self._plan.set_forks(list(forks), self._team.count)
            self._states[forks] = _core.State(self._plan, self._team, True, 0.0)
        return self._states[forks]
