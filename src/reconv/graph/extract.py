"""Cut the part of a model between given values out, as a model of its own for ONNX Runtime.

The part is what the outputs depend on, back to the given inputs. It takes along the initializers and Constant nodes
that it uses, the model's functions when it calls one, and the opset imports. Values given in ``values`` become
initializers: results that were folded to constants once the sizes were fixed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import helper, numpy_helper

from reconv.errors import ModelError, one_line
from reconv.graph.graph import Graph, Node, TensorInfo
from reconv.graph.write import OLDEST_IR, fits_one_message, to_ir, too_large

__all__ = ["Part", "extract", "extract_any", "reads", "stretch"]

Array = np.ndarray[Any, Any]
LEAST_OUTSIDE = 4096  # bytes of a weight that is handed over beside a message that cannot hold all


@dataclass(frozen=True)
class Part:
    """A sub-model, serialized, and the weights that it names without holding them."""

    data: bytes
    outside: Mapping[str, Array]


def extract(
    graph: Graph,
    inputs: Sequence[str],
    outputs: Sequence[str],
    shapes: Mapping[str, Sequence[int | str | None]],
    values: Mapping[str, np.ndarray[Any, Any]] | None = None,
    *,
    types: Mapping[str, np.dtype[Any]] | None = None,
) -> bytes:
    """The serialized sub-model that computes ``outputs`` from ``inputs``.

    Args:
        graph: the whole model.
        inputs: names where to cut; also any of the model's inputs that the part reads must be among them. `reads`
            tells which of many possible cuts are needed.
        outputs: names to compute, each the output of a node of the part.
        shapes: shape of each input; an input that is missing here gets the model's own shape, or none where the model
            does not even tell its rank.
        values: names that are known constants by now.
        types: of inputs whose type the file does not say; others are float32, as the engine's maps are.

    Raises:
        ModelError: an output needs a model input that is not in ``inputs``, or is no node's output, or the part's
            weights are more than one protobuf message takes (2 GB).
    """
    part = extract_any(graph, inputs, outputs, shapes, values, types=types)
    if part.outside:
        raise too_large(part.outside.values(), "the part for ONNX Runtime")
    return part.data


def extract_any(
    graph: Graph,
    inputs: Sequence[str],
    outputs: Sequence[str],
    shapes: Mapping[str, Sequence[int | str | None]],
    values: Mapping[str, Array] | None = None,
    *,
    types: Mapping[str, np.dtype[Any]] | None = None,
) -> Part:
    """As `extract`, of any size: where one message cannot hold the weights, they are named in it and come beside it,
    as they are in the graph."""
    values = dict(values or {})
    wanted, constants, _ = _needed(graph, set(inputs) | values.keys(), outputs)
    source = {node.name: node for node in graph.source.graph}
    sources = {v.name: v for v in graph.source.graph.inputs} | {
        v.name: v for node in graph.source.graph for v in node.outputs
    }
    used = {name for node in wanted for name in node.reads}
    taken = {name: graph.constants[name] for name in constants if name not in values}
    taken |= {name: np.asarray(value) for name, value in values.items() if name in used}
    heavy = {name: a for name, a in taken.items() if a.nbytes >= LEAST_OUTSIDE and not a.dtype.hasobject}
    outside = {} if fits_one_message(taken.values()) else heavy
    if not fits_one_message(array for name, array in taken.items() if name not in outside):
        raise too_large(taken.values(), "the part for ONNX Runtime")
    declared = {info.name: info.shape for info in graph.inputs if info.has_rank}
    initializers = [
        _named_only(name, array)
        if name in outside
        else _initializer(graph, name)
        if name not in values
        else numpy_helper.from_array(array, name)
        for name, array in taken.items()
    ]
    part = helper.make_graph(
        [_serialized(node, source.get(node.name)) for node in wanted],
        "part",
        [
            _value_info(sources.get(name), name, shapes.get(name, declared.get(name)), (types or {}).get(name))
            for name in inputs
        ],
        [_output_info(sources.get(name), name) for name in outputs],
        initializers,
    )
    model = helper.make_model(
        part,
        opset_imports=[helper.make_opsetid(d, v) for d, v in graph.source.opset_imports.items()],
        ir_version=max(graph.source.ir_version, OLDEST_IR),
    )
    known = graph.source.functions
    names = {(f.domain, f.name, f.overload) for f in known.values()}
    if any((node.domain, node.op_type, node.overload) in names for node in wanted) or any(
        node.captures or _has_subgraph(node) for node in wanted
    ):
        model.functions.extend(ir.serde.serialize_function(function) for function in known.values())
    try:
        data: bytes = model.SerializeToString()
    except Exception as error:  # protobuf's limit
        raise ModelError(f"the part of the model for ONNX Runtime is too large: {one_line(error)}") from error
    return Part(data, outside)


def stretch(
    graph: Graph,
    inputs: Sequence[str],
    outputs: Sequence[str],
    shapes: Mapping[str, Sequence[int | str | None]],
    types: Mapping[str, np.dtype[Any]],
) -> Graph:
    """What `extract` gives, as a graph at once: nothing is written or copied, and nodes, constants and the source are
    those of the whole.

    Raises:
        ModelError: as `extract`, but for the weights' size.
    """
    nodes, constants, _ = _needed(graph, set(inputs), outputs)
    declared = {info.name: info for info in graph.inputs}

    def info(name: str, shape: Sequence[int | str | None] | None) -> TensorInfo:
        known = declared.get(name)
        dtype = types.get(name, np.dtype(np.float32) if known is None else known.dtype)
        if shape is None and known is not None:
            return known
        return TensorInfo(name, np.dtype(dtype), tuple(shape or ()), has_rank=shape is not None)

    return replace(
        graph,
        nodes=tuple(nodes),
        constants={name: graph.constants[name] for name in constants},
        inputs=tuple(info(name, shapes.get(name)) for name in inputs),
        outputs=tuple(info(name, None) for name in outputs),
    )


def reads(graph: Graph, stops: Sequence[str], outputs: Sequence[str]) -> tuple[tuple[Node, ...], tuple[str, ...]]:
    """The nodes that ``outputs`` need, going back as far as ``stops``, and which of ``stops`` those read.

    Raises:
        ModelError: as `extract`.
    """
    nodes, _, reached = _needed(graph, set(stops), outputs)
    return tuple(nodes), tuple(name for name in stops if name in reached)


def _needed(graph: Graph, stop: set[str], outputs: Sequence[str]) -> tuple[list[Node], list[str], set[str]]:
    """Nodes (in order), constants and members of ``stop`` that ``outputs`` need, going back as far as ``stop``."""
    producers = {name: node for node in graph.nodes for name in node.outputs if name}
    found: set[str] = set()
    constants: dict[str, None] = {}
    pending = list(outputs)
    for name in outputs:
        if name not in producers or name in stop:
            reason = "it is an input of the part" if name in stop else "no node produces it"
            raise ModelError(f"cannot compute {name!r} in a part of the model: {reason}")
    seen: set[str] = set()
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in stop:
            continue
        if name in graph.constants:
            constants[name] = None
        elif name in producers:
            found.add(producers[name].name)
            pending.extend(producers[name].reads)
        else:
            raise ModelError(f"cannot cut here: the outputs also depend on {name!r}")
    return [node for node in graph.nodes if node.name in found], list(constants), seen & stop


def _serialized(node: Node, source: ir.Node | None) -> onnx.NodeProto:
    """The node as the file has it; one that a rewrite brought is not in the file."""
    if source is not None:
        return ir.serde.serialize_node(source)
    return ir.serde.serialize_node(to_ir(node, {name: ir.Value(name=name) for name in node.inputs if name}))


def _initializer(graph: Graph, name: str) -> onnx.TensorProto:
    value = graph.source.graph.initializers.get(name)
    if value is not None and value.const_value is not None and not isinstance(value.const_value, ir.ExternalTensor):
        tensor = ir.serde.serialize_tensor(value.const_value)
        tensor.name = name
        return tensor
    return numpy_helper.from_array(np.asarray(graph.constants[name]), name)


def _named_only(name: str, array: Array) -> onnx.TensorProto:
    """A weight that whoever loads the message brings."""
    tensor = onnx.TensorProto(name=name, data_type=int(ir.DataType.from_numpy(array.dtype)), dims=array.shape)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="beside")
    return tensor


def _value_info(
    value: ir.Value | None,
    name: str,
    shape: Sequence[int | str | None] | None,
    kind: np.dtype[Any] | None,
) -> onnx.ValueInfoProto:
    if value is not None and value.type is not None and not isinstance(value.type, ir.TensorType):
        return ir.serde.serialize_value(value)  # a sequence or an optional
    if value is not None and value.dtype is not None:
        dtype = value.dtype
    else:  # what comes from the engine has no type in many files, and its maps are float32
        dtype = ir.DataType.FLOAT if kind is None else ir.DataType.from_numpy(kind)
    if shape is None and value is not None and value.shape is not None:
        shape = [size if isinstance(size, int) else size.value for size in value.shape]
    return helper.make_tensor_value_info(name, int(dtype), shape)


def _output_info(value: ir.Value | None, name: str) -> onnx.ValueInfoProto:
    """Without a shape: the model's own may speak of another batch size."""
    info = onnx.ValueInfoProto(name=name)
    if value is not None and isinstance(value.type, ir.TensorType) and value.dtype is not None:
        info.type.tensor_type.elem_type = int(value.dtype)
    elif value is not None and value.type is not None:
        info.CopyFrom(ir.serde.serialize_value(value))
    return info


def _has_subgraph(node: Node) -> bool:
    return any(isinstance(value, ir.Graph) for value in node.attributes.values())
