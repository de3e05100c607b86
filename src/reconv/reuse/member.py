"""One of several models, seen by digest: what it computes in common with others has the same name in all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from reconv.engine import Model, load
from reconv.graph import Graph, Node, draws_at_random, extract, reads, structure
from reconv.graph.cost import multiply_adds
from reconv.graph.shapes import element_types, infer
from reconv.reuse.mincut import Op

__all__ = ["Kept", "Member", "Part", "Sizes", "Source"]

Shape = tuple[int | str | None, ...]
Source = bytes | int  # where a part finds an input: a kept value by digest, or a place among the models' inputs


@dataclass(frozen=True)
class Kept:
    """A value that can be kept between two parts: its shape with None where it is free, its type, and its bytes for
    one item of the sizes that the cut was made for."""

    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]
    bytes: int


@dataclass(frozen=True)
class Part:
    """A piece of a model, ready to run: its inputs with where they come from, and its outputs, by name."""

    model: Model
    feeds: tuple[tuple[str, Source], ...]
    outputs: tuple[str, ...]

    def run(self, value: Callable[[Source], np.ndarray[Any, Any]]) -> tuple[Any, ...]:
        """The outputs in order, for inputs that are looked up now."""
        made = self.model.run({name: value(source) for name, source in self.feeds})
        return tuple(made[name] for name in self.outputs)


class Member:
    """A model, its values and ops by digest."""

    def __init__(self, graph: Graph, inputs: Sequence[str]) -> None:
        """
        Args:
            graph: the model.
            inputs: its inputs in the order in which all members have them; "" where it has none at that place.
        """
        self.graph = graph
        self.inputs = tuple(inputs)
        self.digests = structure(graph, inputs)
        wanted = {info.name for info in graph.outputs}
        self.live = {info.name for info in graph.inputs}  # depends on an input; the rest is constant
        self.nodes: dict[bytes, Node] = {}  # that can be shared: live, needed, and with the same result every time
        random: set[str] = set()
        needed = set()
        for node in reversed(graph.nodes):
            if wanted.intersection(node.outputs):
                needed.add(node.name)
                wanted.update(node.reads)
        for node in graph.nodes:
            if random.intersection(node.reads) or draws_at_random(node, graph):
                random.update(node.outputs)
            elif node.name in needed and self.live.intersection(node.reads):
                self.nodes.setdefault(self.digests.nodes[node.name], node)
            else:
                continue
            self.live.update(name for name in node.outputs if name)
        self.needed = [node for node in graph.nodes if node.name in needed]

    def value(self, name: str) -> bytes:
        return self.digests.values[name]

    def outside(self, stem: frozenset[bytes] | set[bytes]) -> set[bytes]:
        """Values that are outputs of the model, or read by nodes that are not among these."""
        nodes = (node for node in self.needed if self.digests.nodes[node.name] not in stem)
        read = {name for node in nodes for name in node.reads if name in self.live}
        return {self.value(name) for name in read | {info.name for info in self.graph.outputs}}

    def places(self, digests: Sequence[bytes]) -> tuple[int, ...]:
        """Places of the inputs that these values depend on."""
        name_of = {digest: name for name, digest in self.digests.values.items()}
        names = [name_of[digest] for digest in digests]
        used = reads(self.graph, [name for name in self.inputs if name], names)[1]
        return tuple(i for i, name in enumerate(self.inputs) if name in used)

    def part(self, kept: Mapping[bytes, Kept], outputs: Sequence[str], threads: int | None) -> Part:
        """What computes the named outputs from the inputs and from values that are kept.

        Raises:
            ModelError: the part does not fit into one protobuf message (2 GB).
        """
        names = [name for name, digest in self.digests.values.items() if digest in kept and name in self.live]
        _, used = reads(self.graph, [*(name for name in self.inputs if name), *names], outputs)
        shapes: dict[str, Shape] = {info.name: info.shape for info in self.graph.inputs if info.shape}
        shapes |= {name: kept[self.value(name)].shape for name in names}
        types = {name: kept[self.value(name)].dtype for name in names}
        places = {name: i for i, name in enumerate(self.inputs)}
        model = load(extract(self.graph, used, outputs, shapes, types=types), threads=threads)
        feeds = tuple((name, places.get(name, self.value(name))) for name in used)
        return Part(model, feeds, tuple(outputs))


class Sizes:
    """Work and bytes of a member's ops and values, for inputs of given sizes."""

    def __init__(self, member: Member, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._member = member
        self._inputs = shapes

    def op(self, digest: bytes) -> Op:
        member = self._member
        node = member.nodes[digest]
        return Op(
            digest,
            tuple(dict.fromkeys(member.value(name) for name in node.reads if name in member.live)),
            tuple(member.value(name) for name in node.outputs if name),
            self.multiply_adds(node) + max(1, sum(self._elements(name) for name in node.outputs if name)),
        )

    def multiply_adds(self, node: Node) -> int:
        return multiply_adds(node, self._shapes) or 0

    def kept(self, digests: Iterable[bytes]) -> dict[bytes, Kept]:
        """Those of these values that can be kept: tensors of two axes or more, whose size is known, with items along
        the first axis if that is free. The engine wants to know vectors and scalars, sizes mostly, ahead."""
        wanted = set(digests)
        batches = {shape[0] for shape in self._inputs.values() if shape}
        found = {}
        for name, digest in self._member.digests.values.items():
            shape, dtype = self._shapes.get(name, ()), self._types.get(name)
            if digest not in wanted or dtype is None or dtype.hasobject or len(shape) < 2 or None in shape:
                continue
            free = self._free.get(name, (None,) * len(shape))
            if free[0] is None and len(batches) == 1 and shape[0] not in batches:
                continue
            found[digest] = Kept(free, dtype, prod(size or 0 for size in shape) * dtype.itemsize)
        return found

    def _elements(self, name: str) -> int:
        shape = self._shapes.get(name, (None,))
        return 0 if None in shape else prod(size or 0 for size in shape)

    @cached_property
    def _shapes(self) -> dict[str, tuple[int | None, ...]]:
        shapes, graph = infer(self._whole(self._inputs)), self._member.graph
        if any(None in shapes.get(name, (None,)) for node in self._member.needed for name in node.outputs if name):
            # the engine's arithmetic on sizes goes further than ONNX's inference
            placed = zip(graph.nodes, Model(graph, threads=1).placement(self._inputs), strict=True)
            shapes |= {n.outputs[0]: p.shape for n, p in placed if p.shape is not None and None not in p.shape}
        return shapes

    @cached_property
    def _declared(self) -> bytes:
        return self._whole({info.name: info.shape for info in self._member.graph.inputs if info.shape})

    @cached_property
    def _free(self) -> dict[str, tuple[int | None, ...]]:
        return infer(self._declared)

    @cached_property
    def _types(self) -> dict[str, np.dtype[Any]]:
        return element_types(self._declared)

    def _whole(self, shapes: Mapping[str, Shape]) -> bytes:
        graph = self._member.graph
        names = [info.name for info in graph.inputs]
        outputs = [info.name for info in graph.outputs if info.name not in {*names, *graph.constants}]
        return extract(graph, names, outputs, shapes)
