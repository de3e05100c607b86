"""Put other nodes in the place of some, and write the result as ONNX.

A `Rewrite` is data: the nodes taken out, those that come in, and the constants that they bring. What leaves it keeps
its name: every value of ``before`` that something else reads, or that is an output of the model, has to be made by
``after`` under the same name. `rewritten` checks that and gives a new `Graph`; the one it was given does not change, so
that a search can go back. Only its nodes and constants differ: the onnx-ir model behind it stays that of the file, and
`to_onnx` carries out on a copy of it, at the end, what has become of its nodes. Tensors are shared, not copied, and
metadata, functions and the bodies of If, Loop and Scan stay what they were.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from reconv.errors import ModelError, one_line
from reconv.graph.graph import Graph, Node

__all__ = ["Rewrite", "rewritten", "save", "to_ir", "to_onnx", "with_constants"]

Array = np.ndarray[Any, Any]
LARGEST = (2 << 30) - (64 << 20)  # bytes of weights in one file: protobuf's limit, less room for the graph


@dataclass(frozen=True, eq=False)
class Rewrite:
    """``after`` (in topological order) in the place of ``before``; ``constants`` are new ones that ``after`` reads."""

    before: tuple[Node, ...]
    after: tuple[Node, ...]
    constants: Mapping[str, Array] = field(default_factory=dict)

    @property
    def reads(self) -> tuple[str, ...]:
        """What either side reads from outside, its own new constants left out."""
        inside = {name for node in (*self.before, *self.after) for name in node.outputs}
        read = dict.fromkeys(name for node in (*self.before, *self.after) for name in node.reads)
        return tuple(name for name in read if name not in inside and name not in self.constants)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Values that both sides make: what the rest of the model may go on reading."""
        made = {name for node in self.after for name in node.outputs}
        return tuple(name for node in self.before for name in node.outputs if name and name in made)


def rewritten(graph: Graph, rewrite: Rewrite) -> Graph:
    """The graph with the rewrite done.

    Raises:
        ModelError: ``before`` is not of this graph, a value that is still needed would be lost, a name is taken, or a
            node would depend on itself. These are mistakes of whoever made the rewrite.
    """
    _check(graph, rewrite)
    gone = {node.name for node in rewrite.before}
    place = next((i for i, node in enumerate(graph.nodes) if node.name in gone), len(graph.nodes))
    rest = [node for node in graph.nodes[place:] if node.name not in gone]
    nodes = _ordered([*graph.nodes[:place], *rewrite.after, *rest])
    constants = {**graph.constants, **{name: np.asarray(a) for name, a in rewrite.constants.items()}}
    read = {name for node in nodes for name in node.reads} | {info.name for info in graph.outputs}
    return replace(graph, nodes=nodes, constants={k: v for k, v in constants.items() if k in read})


def _ordered(nodes: list[Node]) -> tuple[Node, ...]:
    """In topological order, each node where it stands or as soon after as what it reads allows.

    Raises:
        ModelError: a node depends on itself.
    """
    producer = {name: node for node in nodes for name in node.outputs if name}
    done: dict[str, Node] = {}
    open_names: set[str] = set()
    for start in nodes:
        pending = [start]
        while pending:
            node = pending[-1]
            if node.name in done:
                pending.pop()
                continue
            above = [producer[name] for name in node.reads if name in producer]
            waiting = [other for other in above if other.name not in done]
            if not waiting:
                done[node.name] = node
                open_names.discard(node.name)
                pending.pop()
            elif node.name in open_names:
                raise ModelError(f"the rewrite makes {node.name!r} ({node.op_type}) depend on itself")
            else:
                open_names.add(node.name)
                pending.extend(waiting)
    return tuple(done.values())


def with_constants(graph: Graph, constants: Mapping[str, Array]) -> Graph:
    """The graph with other values for some of its constants.

    Raises:
        ModelError: a name is not a constant's.
    """
    if unknown := [name for name in constants if name not in graph.constants]:
        raise ModelError(f"the model has no constant {unknown[0]!r}")
    model = graph.source.clone()
    made = {node.outputs[0].name: node for node in model.graph if node.op_type == "Constant"}
    for name, array in constants.items():
        if name in model.graph.initializers:
            model.graph.initializers[name].const_value = ir.tensor(np.asarray(array, order="C"), name=name)
        else:
            attributes = made[name].attributes
            attributes.clear()
            attributes["value"] = ir.AttrTensor("value", ir.tensor(np.asarray(array, order="C")))
    return replace(graph, constants={**graph.constants, **constants}, source=model)


def to_onnx(graph: Graph) -> onnx.ModelProto:
    """The graph as an ONNX model, without constants that nothing reads.

    Weights that the file lists as inputs are constants here, and are no longer inputs in what is written.

    Raises:
        ModelError: it cannot be written; more than 2 GB fit into a file only by `save`.
    """
    try:
        return ir.to_proto(_built(graph))
    except Exception as error:  # protobuf's limits
        raise ModelError(f"the model cannot be written: {one_line(error)}") from error


def save(graph: Graph, path: str | os.PathLike[str]) -> None:
    """Write the graph to a file; where one file cannot hold it, the weights go into ``<path>.data`` beside it.

    Raises:
        ModelError: the folder does not exist, or the file cannot be written.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise ModelError(f"cannot write {target}: the folder {target.parent} does not exist")
    large = sum(array.nbytes for array in graph.constants.values()) > LARGEST
    try:
        ir.save(_built(graph), target, external_data=f"{target.name}.data" if large else None)
    except Exception as error:
        raise ModelError(f"cannot write {target}: {one_line(error)}") from error


def _built(graph: Graph) -> ir.Model:
    """The onnx-ir model of the file with the graph's nodes, and without constants that nothing reads."""
    model = graph.source.clone()
    inner = model.graph
    _carry_out(graph, inner)
    outputs = {id(value) for value in inner.outputs}
    for node in list(inner):
        unused = all(not v.uses() and id(v) not in outputs for v in node.outputs)
        if node.op_type == "Constant" and unused:
            inner.remove(node, safe=True)
    for value in [v for v in inner.inputs if v.name in inner.initializers]:
        inner.inputs.remove(value)
    for name, value in list(inner.initializers.items()):
        if not value.uses() and id(value) not in outputs:
            del inner.initializers[name]
    return model


def _carry_out(graph: Graph, inner: ir.Graph) -> None:
    """Take out the nodes that the graph no longer has, and put in those that it has besides."""
    file = {node.name: node for node in inner}
    known = {node.name for node in graph.nodes}
    made = [node for node in graph.nodes if node.name not in file]
    gone = [node for name, node in file.items() if name not in known and node.op_type != "Constant"]
    if not made and not gone:
        return
    values: dict[str, ir.Value] = {v.name: v for v in inner.inputs if v.name}
    values |= dict(inner.initializers.items())
    values |= {v.name: v for node in inner for v in node.outputs if v.name}
    for name, array in graph.constants.items():
        if name not in values:
            values[name] = _constant(inner, name, array)
    replaced = {}
    for node in made:
        new = to_ir(node, values)
        for value in new.outputs:
            name = value.name or ""
            if name in values:
                replaced[name] = values[name]
                value.type, value.shape = values[name].type, values[name].shape
            values[name] = value
        inner.append(new)
    for name, old in replaced.items():
        old.replace_all_uses_with(values[name], replace_graph_outputs=True)
        old.name = f"{name}/replaced"  # it goes with its node
        values[name].name = name
    inner.remove(gone, safe=True)
    place = {node.name: i for i, node in enumerate(graph.nodes)}
    order = sorted(inner, key=lambda node: place.get(node.name or "", -1))  # Constant nodes first
    inner.remove(order)
    inner.extend(order)


def _check(graph: Graph, rewrite: Rewrite) -> None:
    here = {node.name: node for node in graph.nodes}
    for node in rewrite.before:
        if here.get(node.name) is not node:
            raise ModelError(f"the rewrite takes out {node.name!r} ({node.op_type}), which is not a node of the model")
    gone = {node.name for node in rewrite.before}
    rest = [node for node in graph.nodes if node.name not in gone]
    made = {name for node in rewrite.after for name in node.outputs if name}
    lost = {name for node in rewrite.before for name in node.outputs if name} - made
    needed = {name for node in rest for name in node.reads} | {info.name for info in graph.outputs}
    if missing := sorted(lost & needed):
        raise ModelError(f"the rewrite loses {missing[0]!r}, which is still read")
    taken = {name for node in rest for name in node.outputs} | {info.name for info in graph.inputs}
    names = [name for node in rewrite.after for name in node.outputs if name]
    fresh = [name for name in (*names, *rewrite.constants) if name in taken or names.count(name) > 1]
    fresh += [name for name in rewrite.constants if name in graph.constants or name in made]
    called = {node.name for node in rest} | {node.name or "" for node in graph.source.graph}  # also of nodes long gone
    fresh += [node.name for node in rewrite.after if node.name in called and here.get(node.name) is not node]
    if fresh:
        raise ModelError(f"the rewrite brings a name that is taken: {fresh[0]!r}")
    known = {name for node in rest for name in node.outputs} | set(graph.constants) | set(rewrite.constants) | made
    known |= {info.name for info in graph.inputs}
    for node in rewrite.after:
        for name in node.reads:
            if name not in known:
                raise ModelError(f"the rewrite's {node.op_type} reads {name!r}, which nothing produces")


def _constant(graph: ir.Graph, name: str, array: Array) -> ir.Value:
    tensor = ir.tensor(np.asarray(array, order="C"), name=name)
    value = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape), const_value=tensor)
    graph.register_initializer(value)
    return value


def to_ir(node: Node, values: Mapping[str, ir.Value]) -> ir.Node:
    """A node that a rewrite brought, over these values."""
    return ir.Node(
        node.domain,
        node.op_type,
        [values[name] if name else None for name in node.inputs],
        ir.convenience.convert_attributes({key: _plain(value) for key, value in node.attributes.items()}),
        outputs=[ir.Value(name=name) for name in node.outputs],
        name=node.name,
    )


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return ir.tensor(value)
    return list(value) if isinstance(value, tuple) else value
