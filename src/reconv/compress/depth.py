"""Whole residual blocks removed: a branch beside a skip connection goes, and what is behind reads the skip itself.

Where kernels cost as much for 8 channels as for 16, fewer channels save nothing and fewer layers do. Which block
matters least is asked of the model: each is left out in turn, on samples, and the one without which the outputs move
least goes first (Veit et al., Residual Networks Behave Like Ensembles of Relatively Shallow Networks, 2016, on why one
may).
Training afterwards (`reconv.compress.train.distil`) makes up for it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reconv.compress.forward import Array, Feeds, Forward, values_of
from reconv.compress.result import Compressed, Entry, LayerReport, Report
from reconv.errors import InputError, ModelError
from reconv.graph import Graph, Node, remade

__all__ = ["DROP_BLOCKS", "Block", "drop_blocks", "find_blocks"]


@dataclass(frozen=True)
class Block:
    """A residual block. name: of the Add that closes it; skip: the value that goes around; branch: names of the nodes
    beside it, which nothing else reads."""

    name: str
    skip: str
    branch: tuple[str, ...]


def find_blocks(graph: Graph) -> list[Block]:
    """The residual blocks of a graph, in its order. Whether both sides have one shape is not known here."""
    makers = {name: node for node in graph.nodes for name in node.outputs if name}
    readers: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in node.reads:
            readers.setdefault(name, []).append(node)
    outputs = {info.name for info in graph.outputs}
    return [
        block
        for node in graph.nodes
        if node.op_type == "Add" and not node.domain and node.outputs[0] not in outputs
        for block in _closed(node, makers, readers, outputs)
    ]


def _closed(
    add: Node, makers: Mapping[str, Node], readers: Mapping[str, list[Node]], outputs: AbstractSet[str]
) -> Iterator[Block]:
    """The block that an Add closes, if it does."""
    for skip, other in (add.inputs, add.inputs[::-1]):
        found: dict[str, Node] = {}
        pending, from_skip = [other], False
        while pending:
            name = pending.pop()
            if name == skip:
                from_skip = True
            elif name in makers and makers[name].name not in found:
                found[makers[name].name] = makers[name]
                pending.extend(makers[name].reads)
        inside = {*found, add.name}
        made = [name for node in found.values() for name in node.outputs if name]
        alone = all(reader.name in inside for name in made for reader in readers.get(name, ()))
        if from_skip and found and alone and not outputs & set(made):
            yield Block(add.name, skip, tuple(found))
            return


def drop_blocks(
    graph: Graph,
    samples: Sequence[Feeds],
    forward: Forward,
    *,
    count: int = 1,
    blocks: Sequence[str] | None = None,
    keep: Collection[str] = (),
) -> Compressed:
    """The graph with ``count`` fewer residual blocks, those that matter least first.

    Args:
        graph: a float model.
        samples: inputs as the model will meet them; every block is left out on all of them.
        forward: runs a graph.
        count: how many blocks go.
        blocks: names (of their Add nodes) of those that go instead, whatever they matter.
        keep: names of those that stay.

    Raises:
        InputError: no samples, or a name that is no block's.
        ModelError: there are fewer blocks than are to go, or the graph is quantized.
    """
    if any(node.op_type == "DequantizeLinear" for node in graph.nodes):
        raise ModelError("the graph is quantized: drop blocks of the float model, then quantize")
    if count < 1:
        raise InputError(f"count is {count}, expected at least one block to drop")
    known = {block.name for block in _equal(graph, samples[:1], forward)}
    if unknown := [name for name in (*(blocks or ()), *keep) if name not in known]:
        raise InputError(f"{unknown[0]!r} closes no residual block; those are {', '.join(sorted(known)) or 'none'}")
    outputs = [info.name for info in graph.outputs]
    wanted = [[each[name] for name in outputs] for each in values_of(forward, graph, outputs, samples)]
    made, layers = graph, []
    for place in range(len(blocks) if blocks is not None else count):
        found = [block for block in _equal(made, samples[:1], forward) if block.name not in keep]
        if blocks is not None:
            found = [block for block in found if block.name == blocks[place]]
        if not found:
            raise ModelError(f"only {place} residual blocks can be dropped here, not {count}")
        tried = [(_moved(_without(made, block), samples, forward, outputs, wanted), block) for block in found]
        moved, block = min(tried, key=lambda pair: pair[0])
        made = _without(made, block)
        layers.append(LayerReport(block.name, {"nodes": len(block.branch), "outputs_moved": moved}))
    settings = {"count": count, "blocks": blocks, "keep": sorted(keep), "samples": len(samples)}
    return Compressed(made, Report.of("drop_blocks", graph, made, settings=settings, layers=layers))


def _equal(graph: Graph, samples: Sequence[Feeds], forward: Forward) -> list[Block]:
    """The blocks whose two sides have the same shape: without broadcasting."""
    blocks = find_blocks(graph)
    adds = {node.name: node for node in graph.nodes}
    names = [name for block in blocks for name in (*adds[block.name].inputs, adds[block.name].outputs[0])]
    (values,) = values_of(forward, graph, names, samples)
    return [block for block in blocks if len({values[name].shape for name in adds[block.name].inputs}) == 1]


def _without(graph: Graph, block: Block) -> Graph:
    """The graph without a block. What read its sum reads the skip; a Relu of what is a Relu already goes too."""
    nodes = {node.name: node for node in graph.nodes}
    relus = {name for node in graph.nodes if node.op_type == "Relu" for name in node.outputs}
    outputs = {info.name for info in graph.outputs}
    instead = {nodes[block.name].outputs[0]: block.skip}
    changed: dict[str, Sequence[Node]] = dict.fromkeys((block.name, *block.branch), ())
    for node in graph.nodes:  # in order, so that a Relu that goes is known before its readers
        if node.name in changed or not any(name in instead for name in node.inputs):
            continue
        inputs = tuple(instead.get(name, name) for name in node.inputs)
        if node.op_type == "Relu" and inputs[0] in relus and node.outputs[0] not in outputs:
            instead[node.outputs[0]] = inputs[0]
            changed[node.name] = ()
        else:
            changed[node.name] = (replace(node, inputs=inputs),)
    return remade(graph, changed, {})


def _moved(
    graph: Graph, samples: Sequence[Feeds], forward: Forward, outputs: Sequence[str], wanted: Sequence[Sequence[Array]]
) -> float:
    """How far the outputs are from those wanted: squared, in units of the variance of each over all samples."""
    total = [0.0] * len(outputs)
    for found, right in zip(values_of(forward, graph, outputs, samples), wanted, strict=True):
        for place, name in enumerate(outputs):
            total[place] += float(np.square(found[name] - right[place], dtype=np.float64).mean())
    spread = [float(np.var([each[place] for each in wanted], dtype=np.float64)) for place in range(len(outputs))]
    return sum(t / len(samples) / max(s, 1e-12) for t, s in zip(total, spread, strict=True)) / len(outputs)


def _ladder(graph: Graph) -> Iterator[Mapping[str, Any]]:
    most = len(find_blocks(graph))
    yield from ({"count": count} for count in range(1, 1 + min(most, 3)))


DROP_BLOCKS = Entry("drop_blocks", frozenset({"samples"}), drop_blocks, _ladder)
