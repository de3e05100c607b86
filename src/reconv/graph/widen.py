"""Models of 16-bit floats (float16, bfloat16) in float32, which is what the engine computes in.

    every weight, attribute and inner value of a half type  ->  float32
    input of a half type   ->  input, Cast to float32
    output of a half type  ->  Cast to its type, output

So inputs and outputs keep their types, and between them nothing is rounded to 16 bits any more: the result is as near
to the float32 model's as the weights allow. A Cast to a half type in the middle of a model becomes one to float32. This
goes through the bodies of If, Loop and Scan and through the model's functions.

A model stays as it is, and ONNX Runtime then runs what it has in 16 bits, where that cannot be done blindly: an
operator of a domain that is not ONNX's own, ONNX Runtime's or the model's; one that looks at bits; a sequence or an
optional of a half type as input or output; a type that a function takes as an attribute.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import onnx_ir as ir

from reconv.graph.bodies import every_graph, nested

__all__ = ["HALF", "is_half", "is_wide", "why_not", "widen"]

HALF = frozenset({ir.DataType.FLOAT16, ir.DataType.BFLOAT16})
NAMES_A_TYPE = frozenset({"to", "dtype", "output_dtype", "output_datatype"})  # attributes of Cast, RandomNormal, ...
KNOWN_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
SEES_BITS = frozenset({"BitCast"})
HALF_TYPES = frozenset(kind.numpy() for kind in HALF)

Graphs: TypeAlias = ir.Graph | ir.Function


def widen(model: ir.Model) -> None:
    """Make a model of half types one of float32, in place; any other model, and one that cannot be, stays as it is."""
    if is_wide(model) or why_not(model) is not None:
        return
    graph = model.graph
    inputs = {value: value.type for value in graph.inputs if _dtype(value) in HALF and not _is_constant(graph, value)}
    outputs = {value: value.type for value in graph.outputs if _dtype(value) in HALF and value not in inputs}
    constants = [value for value in outputs if _is_constant(graph, value)]
    for value in constants:  # the output keeps its own
        _give_users_a_wide_one(graph, value)
        del outputs[value]
    kept = {value.name for value in constants}
    for each in every_graph(model):
        _widen_within(each, kept if each is graph else set())
    for value, kind in inputs.items():
        value.type = kind
        _cast_input(graph, value)
    for value, kind in outputs.items():
        _cast_output(graph, value, kind)
    for value in constants:
        assert value.const_value is not None
        value.type = ir.TensorType(value.const_value.dtype)


def is_half(dtype: np.dtype[Any]) -> bool:
    """Whether arrays of this type hold 16-bit floats."""
    return dtype in HALF_TYPES


def is_wide(model: ir.Model) -> bool:
    """Whether half types are at the edges only: inputs that nothing but Casts to float32 reads, and Casts to a half
    type that nothing reads."""
    graph = model.graph
    edges = {value for value in graph.inputs if _read_by_casts(value, graph)}
    edges |= {value for value in graph.outputs if _made_by_cast(value)}
    edges |= {value for value in graph.outputs if _is_constant(graph, value) and not value.uses()}
    casts = {id(value.producer()) for value in edges if value.producer() is not None}
    for each in every_graph(model):
        for value in _values(each):
            if value not in edges and any(kind in HALF for kind in _kinds(value.type)):
                return False
        if isinstance(each, ir.Graph):
            for value in each.initializers.values():
                if value not in edges and value.const_value is not None and value.const_value.dtype in HALF:
                    return False
        for node in each:
            if id(node) not in casts and any(_names_half(attribute) for attribute in node.attributes.values()):
                return False
    return True


def why_not(model: ir.Model) -> str | None:
    """What keeps a model of half types from being widened; None where nothing does."""
    own = {function.domain for function in model.functions.values()}
    for value in (*model.graph.inputs, *model.graph.outputs):
        if not isinstance(value.type, ir.TensorType) and any(kind in HALF for kind in _kinds(value.type)):
            return f"{value.name} is a {value.type}"
    for graph in every_graph(model):
        for node in graph:
            if node.domain not in KNOWN_DOMAINS | own:
                return f"{node.domain}.{node.op_type} may take 16-bit floats only"
            if node.op_type in SEES_BITS:
                return f"{node.op_type} sees single bits"
            for attribute in node.attributes.values():
                if attribute.is_ref() and attribute.name in NAMES_A_TYPE:
                    return f"the type of {node.op_type} in a function is its caller's"
                if attribute.type in (ir.AttributeType.TYPE_PROTO, ir.AttributeType.TYPE_PROTOS):
                    return f"{node.op_type} has a type among its attributes"
    return None


def _values(graph: Graphs) -> Iterator[ir.Value]:
    yield from graph.inputs
    yield from graph.outputs
    for node in graph:
        yield from node.outputs


def _kinds(kind: ir.TypeProtocol | None) -> Iterator[ir.DataType]:
    """The type of the elements, of a sequence's tensors too."""
    while kind is not None and isinstance(kind, (ir.SequenceType, ir.OptionalType)):
        kind = kind.elem_type
    if isinstance(kind, ir.TensorType):
        yield kind.dtype


def _dtype(value: ir.Value) -> ir.DataType | None:
    return value.type.dtype if isinstance(value.type, ir.TensorType) else None


def _is_constant(graph: ir.Graph, value: ir.Value) -> bool:
    return graph.initializers.get(value.name or "") is value


def _is_cast(node: ir.Node | None, to: frozenset[ir.DataType]) -> bool:
    if node is None or node.op_type != "Cast" or node.domain not in ("", "ai.onnx") or "to" not in node.attributes:
        return False
    attribute = node.attributes["to"]
    return not attribute.is_ref() and attribute.as_int() in to


def _read_by_casts(value: ir.Value, graph: ir.Graph) -> bool:
    wide = frozenset({ir.DataType.FLOAT})
    return all(node.graph is graph and _is_cast(node, wide) for node, _ in value.uses())


def _made_by_cast(value: ir.Value) -> bool:
    return not value.uses() and _is_cast(value.producer(), HALF)


def _names_half(attribute: ir.Attr) -> bool:
    if attribute.is_ref():
        return False
    if attribute.type == ir.AttributeType.TENSOR:
        return attribute.as_tensor().dtype in HALF
    return attribute.type == ir.AttributeType.INT and attribute.name in NAMES_A_TYPE and attribute.as_int() in HALF


def _wide(kind: Any) -> Any:
    if isinstance(kind, ir.SequenceType):
        return ir.SequenceType(_wide(kind.elem_type))
    if isinstance(kind, ir.OptionalType):
        return ir.OptionalType(_wide(kind.elem_type))
    return ir.TensorType(ir.DataType.FLOAT) if isinstance(kind, ir.TensorType) and kind.dtype in HALF else kind


def _wide_tensor(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    return ir.tensor(np.asarray(tensor.numpy()).astype(np.float32), name=tensor.name)


def _widen_within(graph: Graphs, kept: set[str | None]) -> None:
    if isinstance(graph, ir.Graph):
        for name, value in graph.initializers.items():
            if name not in kept and value.const_value is not None and value.const_value.dtype in HALF:
                value.const_value = _wide_tensor(value.const_value)
                value.type = ir.TensorType(ir.DataType.FLOAT)
    for value in _values(graph):
        value.type = _wide(value.type)
    for node in graph:
        for name, attribute in list(node.attributes.items()):
            if _names_half(attribute):
                node.attributes[name] = (
                    ir.AttrTensor(name, _wide_tensor(attribute.as_tensor()))
                    if attribute.type == ir.AttributeType.TENSOR
                    else ir.AttrInt64(name, int(ir.DataType.FLOAT))
                )


def _give_users_a_wide_one(graph: ir.Graph, value: ir.Value) -> None:
    if not value.uses() or value.const_value is None:
        return
    tensor = _wide_tensor(value.const_value)
    wide = ir.Value(name=_fresh(graph, value), type=ir.TensorType(tensor.dtype), shape=value.shape, const_value=tensor)
    _move_uses(value, wide)
    graph.register_initializer(wide)


def _cast_input(graph: ir.Graph, value: ir.Value) -> None:
    if not value.uses():
        return
    wide = ir.Value(name=_fresh(graph, value), type=ir.TensorType(ir.DataType.FLOAT), shape=value.shape)
    _move_uses(value, wide)
    graph.append(_cast(value, wide, ir.DataType.FLOAT))


def _cast_output(graph: ir.Graph, value: ir.Value, kind: ir.TypeProtocol | None) -> None:
    assert isinstance(kind, ir.TensorType)
    name = value.name
    value.name = _fresh(graph, value)
    narrow = ir.Value(name=name, type=kind, shape=value.shape)
    graph.append(_cast(value, narrow, kind.dtype))
    for place, output in enumerate(graph.outputs):
        if output is value:
            graph.outputs[place] = narrow


def _move_uses(value: ir.Value, other: ir.Value) -> None:
    for node, place in tuple(value.uses()):
        node.replace_input_with(place, other)


def _cast(value: ir.Value, made: ir.Value, to: ir.DataType) -> ir.Node:
    return ir.Node("", "Cast", [value], [ir.AttrInt64("to", int(to))], outputs=[made], name=f"{made.name}/cast")


def _fresh(graph: ir.Graph, value: ir.Value) -> str:
    """A name for the value in float32 that nothing in the model has."""
    taken = {each.name for part in nested(graph) for each in _values(part)}
    taken |= {name for part in nested(graph) if isinstance(part, ir.Graph) for name in part.initializers}
    name = f"{value.name}/float32"
    while name in taken:
        name += "_"
    return name
