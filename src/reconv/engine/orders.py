"""The loop order of each convolution: pixels outside or channels outside, and in which blocks.

A convolution is three nested loops: over pixels, over tiles of output channels, over the window. Each value of the
result is one sum, whose terms every order adds in the same sequence, so all orders give the same bits; they differ in
what stays in the caches and in what threads share:

- ``pixels``: threads share the pixels. A few blocks of pixels are open together and pass over one tile of weights after
  the other. Right where there are many pixels.
- ``channels``: threads share the output channels. All pixels (up to 64 blocks of them) pass over a thread's tiles, so
  that each weight is read by one thread only. Right where there are few pixels and many weights: the last layers of a
  classifier, a matrix product.

``blocks`` is how many blocks of pixels are open together, ``part`` how many floats of a tile's weights they pass over
before the next ones (0: the whole window).

A fork is where branches of the network do not depend on one another (an inception block, two heads). By default they
run one after the other, each op on all threads; chosen, they run at once, each on a thread of its own, in dense runs
without a limit of memory. That too changes no bit.

The default is a rule of thumb of the core; `reconv.engine.quickest` measures what is best. `Kernels` is what was found,
as a file: JSON, ``{"format": "reconv kernels 1", "cpu": "...", "instructions": "v4", "threads": 2, "layers": {"7x7x512
to 7x7x2048, 1x1 ...": ["channels", 64, 6144]}, "forks": {"4 branches, 8 ops, 51c2...": true}}``. It names the machine
that it is for, and fits every model whose convolutions it knows.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from reconv import _core
from reconv.engine.document import read_document
from reconv.engine.machine import cpu_model
from reconv.errors import ProfileError

__all__ = [
    "FORMAT",
    "KernelSource",
    "Kernels",
    "Order",
    "apply",
    "check_machine",
    "forks_of",
    "kernels_of",
    "layers_of",
    "order_of",
    "read_kernels",
    "set_order",
]

FORMAT = "reconv kernels 1"
OUTSIDE = ("pixels", "channels")
MOST_BLOCKS, MOST_PART = 64, 2**31 - 1  # the core's own limits
AGAIN = 'load the model with kernels="measured", run it and write a new one with save_kernels'


@dataclass(frozen=True)
class Order:
    """How one convolution goes through its work; see the module."""

    outside: str
    blocks: int
    part: int

    def __post_init__(self) -> None:
        if self.outside not in OUTSIDE:
            raise ProfileError(f"loop order {self.outside!r} is unknown, expected pixels or channels")
        for name, low, high in (("blocks", 1, MOST_BLOCKS), ("part", 0, MOST_PART)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise ProfileError(f"{name} is {value!r}, expected a whole number from {low} to {high}")


@dataclass(frozen=True)
class Kernels:
    """Loop orders by layer, whether branches run at once by fork, and the machine that both are for."""

    cpu: str
    instructions: str
    threads: int
    layers: Mapping[str, Order]
    forks: Mapping[str, bool] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The content of a file."""
        machine = {"cpu": self.cpu, "instructions": self.instructions, "threads": self.threads}
        layers = {name: [order.outside, order.blocks, order.part] for name, order in self.layers.items()}
        return {"format": FORMAT, **machine, "layers": layers, "forks": dict(self.forks)}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a file."""
        Path(path).write_text(json.dumps(self.to_json(), indent=1) + "\n", encoding="utf-8")


KernelSource: TypeAlias = Kernels | Mapping[str, Any] | str | os.PathLike[str]


def read_kernels(source: KernelSource) -> Kernels:
    """Loop orders from a file or from what the file's JSON holds; `Kernels` are returned as they are.

    Raises:
        ProfileError: no such file, not JSON, another format, or an entry that does not make sense.
    """
    if isinstance(source, Kernels):
        return source
    where, source = read_document(source, "kernel profile", "a kernel profile", FORMAT)
    expected = {"format": str, "cpu": str, "instructions": str, "threads": int, "layers": Mapping, "forks": Mapping}
    if wrong := sorted(source.keys() ^ expected.keys()):
        raise ProfileError(f"{where} has missing or unknown entries: {', '.join(wrong)}")
    for name, kind in expected.items():
        if not isinstance(source[name], kind):
            raise ProfileError(f"{where}: {name} is {source[name]!r}, expected a {kind.__name__.lower()}")
    layers = {}
    for layer, entry in source["layers"].items():
        if not isinstance(entry, list) or len(entry) != 3:
            raise ProfileError(f'{where}, layer {layer!r}: expected ["pixels" or "channels", blocks, part]')
        try:
            layers[layer] = Order(*entry)
        except ProfileError as error:
            raise ProfileError(f"{where}, layer {layer!r}: {error}") from error
    if wrong := [fork for fork, chosen in source["forks"].items() if not isinstance(chosen, bool)]:
        raise ProfileError(f"{where}, fork {wrong[0]!r}: expected true or false")
    return Kernels(source["cpu"], source["instructions"], source["threads"], layers, dict(source["forks"]))


def check_machine(source: KernelSource, threads: int) -> Kernels:
    """What `read_kernels` gives, if it is for this machine and so many threads.

    Raises:
        ProfileError: as `read_kernels`, or the CPU, the instruction set or the number of threads is another.
    """
    found = read_kernels(source)
    for what, theirs, ours in (
        ("CPU", found.cpu, cpu_model()),
        ("instruction set", found.instructions, _core.default_isa()),
        ("number of threads", found.threads, threads),
    ):
        if theirs != ours:
            raise ProfileError(f"{_name(source)} was measured for the {what} {theirs}, here it is {ours}: {AGAIN}")
    return found


def apply(plan: _core.Plan, kernels: Kernels, source: KernelSource) -> None:
    """Set the orders and forks of a plan that no state uses yet; ``source`` is where they come from.

    A fork that is not among them (measured under a limit of memory, say) stays as it is by default.

    Raises:
        ProfileError: a convolution is not among them.
    """
    layers = layers_of(plan)
    if unknown := [layer for layer in layers.values() if layer not in kernels.layers]:
        raise ProfileError(
            f"{_name(source)} does not fit the model at this size: it has nothing for {len(unknown)} of {len(layers)} "
            f'convolutions, such as "{unknown[0]}": {AGAIN}'
        )
    for op, layer in layers.items():
        set_order(plan, op, kernels.layers[layer])
    chosen = [i for i, fork in enumerate(forks_of(plan, kernels.threads)) if kernels.forks.get(fork, False)]
    if chosen:
        plan.set_forks(chosen, kernels.threads)


def kernels_of(plans: Iterable[_core.Plan], threads: int) -> Kernels:
    """The orders and forks that are set in these plans."""
    plans = list(plans)
    layers = {layer: order_of(plan, op) for plan in plans for op, layer in layers_of(plan).items()}
    forks = {f: i in p.chosen_forks(threads) for p in plans for i, f in enumerate(forks_of(p, threads))}
    return Kernels(cpu_model(), _core.default_isa(), threads, layers, forks)


def layers_of(plan: _core.Plan) -> dict[int, str]:
    """The ops that have an order, and the sizes that decide which one is the quickest."""
    return {op: plan.layer(op) for op in range(len(plan.op_macs())) if plan.order(op) is not None}


def forks_of(plan: _core.Plan, threads: int) -> list[str]:
    """The forks for so many threads in order, named by a digest of the layers and multiply-adds of their branches."""
    macs = plan.op_macs()
    names = []
    for fork in plan.forks(threads):
        content = [[(plan.layer(op), macs[op]) for op in branch] for branch in fork]
        digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
        names.append(f"{len(fork)} branches, {sum(map(len, fork))} ops, {digest}")
    return names


def order_of(plan: _core.Plan, op: int) -> Order:
    """The order of one of `layers_of`."""
    order = plan.order(op)
    assert order is not None
    return Order(*order)


def set_order(plan: _core.Plan, op: int, order: Order) -> None:
    """Set the order of one of `layers_of`, in a plan that no state is stepping."""
    plan.set_order(op, order.outside, order.blocks, order.part)


def _name(source: KernelSource) -> str:
    return f"kernel profile {os.fspath(source)}" if isinstance(source, str | os.PathLike) else "the kernel profile"
