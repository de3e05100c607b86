"""Put other nodes in the place of some, and write the result as ONNX.

A `Rewrite` is data: the nodes taken out, those that come in, and the constants that they bring. What leaves it keeps
its name: every value of ``before`` that something else reads, or that is an output of the model, has to be made by
``after`` under the same name. `rewritten` checks that and gives a new `Graph`; the one it was given does not change, so
that a search can go back. The work is done on the onnx-ir model behind the graph (`Graph.source`), whose tensors are
shared, not copied, so that metadata, functions and the bodies of If, Loop and Scan stay what they were.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from reconv.errors import ModelError, one_line
from reconv.graph.graph import Graph, Node

__all__ = ["Rewrite", "rewritten", "to_onnx"]

Array = np.ndarray[Any, Any]


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
    model = graph.source.clone()
    inner = model.graph
    values: dict[str, ir.Value] = {v.name: v for v in inner.inputs if v.name}
    values |= dict(inner.initializers.items())
    nodes: dict[str, ir.Node] = {}
    for node in inner:
        nodes[node.name or ""] = node
        values |= {v.name: v for v in node.outputs if v.name}
    for name, array in rewrite.constants.items():
        values[name] = _constant(inner, name, array)
    kept = {name: values[name] for name in rewrite.outputs}
    made = []
    for node_after in rewrite.after:
        new = _node(node_after, values)
        for value in new.outputs:
            if value.name in kept:
                value.type, value.shape = kept[value.name].type, kept[value.name].shape
            values[value.name or ""] = value
        made.append(new)
    try:
        for name, old in kept.items():
            old.replace_all_uses_with(values[name], replace_graph_outputs=True)
            old.name = f"{name}/replaced"  # frees the name; it goes with its node
        inner.extend(made)
        for name, value in values.items():
            if name in kept:
                value.name = name
        inner.remove([nodes[node.name] for node in rewrite.before], safe=True)
        inner.sort()
    except ValueError as error:
        raise ModelError(f"the rewrite does not fit the model: {one_line(error)}") from error
    known = {node.name: node for node in (*graph.nodes, *rewrite.after)}
    order = tuple(known[node.name or ""] for node in inner if (node.name or "") in known)
    constants = {**graph.constants, **{name: np.asarray(a) for name, a in rewrite.constants.items()}}
    read = {name for node in order for name in node.reads} | {info.name for info in graph.outputs}
    return replace(graph, nodes=order, constants={k: v for k, v in constants.items() if k in read}, source=model)


def to_onnx(graph: Graph) -> onnx.ModelProto:
    """The graph as an ONNX model, without constants that nothing reads.

    Weights that the file lists as inputs are constants here, and are no longer inputs in what is written.

    Raises:
        ModelError: onnx-ir cannot write it.
    """
    model = graph.source.clone()
    inner = model.graph
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
    try:
        return ir.to_proto(model)
    except Exception as error:  # protobuf's limits
        raise ModelError(f"the model cannot be written: {one_line(error)}") from error


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
    taken = {name for node in rest for name in (node.name, *node.outputs)}
    taken |= {info.name for info in graph.inputs}
    names = [name for node in rewrite.after for name in node.outputs if name]
    fresh = [name for name in (*names, *rewrite.constants) if name in taken or names.count(name) > 1]
    fresh += [name for name in rewrite.constants if name in graph.constants or name in made]
    fresh += [node.name for node in rewrite.after if node.name in {other.name for other in rest}]
    if fresh:
        raise ModelError(f"the rewrite brings a name that is taken: {fresh[0]!r}")
    known = {name for node in rest for name in node.outputs} | set(graph.constants) | set(rewrite.constants) | made
    known |= {info.name for info in graph.inputs}
    for node in rewrite.after:
        for name in node.reads:
            if name not in known:
                raise ModelError(f"the rewrite's {node.op_type} reads {name!r}, which nothing produces")


def _constant(graph: ir.Graph, name: str, array: Array) -> ir.Value:
    tensor = ir.tensor(np.ascontiguousarray(array), name=name)
    value = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape), const_value=tensor)
    graph.register_initializer(value)
    return value


def _node(node: Node, values: Mapping[str, ir.Value]) -> ir.Node:
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
