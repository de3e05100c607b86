"""Digests of what a value is computed by, 128 bits: a Merkle tree over the graph.

    digest(node)     = H(operator, version of its meaning, attributes, digests of its inputs in order)
    digest(output k) = H(digest(node), k)

A constant counts by type, shape and bits; a model input by its place among the inputs and its type. So names, the order
of nodes and unused initializers do not count, while any other weight, attribute, operator or wiring gives another
digest, there and in all that depends on it. Declared sizes do not count either: the same network takes many.

- The version is the opset in which the operator last changed, so that files of different opsets can meet. Operators of
  other domains count with the whole opset of their domain.
- Attributes that an operator's schema gives a default value are filled in. Defaults in words only ("1 along each axis")
  are not, so that leaving those out and writing them down are two digests.
- Bodies of If, Loop and Scan count with what they capture from outside; functions with their bodies.
- A random operator counts like any other: equal digests say "computed alike", not "equal" (see `draws_at_random`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import defs, helper

from reconv.errors import ModelError
from reconv.graph.digest import DIGEST_BYTES, digest_array, feed
from reconv.graph.graph import Graph

__all__ = ["Structure", "structure", "structure_digest"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Structure:
    """Digests of 16 bytes: ``values`` by name (inputs, results, and constants that a node reads or that are outputs),
    ``nodes`` by node name."""

    values: Mapping[str, bytes]
    nodes: Mapping[str, bytes]


def structure(graph: Graph, inputs: Sequence[str] | None = None) -> Structure:
    """Digests of all values and nodes of a model, in one pass; every weight is hashed once.

    Args:
        graph: the model.
        inputs: names of its inputs in the order in which they count; None: the file's. Give it when two models list
            the same inputs in another order, or have more of them than one another. ``""`` leaves a place out.

    Raises:
        ModelError: a body or a function of the model reads a value that nothing produces.
    """
    places = {name: i for i, name in enumerate([i.name for i in graph.inputs] if inputs is None else inputs)}
    digests = _Digests(graph)
    scope = _Scope(graph.constants)
    for info in graph.inputs:
        scope.known[info.name] = _mix("input", str(places[info.name]), str(info.dtype))
    nodes = {}
    for node in graph.nodes:
        call = _Call(node.op_type, node.domain, node.inputs, node.outputs, node.attributes, node.overload)
        nodes[node.name] = digests.node(call, scope, graph.source.opset_imports, 0)
    for info in graph.outputs:
        scope.digest(info.name)  # also of a constant that is an output
    return Structure(scope.known, nodes)


def structure_digest(graph: Graph) -> str:
    """Digest of what a model computes, 32 hexadecimal digits: of its outputs in order, without any name.

    `reconv.graph.digest` counts the names too.
    """
    values = structure(graph).values
    return _mix("model", [values[info.name] for info in graph.outputs]).hex()


@dataclass(frozen=True)
class _Call:
    """One use of an operator, in the model or in a body."""

    op_type: str
    domain: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    attributes: Mapping[str, Any]
    overload: str = ""


class _Scope:
    """Digests of the values known by name in one graph; what it does not know, the graph around it does."""

    def __init__(self, constants: Mapping[str, Any], around: _Scope | None = None) -> None:
        self.known: dict[str, bytes] = {}
        self._constants = constants
        self._around = around

    def digest(self, name: str) -> bytes:
        found = self.known.get(name)
        if found is None:
            if name in self._constants:
                found = self.known[name] = _mix("constant", digest_array(_array(self._constants[name])))
            elif self._around is not None:
                return self._around.digest(name)
            else:
                raise ModelError(f"a body or a function of the model reads {name!r}, which nothing before it produces")
        return found


class _Digests:
    """Of one model, whose functions are hashed once."""

    def __init__(self, graph: Graph) -> None:
        self._functions = {(f.domain, f.name, f.overload): f for f in graph.source.functions.values()}
        self._bodies: dict[tuple[str, str, str], bytes] = {}

    def node(self, call: _Call, scope: _Scope, opsets: Mapping[str, int], depth: int) -> bytes:
        """The digest of a node; those of its outputs are entered into the scope."""
        domain = "" if call.domain == "ai.onnx" else call.domain
        opset = opsets.get(domain) or (opsets.get("ai.onnx", 0) if not domain else 0)
        function = self._function(domain, call.op_type, call.overload)
        version, defaults = (0, {}) if function else _meaning(call.op_type, domain, opset)
        attributes = [
            [key, self._plain(value, scope, opsets, depth)]
            for key, value in sorted({**defaults, **call.attributes}.items())
        ]
        inputs = [scope.digest(name) if name else b"" for name in _used(call.inputs)]
        outputs = ["1" if name else "" for name in _used(call.outputs)]  # how many there are can change a Split
        found = _mix("node", call.op_type, domain, call.overload, str(version), function, attributes, inputs, outputs)
        for place, name in enumerate(call.outputs):
            if name:
                scope.known[name] = _mix("output", found, str(place))
        return found

    def _plain(self, value: Any, scope: _Scope, opsets: Mapping[str, int], depth: int) -> Any:
        if isinstance(value, ir.Attr):  # in bodies; the model's own nodes have plain values
            value = _Ref(str(value.ref_attr_name)) if value.is_ref() else value.value
        if isinstance(value, (tuple, list)):
            return [self._plain(item, scope, opsets, depth) for item in value]
        if isinstance(value, (ir.Graph, ir.GraphView)):
            return self._body(value, _Scope(value.initializers, scope), opsets, depth + 1)
        if isinstance(value, (np.ndarray, ir.TensorProtocol)):
            return digest_array(_array(value))
        return repr(value)

    def _body(
        self, body: ir.Graph | ir.GraphView | ir.Function, scope: _Scope, opsets: Mapping[str, int], depth: int
    ) -> bytes:
        for place, value in enumerate(body.inputs):
            scope.known[value.name or ""] = _mix("formal", str(depth), str(place))
        for node in body:
            names = [value.name or "" if value is not None else "" for value in node.inputs]
            made = [value.name or "" for value in node.outputs]
            call = _Call(node.op_type, node.domain, names, made, node.attributes, node.overload)
            self.node(call, scope, opsets, depth)
        results = [scope.digest(value.name or "") for value in body.outputs]
        return _mix("body", str(len(body.inputs)), results)

    def _function(self, domain: str, name: str, overload: str) -> bytes:
        """Digest of a function of the model; empty for an operator."""
        key = (domain, name, overload)
        if key not in self._bodies:
            self._bodies[key] = b""  # also of one that calls itself, which ONNX forbids
            function = self._functions.get(key)
            if function is not None:
                scope = _Scope({})
                formal = [[k, self._plain(v, scope, {}, 0)] for k, v in sorted(function.attributes.items())]
                body = self._body(function, scope, function.opset_imports, 0)
                self._bodies[key] = _mix("function", formal, body)
        return self._bodies[key]


@dataclass(frozen=True)
class _Ref:
    """An attribute inside a function that takes the value of the function's own."""

    name: str


@lru_cache(maxsize=4096)
def _meaning(op_type: str, domain: str, opset: int) -> tuple[int, dict[str, Any]]:
    """Since which opset the operator means what it means, and the default values of its attributes."""
    try:
        schema = defs.get_schema(op_type, opset, domain)
    except defs.SchemaError:  # not one of ONNX's own
        return opset, {}
    named = {key: a.default_value for key, a in schema.attributes.items() if a.default_value.name}
    return schema.since_version, {key: _default(proto) for key, proto in named.items()}


def _default(proto: onnx.AttributeProto) -> Any:
    value = helper.get_attribute_value(proto)
    if isinstance(value, list):
        return tuple(item.decode() if isinstance(item, bytes) else item for item in value)
    return value.decode() if isinstance(value, bytes) else value


def _used(names: Sequence[str]) -> Sequence[str]:
    """Without the optional ones left out at the end."""
    count = len(names)
    while count and not names[count - 1]:
        count -= 1
    return names[:count]


def _array(value: Any) -> Array:
    value = value.const_value if isinstance(value, ir.Value) else value
    return np.asarray(value if isinstance(value, np.ndarray) else value.numpy())


def _mix(*parts: Any) -> bytes:
    state = hashlib.blake2b(digest_size=DIGEST_BYTES)
    feed(state, _listed(parts))
    return state.digest()


def _listed(parts: Iterable[Any]) -> list[Any]:
    return [_listed(part) if isinstance(part, (list, tuple)) else part for part in parts]
