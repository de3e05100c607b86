"""Write a graph as ONNX.

A graph whose nodes are all the file's is written as the file has it, with weights that it lists as inputs and what
nothing reads. What rewrites have made of the nodes is carried out on a copy of the onnx-ir model that the graph was
read from. Tensors are shared, not copied, and metadata, functions and the bodies of If, Loop and Scan stay what they
were.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import defs

from reconv.errors import ModelError, one_line
from reconv.graph.external import mapped_files, unmapped
from reconv.graph.graph import Graph, Node, NoItems
from reconv.graph.load import FILE_NAME
from reconv.graph.old import OLDEST_IR

__all__ = [
    "OLDEST_IR",
    "check",
    "fits_one_message",
    "in_one_message",
    "save",
    "to_ir",
    "to_onnx",
    "too_large",
    "with_constants",
]

Array = np.ndarray[Any, Any]
LARGEST = (2 << 30) - (64 << 20)  # bytes of weights in one file: protobuf's limit, less room for the graph


def to_onnx(graph: Graph) -> onnx.ModelProto:
    """The graph as an ONNX model: the file's where no node differs, else without constants that nothing reads.

    In the latter, weights that the file lists as inputs are inputs no longer.

    Raises:
        ModelError: it cannot be written: its weights are more than one protobuf message takes (2 GB), which `save`
            puts into a file of their own.
    """
    in_one_message(graph.constants.values(), "the model")
    try:
        return ir.to_proto(unmapped(_built(graph)))
    except Exception as error:  # protobuf's limits
        raise ModelError(f"the model cannot be written: {one_line(error)}") from error


def check(graph: Graph) -> None:
    """Ask ONNX's own checker.

    Inputs and outputs whose shape the file does not give are common, and no mistake here.

    Raises:
        ModelError: the model is not valid ONNX (an unknown operator or attribute, an input that is missing), or its
            weights are more than one protobuf message takes (2 GB).
    """
    in_one_message(graph.constants.values(), "the model")
    try:
        model = onnx.shape_inference.infer_shapes(to_onnx(graph))
        for info in (*model.graph.input, *model.graph.output):
            if info.type.HasField("tensor_type"):
                info.type.tensor_type.shape.SetInParent()  # the checker wants the field, and does not look into it
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"the model is not valid ONNX: {one_line(error)}") from error


def in_one_message(arrays: Iterable[Array], what: str) -> None:
    """Ask whether weights fit into one protobuf message, before anything is copied.

    Raises:
        ModelError: they do not; ``what`` says whose they are.
    """
    kept = list(arrays)
    if not fits_one_message(kept):
        raise too_large(kept, what)


def too_large(arrays: Iterable[Array], what: str) -> ModelError:
    """The error for weights that do not fit into one protobuf message."""
    size = sum(array.nbytes for array in arrays)
    return ModelError(f"{what} holds {size / 1e9:.1f} GB of weights, more than one protobuf message takes (2 GB)")


def fits_one_message(arrays: Iterable[Array]) -> bool:
    """Whether weights fit into one protobuf message."""
    return sum(array.nbytes for array in arrays) <= LARGEST


def save(graph: Graph, path: str | os.PathLike[str]) -> None:
    """Write what `to_onnx` gives to a file; where one cannot hold it, the weights go into ``<path>.data`` beside it.

    Raises:
        ModelError: the folder does not exist, the file cannot be written, or it holds weights that the model still
            reads from there.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise ModelError(f"cannot write {target}: the folder {target.parent} does not exist")
    weights = None if fits_one_message(graph.constants.values()) else target.with_name(f"{target.name}.data")
    read = {Path(file).resolve() for file in mapped_files(graph.source)}
    if read & {file.resolve() for file in (target, weights) if file is not None}:
        raise ModelError(f"cannot write {target}: the model reads its weights from there; give another name")
    try:
        model = _built(graph)
        ir.save(unmapped(model) if weights is None else model, target, external_data=weights and weights.name)
    except Exception as error:
        raise ModelError(f"cannot write {target}: {one_line(error)}") from error


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
        elif name in made:  # what a rewrite brought is not in the file
            attributes = made[name].attributes
            attributes.clear()
            attributes["value"] = ir.AttrTensor("value", ir.tensor(np.asarray(array, order="C")))
    return replace(graph, constants={**graph.constants, **constants}, source=model)


def _built(graph: Graph) -> ir.Model:
    """The onnx-ir model of the file with the graph's nodes: as it was, or without constants that nothing reads."""
    model = graph.source.clone()
    inner = model.graph
    if not _carry_out(graph, inner):
        for node in inner:
            node.name = node.meta.get(FILE_NAME, node.name)
        for value in set(inner.initializers.values()) - set(inner.inputs):
            value.type = value.shape = None  # onnx-ir would list them among the results, with what the tensors say
        return model
    model.ir_version = max(model.ir_version, OLDEST_IR)
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


def _carry_out(graph: Graph, inner: ir.Graph) -> bool:
    """Take out the nodes that the graph no longer has, and put in those that it has besides; whether there are any."""
    file = {node.name: node for node in inner}
    known = {node.name for node in graph.nodes}
    made = [node for node in graph.nodes if node.name not in file]
    gone = [node for name, node in file.items() if name not in known and node.op_type != "Constant"]
    if not made and not gone:
        return False
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
        if name in inner.initializers:  # not renamed: its tensor is shared with the model that was read
            del inner.initializers[name]
        else:
            old.name = f"{name}/replaced"  # it goes with its node
        values[name].name = name
    inner.remove(gone, safe=True)
    place = {node.name: i for i, node in enumerate(graph.nodes)}
    order = sorted(inner, key=lambda node: place.get(node.name or "", -1))  # Constant nodes first
    inner.remove(order)
    inner.extend(order)
    return True


def _constant(graph: ir.Graph, name: str, array: Array) -> ir.Value:
    tensor = ir.tensor(np.asarray(array, order="C"), name=name)
    value = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape), const_value=tensor)
    graph.register_initializer(value)
    return value


def to_ir(node: Node, values: Mapping[str, ir.Value]) -> ir.Node:
    """A node that a rewrite brought, over these values.

    Raises:
        ModelError: an attribute is an empty list, and neither the file nor the operator's schema tells of what.
    """
    return ir.Node(
        node.domain,
        node.op_type,
        [values[name] if name else None for name in node.inputs],
        [ir.convenience.convert_attribute(k, _plain(v), _kind(node, k, v)) for k, v in node.attributes.items()],
        overload=node.overload,
        outputs=[ir.Value(name=name) for name in node.outputs],
        name=node.name,
    )


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return ir.tensor(value)
    return list(value) if isinstance(value, tuple) else value


def _kind(node: Node, key: str, value: Any) -> ir.AttributeType | None:
    """The type of an attribute where the value does not show it."""
    if not isinstance(value, (tuple, list)) or value:
        return None
    if isinstance(value, NoItems):
        return value.kind
    try:
        schema = defs.get_schema(node.op_type, node.domain)
        while key not in schema.attributes:  # some operators lost attributes in a later opset
            schema = defs.get_schema(node.op_type, schema.since_version - 1, node.domain)
        kind: Any = schema.attributes[key].type
        return ir.AttributeType(kind.value)
    except defs.SchemaError:
        raise ModelError(
            f"attribute {key!r} of {node.name!r} ({node.op_type}) is an empty list whose type is not known"
        ) from None
