"""The graph with some of its nodes and constants changed, whatever their shapes become.

Where `reconv.graph.rewrite` keeps what every value is, and `with_constants` the shape of every constant, this does
neither: a channel that is cut out changes the shapes of values all through a model. What the file says of the shapes
inside is therefore forgotten and inferred again; names of nodes and values, inputs and outputs stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import numpy_helper

from reconv.errors import ModelError, one_line
from reconv.graph.graph import Graph, Node
from reconv.graph.load import load
from reconv.graph.write import OLDEST_IR, in_one_message, to_ir, to_onnx

__all__ = ["remade"]

Array = np.ndarray[Any, Any]


def remade(graph: Graph, nodes: Mapping[str, Sequence[Node]], constants: Mapping[str, Array]) -> Graph:
    """The graph with other nodes in the place of those named, and with other or new constants.

    Args:
        graph: the model.
        nodes: name of a node -> what takes its place, which makes at least the same values.
        constants: values by name; what nothing reads any more goes.

    Raises:
        ModelError: no node has that name, or what comes out cannot be written or read (a value that nothing makes,
            weights of more than 2 GB).
    """
    named = {node.name: node for node in graph.nodes}
    if unknown := [name for name in nodes if name not in named]:
        raise ModelError(f"the model has no node {unknown[0]!r}")
    in_one_message([*graph.constants.values(), *constants.values()], "the model")
    model = to_onnx(graph)
    names = {_made(node.outputs): node.name for node in graph.nodes}
    protos = []
    for proto in model.graph.node:
        name = names.get(_made(proto.output))
        if name is None and proto.op_type == "Constant" and proto.output[0] in constants:
            continue
        proto.name = proto.name if name is None else name
        kept = name is None or name not in nodes
        protos.extend([_copied(proto)] if kept else [_serialized(node) for node in nodes[name or ""]])
    del model.graph.node[:]
    model.graph.node.extend(protos)
    _set_constants(model.graph, constants, {name for node in _all(graph, nodes) for name in node.reads})
    del model.graph.value_info[:]
    model.ir_version = max(model.ir_version, OLDEST_IR)  # weights are inputs no longer
    try:
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception as error:  # the C++ side raises plain RuntimeErrors of many kinds
        raise ModelError(f"shapes cannot be inferred: {one_line(error)}") from error
    return replace(load(model), inputs=graph.inputs, outputs=graph.outputs)


def _all(graph: Graph, nodes: Mapping[str, Sequence[Node]]) -> list[Node]:
    return [new for node in graph.nodes for new in nodes.get(node.name, (node,))]


def _made(names: Sequence[str]) -> str:
    return next((name for name in names if name), "")


def _copied(proto: onnx.NodeProto) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(proto)
    return copy


def _serialized(node: Node) -> onnx.NodeProto:
    return ir.serde.serialize_node(to_ir(node, {name: ir.Value(name=name) for name in node.inputs if name}))


def _set_constants(graph: onnx.GraphProto, constants: Mapping[str, Array], read: set[str]) -> None:
    read = read | {info.name for info in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name not in constants and tensor.name in read]
    tensors = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
    tensors += [numpy_helper.from_array(np.asarray(array, order="C"), name) for name, array in constants.items()]
    listed = {tensor.name for tensor in graph.initializer} | set(constants)
    inputs = [info for info in graph.input if info.name not in listed]
    del graph.initializer[:]
    graph.initializer.extend(tensors)
    if len(inputs) < len(graph.input):
        copies = [onnx.ValueInfoProto.FromString(info.SerializeToString()) for info in inputs]
        del graph.input[:]
        graph.input.extend(copies)
