"""Outputs that hold maps (label -> probability, as ONNX's ZipMap makes them), which onnx-ir has no type for.

They are read without a type, which ONNX Runtime infers again, and what the file says of it is kept in words.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx
import onnx_ir as ir

from reconv.errors import ModelError

__all__ = ["TYPE_IN_WORDS", "tell_maps", "without_maps"]

TYPE_IN_WORDS = "type in words"  # of an output that holds maps, among its onnx-ir metadata


def without_maps(model: onnx.ModelProto, where: str) -> tuple[onnx.ModelProto, dict[str, str]]:
    """The model, as a copy without the types that are maps where there are any; and these types, in words, by name.

    Raises:
        ModelError: an input is a map.
    """
    for info in model.graph.input:
        if _holds_map(info.type):
            raise ModelError(f"{where}: input {info.name!r} is a {_words(info.type)}, which is not supported")
    if not any(_holds_map(info.type) for info in (*model.graph.output, *model.graph.value_info)):
        return model, {}
    plain, found = onnx.ModelProto(), {}
    plain.CopyFrom(model)
    for info in (*plain.graph.output, *plain.graph.value_info):
        if _holds_map(info.type):
            found[info.name] = _words(info.type)
            info.ClearField("type")
    return plain, found


def tell_maps(model: ir.Model, words: Mapping[str, str]) -> ir.Model:
    """The model, whose outputs of these names know what they are."""
    for value in model.graph.outputs:
        if (name := value.name or "") in words:
            value.meta[TYPE_IN_WORDS] = words[name]
    return model


def _holds_map(kind: onnx.TypeProto) -> bool:
    for outer in ("sequence_type", "optional_type"):
        if kind.HasField(outer):
            return _holds_map(getattr(kind, outer).elem_type)
    return bool(kind.HasField("map_type"))


def _words(kind: onnx.TypeProto) -> str:
    """In ONNX Runtime's words: ``seq(map(int64,tensor(float)))``."""
    if kind.HasField("sequence_type"):
        return f"seq({_words(kind.sequence_type.elem_type)})"
    if kind.HasField("optional_type"):
        return f"optional({_words(kind.optional_type.elem_type)})"
    if kind.HasField("map_type"):
        key = onnx.TensorProto.DataType.Name(kind.map_type.key_type).lower()
        return f"map({key},{_words(kind.map_type.value_type)})"
    return f"tensor({onnx.TensorProto.DataType.Name(kind.tensor_type.elem_type).lower()})"
