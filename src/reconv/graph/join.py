"""Two models as one: values of the first are the inputs of the second."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from onnx import compose, helper

from reconv.errors import ModelError, one_line
from reconv.graph.extract import extract
from reconv.graph.graph import Graph
from reconv.graph.load import load
from reconv.graph.write import to_onnx

__all__ = ["join"]


def join(first: Graph, second: Graph, at: Mapping[str, str]) -> Graph:
    """A model with the inputs of the first and the outputs of the second.

    Args:
        first: only what computes the values of ``at`` is taken.
        second: of the same opset; its nodes and values may have names that the first has too: they are renamed.
        at: value of the first -> input of the second; of all its inputs.

    Raises:
        ModelError: an input of the second is not named, a value is none of the first, opsets differ, or an output of
            the second has the name of a value of the first.
    """
    if missing := [info.name for info in second.inputs if info.name not in at.values()]:
        raise ModelError(f"the second model's input {missing[0]!r} is joined to nothing")
    if first.opset != second.opset:
        raise ModelError(f"models of opset {first.opset} and {second.opset} cannot be joined")
    names = [info.name for info in first.inputs]
    part = onnx.ModelProto.FromString(extract(first, names, list(at), {}))
    head = to_onnx(second)
    taken = {name for node in part.graph.node for name in (node.name, *node.output)}
    taken |= {weight.name for weight in part.graph.initializer} | set(names)
    outputs = [info.name for info in second.outputs]
    if clash := sorted(taken & set(outputs)):
        raise ModelError(f"the second model's output {clash[0]!r} has the name of a value of the first")
    try:
        head = compose.add_prefix(head, _prefix(taken))
        prefix = head.graph.output[0].name.removesuffix(outputs[0])
        part.ir_version = head.ir_version = max(part.ir_version, head.ir_version)
        del part.opset_import[:], head.opset_import[:]
        imports = {**second.source.opset_imports, **first.source.opset_imports}
        for model in (part, head):
            model.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in imports.items())
        merged = compose.merge_models(part, head, io_map=[(value, prefix + name) for value, name in at.items()])
        renamed = {prefix + name: name for name in outputs}
        for node in merged.graph.node:
            node.input[:] = [renamed.get(name, name) for name in node.input]
            node.output[:] = [renamed.get(name, name) for name in node.output]
        for info in merged.graph.output:
            info.name = renamed.get(info.name, info.name)
        return load(merged)
    except (ValueError, IndexError, onnx.checker.ValidationError) as error:
        raise ModelError(f"the models cannot be joined: {one_line(error)}") from error


def _prefix(taken: set[str]) -> str:
    """A beginning that no name has."""
    prefix, count = "head/", 1
    while any(name.startswith(prefix) for name in taken):
        count += 1
        prefix = f"head_{count}/"
    return prefix
