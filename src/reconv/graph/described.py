"""What a model's file says of itself, in ONNX Runtime's words: ``tensor(float)``, a list of sizes, who made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from reconv.errors import ModelError
from reconv.graph.graph import Graph, TensorInfo
from reconv.graph.maps import TYPE_IN_WORDS
from reconv.graph.old import OLDEST_IR
from reconv.graph.sizes import named_shapes_of

__all__ = [
    "Described",
    "Metadata",
    "described_inputs",
    "described_outputs",
    "element_type",
    "metadata",
    "overridable",
]

WORDS = {"FLOAT": "float", "FLOAT16": "float16", "DOUBLE": "double"}  # others are ONNX's names in small letters

NO_VERSION = 2**63 - 1  # ONNX Runtime's number for it


@dataclass(frozen=True)
class Described:
    """An input or output: its name, its type in words, and a number, a name or None for each of its sizes."""

    name: str
    type: str
    shape: list[int | str | None]

    def __str__(self) -> str:
        return f"NodeArg(name='{self.name}', type='{self.type}', shape={self.shape})"


@dataclass(frozen=True)
class Metadata:
    """Who made a model, with what, and which version of it; empty where the file does not say."""

    producer_name: str
    graph_name: str
    domain: str
    description: str
    graph_description: str
    version: int
    custom_metadata_map: Mapping[str, str]


def described_inputs(graph: Graph) -> list[Described]:
    """The inputs that have to be given."""
    values = {value.name: value for value in graph.source.graph.inputs}
    return [_described(info, values.get(info.name)) for info in graph.inputs]


def described_outputs(graph: Graph) -> list[Described]:
    """The outputs; sizes that the file leaves open are inferred as far as that goes."""
    values = {value.name: value for value in graph.source.graph.outputs}
    found = [_described(info, values.get(info.name)) for info in graph.outputs]
    if all(info.has_rank and None not in info.shape for info in graph.outputs):
        return found
    try:
        inferred = named_shapes_of(graph)
    except ModelError:  # ONNX's inference refuses what runs all the same
        return found
    return [_filled(each, list(inferred.get(each.name, ()))) for each in found]


def overridable(graph: Graph) -> list[Described]:
    """Weights that the file also lists as inputs: whoever runs the model may give others.

    In files older than IR version 4 all weights are inputs, and ONNX Runtime takes them for constants.
    """
    inner = graph.source.graph
    if graph.source.ir_version < OLDEST_IR:
        return []
    return [
        Described(value.name or "", _words(value.type), [_size(size) for size in value.shape or ()])
        for value in inner.inputs
        if value.name in inner.initializers
    ]


def metadata(graph: Graph) -> Metadata:
    """What the file says of the model as a whole."""
    model = graph.source
    return Metadata(
        producer_name=model.producer_name or "",
        graph_name=model.graph.name or "",
        domain=model.domain or "",
        description=model.doc_string or "",
        graph_description=model.graph.doc_string or "",
        version=NO_VERSION if model.model_version is None else model.model_version,
        custom_metadata_map=dict(model.metadata_props),
    )


def _described(info: TensorInfo, value: ir.Value | None) -> Described:
    words = "" if value is None else value.meta.get(TYPE_IN_WORDS) or _words(value.type)
    return Described(info.name, words, list(info.shape))


def _filled(each: Described, inferred: list[int | str | None]) -> Described:
    if not each.shape:
        return Described(each.name, each.type, list(inferred))
    if len(inferred) != len(each.shape):
        return each
    pairs = zip(each.shape, inferred, strict=True)
    return Described(each.name, each.type, [own if own is not None else other for own, other in pairs])


def _words(kind: ir.TypeProtocol | None) -> str:
    if isinstance(kind, ir.SequenceType):
        return f"seq({_words(kind.elem_type)})"
    if isinstance(kind, ir.OptionalType):
        return f"optional({_words(kind.elem_type)})"
    if isinstance(kind, (ir.TensorType, ir.SparseTensorType)):
        name = kind.dtype.name
        outer = "sparse_tensor" if isinstance(kind, ir.SparseTensorType) else "tensor"
        return f"{outer}({WORDS.get(name, name.lower())})"
    return ""


def _size(size: int | ir.SymbolicDim) -> int | str | None:
    return size if isinstance(size, int) else size.value


def element_type(number: int) -> np.dtype[Any]:
    """The type of arrays that ONNX gives this number (1 is float32)."""
    return np.dtype(ir.DataType(number).numpy())
