"""Read an ONNX model into a `Graph`.

Accepts a path, the bytes of a file, or an ``onnx.ModelProto``. External data is read or mapped now, so that a missing
file is found here and not at the first frame. Models of 16-bit floats become models of float32 between their inputs and
outputs (see `reconv.graph.widen`). What onnx-ir or protobuf say about a bad file is turned into one line.
Old habits of exporters are evened out: files of opset 7 and 8 are brought to opset 9 (see `reconv.graph.old`), weights
listed as graph inputs are constants, nodes get unique names, and the order is made topological. Model-local functions,
If, Loop and Scan stay nodes. A declared size of 0 or less, which exporters write for one that they do not know, is a
free size.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
import onnx_ir as ir

from reconv.errors import ModelError, one_line
from reconv.graph.bodies import bodies_of
from reconv.graph.external import read_external
from reconv.graph.graph import Graph, Node, NoItems, TensorInfo
from reconv.graph.maps import tell_maps, without_maps
from reconv.graph.old import modern
from reconv.graph.refuse import refuse
from reconv.graph.widen import widen

__all__ = ["Source", "load", "with_shapes"]

Source: TypeAlias = str | os.PathLike[str] | bytes | onnx.ModelProto

FILE_NAME = "name in the file"  # of a node that was given another, among its onnx-ir metadata


def load(source: Source) -> Graph:
    """The model in a file, in bytes, or in a ``ModelProto`` (which is not changed).

    Raises:
        ModelError: no such file, not an ONNX model, truncated, external data missing, an opset before 7, a cycle, a
            node that reads a value that nothing produces, or what `reconv.graph.refuse` finds.
    """
    where = _describe(source)
    try:
        return _graph(_read(source, where), where)
    except ModelError:
        raise
    except Exception as error:  # whatever else onnx-ir and numpy find wrong with types, names and sizes
        raise ModelError(f"{where} is not a valid ONNX model: {one_line(error)}") from error


def _graph(model: ir.Model, where: str) -> Graph:
    opset = model.opset_imports.get("", model.opset_imports.get("ai.onnx", 0))
    if not len(model.graph) and not model.graph.outputs:
        raise ModelError(f"{where} is not an ONNX model: it holds no graph")
    if not opset and not model.opset_imports:
        raise ModelError(f"{where} is not a complete ONNX model: it names no opset; it may be truncated")
    try:
        widen(model)
    except Exception as error:  # a tensor whose sizes do not match its data
        raise ModelError(f"{where} has 16-bit weights that cannot be read: {one_line(error)}") from error
    try:
        model.graph.sort()
    except ValueError as error:
        raise ModelError(f"{where} has nodes that depend on one another in a cycle: {one_line(error)}") from error
    constants = {name: _array(value.const_value, where) for name, value in model.graph.initializers.items()}
    nodes = []
    for name, node in _named(model.graph):
        constant = _constant(node, where)
        if constant is not None:
            constants[node.outputs[0].name or ""] = constant
        else:
            nodes.append(_node(name, node))
    inputs = tuple(_info(v, where) for v in model.graph.inputs if v.name not in constants)
    outputs = tuple(_info(v, where) for v in model.graph.outputs)
    _check_defined(nodes, {*constants, *(info.name for info in inputs)}, outputs, where)
    return Graph(tuple(nodes), constants, inputs, outputs, opset, model)


def with_shapes(graph: Graph, shapes: Mapping[str, Sequence[int | str | None]]) -> Graph:
    """The same model for inputs of other sizes than the file declares; sizes of its outputs become free.

    Many files declare the one size that they were exported with, though the network runs at any. Whether this one
    does shows when it runs: a Reshape to a fixed size may not.

    Raises:
        ModelError: no input has that name, the number of axes is another, or a size is not positive.
    """
    known = {info.name: info for info in graph.inputs}
    for name, shape in shapes.items():
        if name not in known:
            raise ModelError(f"the model has no input {name!r}; its inputs are {', '.join(known)}")
        if known[name].shape and len(shape) != len(known[name].shape):
            raise ModelError(f"input {known[name]} cannot have the shape {tuple(shape)}: {len(known[name].shape)} axes")
        if any(isinstance(size, int) and size < 1 for size in shape):
            raise ModelError(f"input {known[name]} cannot have the shape {tuple(shape)}: sizes begin at 1")
    inputs = tuple(
        replace(i, shape=tuple(shapes[i.name]), has_rank=True) if i.name in shapes else i for i in graph.inputs
    )
    outputs = tuple(replace(o, shape=(None,) * len(o.shape)) for o in graph.outputs)
    return replace(graph, inputs=inputs, outputs=outputs)


def _describe(source: object) -> str:
    return str(source) if isinstance(source, (str, os.PathLike)) else "the model"


def _read(source: Source, where: str) -> ir.Model:
    try:
        if isinstance(source, onnx.ModelProto):
            proto = source
        elif isinstance(source, bytes):
            proto = onnx.ModelProto.FromString(source)
        elif isinstance(source, (str, os.PathLike)):
            if not Path(source).is_file():
                reason = "is a folder" if Path(source).is_dir() else "does not exist"
                raise ModelError(f"{where} {reason}; expected an ONNX file")
            proto = onnx.load(source, load_external_data=False)
        else:
            raise ModelError(f"cannot load a {type(source).__name__}; expected a path, bytes or an onnx.ModelProto")
        refuse(proto, where)
        plain, maps = without_maps(modern(proto, where), where)
        model = tell_maps(ir.from_proto(plain), maps)
        if isinstance(source, (str, os.PathLike)):
            ir.external_data.set_base_dir(model.graph, os.path.dirname(source))
    except ModelError:
        raise
    except Exception as error:  # protobuf and onnx-ir raise many kinds; all of them mean a bad file
        raise ModelError(
            f"{where} is not a readable ONNX model: {one_line(error)}; it may be truncated or another format"
        ) from error
    try:
        read_external(model)
    except Exception as error:  # missing file, too short a file, a path outside the folder
        hint = "" if isinstance(source, (str, os.PathLike)) else " (load by path when weights are in files beside it)"
        raise ModelError(f"{where} has external data that cannot be read{hint}: {one_line(error)}") from error
    return model


def _array(tensor: ir.TensorProtocol | None, where: str) -> np.ndarray[Any, Any]:
    if tensor is None:
        raise ModelError(f"{where} has an initializer without data")
    try:
        return np.require(tensor.numpy(), requirements="A")  # a file may hold it at any offset
    except Exception as error:  # sizes that do not match the data
        raise ModelError(f"{where}: constant {tensor.name!r} cannot be read: {one_line(error)}") from error


def _named(graph: ir.Graph) -> Iterator[tuple[str, ir.Node]]:
    """Nodes with a name each of its own: placement and the tail refer to nodes by name. The file's stays beside it."""
    taken: set[str] = set()
    for index, node in enumerate(graph):
        name = node.name or f"{node.op_type}_{index}"
        while name in taken:
            name = f"{name}_{index}"
        taken.add(name)
        if name != node.name:
            node.meta[FILE_NAME] = node.name
            node.name = name
        yield name, node


def _constant(node: ir.Node, where: str) -> np.ndarray[Any, Any] | None:
    """The value of a Constant node; None for other nodes and for sparse constants, which stay nodes."""
    if node.op_type != "Constant" or node.domain not in ("", "ai.onnx") or not node.attributes:
        return None
    name, attribute = next(iter(node.attributes.items()))
    if name == "value":
        return _array(attribute.as_tensor(), where)
    if name in ("value_float", "value_floats"):
        return np.asarray(attribute.value, np.float32)
    if name in ("value_int", "value_ints"):
        return np.asarray(attribute.value, np.int64)
    if name in ("value_string", "value_strings"):
        return np.asarray(attribute.value, object)
    return None


def _node(name: str, node: ir.Node) -> Node:
    return Node(
        name=name,
        op_type=node.op_type,
        domain="" if node.domain == "ai.onnx" else node.domain,
        inputs=tuple("" if value is None else value.name or "" for value in node.inputs),
        outputs=tuple(value.name or "" for value in node.outputs),
        attributes={key: _attribute(value) for key, value in node.attributes.items()},
        captures=tuple(dict.fromkeys(_captures(node))),
        overload=node.overload,
    )


def _attribute(attribute: ir.Attr) -> Any:
    if attribute.type == ir.AttributeType.TENSOR:
        return np.asarray(attribute.as_tensor().numpy())
    value = attribute.value
    if isinstance(value, (list, tuple)):
        return tuple(value) if value else NoItems.of(attribute.type)
    return value


def _captures(node: ir.Node) -> Iterator[str]:
    """Names that the node's subgraphs read and do not define themselves."""
    for graph in bodies_of(node):
        defined = {value.name for value in (*graph.inputs, *graph.initializers.values())}
        defined |= {value.name for inner in graph for value in inner.outputs}
        read = [value.name for inner in graph for value in inner.inputs if value is not None]
        read += [name for inner in graph for name in _captures(inner)]
        read += [value.name for value in graph.outputs]
        yield from (name for name in read if name and name not in defined)


def _info(value: ir.Value, where: str) -> TensorInfo:
    if not value.name:
        raise ModelError(f"{where} has an input or output without a name")
    is_tensor = isinstance(value.type, ir.TensorType) and value.dtype not in (None, ir.DataType.UNDEFINED)
    dtype = value.dtype.numpy() if is_tensor and value.dtype is not None else np.dtype(object)
    sizes = () if value.shape is None else value.shape
    named = (size if isinstance(size, int) else size.value for size in sizes)
    shape = tuple(None if isinstance(size, int) and size < 1 else size for size in named)
    return TensorInfo(value.name, np.dtype(dtype), shape, has_rank=value.shape is not None)


def _check_defined(nodes: list[Node], known: set[str], outputs: tuple[TensorInfo, ...], where: str) -> None:
    for node in nodes:
        for name in node.reads:
            if name not in known:
                raise ModelError(f"{where}: node {node.name!r} ({node.op_type}) reads {name!r}, which nothing produces")
        known.update(node.outputs)
    for info in outputs:
        if info.name not in known:
            raise ModelError(f"{where}: nothing produces the output {info.name!r}")
