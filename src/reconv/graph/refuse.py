"""What a file may not hold: found in the protobuf itself, before anything is made of it.

onnx-ir reads many of these without a word, and later steps would stumble over them far from the cause. What is checked
here is what the ONNX specification asks of any model (https://onnx.ai/onnx/repo-docs/IR.html): names are text, a value
has one source, attributes have a type, sizes of tensors are not negative. Whether operators know their attributes, and
whether shapes fit, shows when the model is prepared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx

from reconv.errors import ModelError

__all__ = ["refuse"]

STANDARD = ("", "ai.onnx")
NEWEST_OPSET = onnx.defs.onnx_opset_version()


def refuse(model: onnx.ModelProto, where: str) -> None:
    """Raise where the file holds what cannot be.

    Raises:
        ModelError: a name that is no text, a value with two sources, an attribute without a type, a tensor of negative
            size, a sparse initializer, a node with too few inputs, or an opset that is negative or newer than the onnx
            package knows.
    """
    for opset in model.opset_import:
        if opset.domain in STANDARD and not 1 <= opset.version <= NEWEST_OPSET:
            raise ModelError(
                f"{where} uses opset {opset.version}, expected 7 to {NEWEST_OPSET}, which the onnx package here knows"
            )
    version = next((opset.version for opset in model.opset_import if opset.domain in STANDARD), None)
    for graph in _graphs(model.graph):
        _graph(graph, where)
        if version is not None:
            _complete(graph.node, version, where)
    for function in model.functions:
        _named((function.name, function.domain, *function.input, *function.output), where)
        _nodes(function.node, list(function.input), where)
        for node in function.node:
            for graph in _bodies(node):
                _graph(graph, where)


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """The graph and the bodies of its nodes, all the way down; protobuf limits how deep that is."""
    yield graph
    for node in graph.node:
        yield from _bodies(node)


def _bodies(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        for body in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs):
            yield from _graphs(body)


def _graph(graph: onnx.GraphProto, where: str) -> None:
    if graph.sparse_initializer:
        raise ModelError(
            f"{where} keeps {graph.sparse_initializer[0].values.name!r} as a sparse initializer, which is not "
            "supported: write it as a dense one"
        )
    weights = [tensor.name for tensor in graph.initializer]
    inputs = [info.name for info in graph.input]
    _named((*weights, *inputs, *(info.name for info in graph.output)), where)
    for names, kind in ((weights, "initializer"), (inputs, "input")):
        if len(set(names)) < len(names):
            twice = next(name for i, name in enumerate(names) if name in names[:i])
            raise ModelError(f"{where} has {kind} {twice!r} twice; every value has one source")
    for tensor in graph.initializer:
        if any(size < 0 for size in tensor.dims):
            raise ModelError(f"{where}: initializer {tensor.name!r} has negative sizes {tuple(tensor.dims)}")
    _nodes(graph.node, [*weights, *inputs], where)


def _nodes(nodes: Iterable[onnx.NodeProto], known: list[str], where: str) -> None:
    made = set(known)
    for node in nodes:
        _named((node.name, node.op_type, node.domain, *node.input, *node.output), where)
        for attribute in node.attribute:
            _named((attribute.name, attribute.ref_attr_name), where)
            if attribute.type == onnx.AttributeProto.UNDEFINED:
                raise ModelError(
                    f"{where}: attribute {attribute.name!r} of node {node.name!r} ({node.op_type}) has no type"
                )
        for name in filter(None, node.output):
            if name in made:
                raise ModelError(
                    f"{where}: node {node.name!r} ({node.op_type}) makes {name!r}, which has a source already"
                )
            made.add(name)


def _complete(nodes: Iterable[onnx.NodeProto], version: int, where: str) -> None:
    """A node without an input that its operator needs would be read as another operator's shorthand."""
    for node in nodes:
        if node.domain in STANDARD and onnx.defs.has(node.op_type, version, ""):
            least = onnx.defs.get_schema(node.op_type, version, "").min_input
            if len(node.input) < least:
                raise ModelError(
                    f"{where}: node {node.name!r} ({node.op_type}) has {len(node.input)} inputs, it needs {least}"
                )


def _named(names: Iterable[object], where: str) -> None:
    """Protobuf hands out what is not UTF-8 as bytes."""
    for name in names:
        if not isinstance(name, str):
            raise ModelError(f"{where} has a name that is no text: {str(name)[:40]!r}; the file is damaged")
