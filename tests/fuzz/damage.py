"""Ways to spoil a model's file: cut off, bits turned over, or a field with a value that nobody would write.

Each case is a function of its arguments alone, so that a case of a report can be had again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from tests.fuzz.bases import BASES, base
from tests.fuzz.hostile import CASES

__all__ = ["broken", "edited", "spoilt"]

Random = np.random.Generator

WHOLE = (0, -1, 1, 2, 3, -2, 7, 255, 65536, 2**24, 2**31 - 1, 2**31, -(2**31), 2**33, 2**40, 2**62, 2**63 - 1, -(2**63))
REAL = (float("nan"), float("inf"), float("-inf"), 0.0, -1.0, 1e-40, 1e38, -3e38, 0.333, 4096.0)
OPERATORS = (
    *("Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "Gemm", "MatMul", "Relu", "Softmax"),
    *("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Concat", "Split", "Slice", "Gather", "Pad", "Resize"),
    *("Upsample", "Tile", "Expand", "DepthToSpace", "ReduceMean", "Cast", "Shape", "Identity", "Dropout", "PRelu"),
    *(
        "BatchNormalization",
        "QuantizeLinear",
        "DequantizeLinear",
        "TopK",
        "Where",
        "NonZero",
        "ConstantOfShape",
        "Einsum",
    ),
    *("LSTM", "Loop", "If", "SequenceAt", "StringNormalizer", "NoSuchOperator"),
)


@cache
def _weights(name: str) -> tuple[tuple[int, int], ...]:
    """Where in the file the large tensors lie: bits turned over there only change a weight."""
    data, spans = base(name), []
    for tensor in onnx.ModelProto.FromString(data).graph.initializer:
        if len(tensor.raw_data) >= 32 and (at := data.find(tensor.raw_data)) >= 0:
            spans.append((at, at + len(tensor.raw_data)))
    return tuple(spans)


@cache
def _structure(name: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The places of all other bytes."""
    kept = np.ones(len(base(name)), bool)
    for first, last in _weights(name):
        kept[first:last] = False
    return np.flatnonzero(kept)


def cut_off(name: str, random: Random) -> bytes:
    data = base(name)
    return data[: int(random.integers(len(data)))]


def bits_turned(name: str, random: Random) -> bytes:
    """One to three bits; two in five are among names, sizes and attributes, the others anywhere, mostly in weights."""
    data = bytearray(base(name))
    places = _structure(name)
    for _ in range(int(random.integers(1, 4))):
        at = int(random.choice(places)) if random.random() < 0.4 else int(random.integers(len(data)))
        data[at] ^= 1 << int(random.integers(8))
    return bytes(data)


def broken(seed: int, index: int) -> tuple[str, bytes]:
    """What was done, and a file that is cut off or has bits turned over."""
    random = np.random.default_rng([seed, index])
    name = list(BASES)[index % len(BASES)]
    if random.random() < 0.2:
        return f"{name}, cut off", cut_off(name, random)
    return f"{name}, bits turned", bits_turned(name, random)


# --- fields ---


def _pick(random: Random, values: Any) -> Any:
    return values[int(random.integers(len(values)))]


def _attribute(model: onnx.ModelProto, random: Random) -> str:
    found = [(node, attribute) for node in model.graph.node for attribute in node.attribute]
    if not found:
        return ""
    node, attribute = _pick(random, found)
    value = _pick(random, WHOLE)
    match int(random.integers(7)):
        case 0 if attribute.ints:
            attribute.ints[int(random.integers(len(attribute.ints)))] = value
        case 1 if attribute.ints:
            attribute.ints[:] = [value] * int(random.integers(6))
        case 2:
            attribute.i, attribute.f = value, _pick(random, REAL)
        case 3:
            attribute.type = int(random.integers(15))
        case 4:
            attribute.s = _pick(random, (b"", b"\xff\xfe", b"SAME_UPPER", b"nearest", b"cubic", b"x" * 5000))
        case 5:
            node.attribute.remove(attribute)
            return f"{node.op_type} without an attribute"
        case _:
            attribute.name = _pick(
                random, ("axis", "axes", "pads", "strides", "group", "kernel_shape", "perm", "to", "")
            )
    return f"{node.op_type}.{attribute.name}"


def _initializer(model: onnx.ModelProto, random: Random) -> str:
    if not model.graph.initializer:
        return ""
    tensor = _pick(random, model.graph.initializer)
    match int(random.integers(5)):
        case 0 if tensor.dims:
            tensor.dims[int(random.integers(len(tensor.dims)))] = _pick(random, WHOLE)
        case 1:
            tensor.dims[:] = [_pick(random, WHOLE) for _ in range(int(random.integers(6)))]
        case 2:
            tensor.data_type = int(random.integers(30))
        case 3:
            tensor.raw_data = tensor.raw_data[: int(random.integers(len(tensor.raw_data) + 1))]
        case _:
            tensor.name = _pick(random, [*(i.name for i in model.graph.initializer), ""])
    return f"initializer {tensor.name}"


def _constant(model: onnx.ModelProto, random: Random) -> str:
    """Other numbers in a constant of a few: shapes, pads, scales, zero points."""
    few = [tensor for tensor in model.graph.initializer if len(tensor.raw_data) <= 128]
    if not few:
        return ""
    tensor = _pick(random, few)
    try:
        array = np.array(numpy_helper.to_array(tensor))
    except Exception:  # spoilt before
        return ""
    if not array.size or array.dtype.kind not in "iuf":
        return ""
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.asarray(REAL if array.dtype.kind == "f" else WHOLE).astype(array.dtype)
    for _ in range(int(random.integers(1, 3))):
        array.flat[int(random.integers(array.size))] = _pick(random, values)
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return f"values of {tensor.name}"


def _node(model: onnx.ModelProto, random: Random) -> str:
    graph = model.graph
    node = _pick(random, graph.node)
    names = [name for other in graph.node for name in (*other.input, *other.output)] + [i.name for i in graph.input]
    match int(random.integers(8)):
        case 0:
            node.op_type = _pick(random, OPERATORS)
        case 1:
            node.domain = _pick(random, ("com.microsoft", "ai.onnx.ml", "own", "\u2603"))
        case 2 if node.input:
            node.input[int(random.integers(len(node.input)))] = _pick(random, names)  # a cycle, another type
        case 3 if node.input:
            del node.input[int(random.integers(len(node.input))) :]
        case 4 if node.output:
            node.output[0] = _pick(random, names)
        case 5:
            node.input.extend([_pick(random, names)] * int(random.integers(1, 4)))
        case 6:
            graph.node.add().CopyFrom(node)
        case _:
            graph.node.remove(node)
            return "a node less"
    return f"node {node.op_type}"


def _border(model: onnx.ModelProto, random: Random) -> str:
    """Declared types and shapes, which then contradict what the nodes make."""
    graph = model.graph
    info = _pick(random, [*graph.input, *graph.output, *graph.value_info])
    kind = info.type.tensor_type
    match int(random.integers(6)):
        case 0:
            kind.elem_type = int(random.integers(30))
        case 1 if kind.shape.dim:
            _pick(random, kind.shape.dim).dim_value = _pick(random, WHOLE)
        case 2:
            kind.shape.dim.add().dim_value = _pick(random, WHOLE)
        case 3:
            del kind.shape.dim[int(random.integers(len(kind.shape.dim) + 1)) :]
        case 4:
            info.type.sequence_type.elem_type.tensor_type.elem_type = TensorProto.FLOAT
        case _:
            info.name = _pick(random, ["", "x", "nowhere", *(i.name for i in graph.output)])
    return f"declaration of {info.name}"


def _head(model: onnx.ModelProto, random: Random) -> str:
    value = _pick(random, WHOLE)
    match int(random.integers(5)):
        case 0:
            model.opset_import[0].version = value
        case 1:
            model.opset_import[0].version = int(random.integers(1, 40))
        case 2:
            model.opset_import.add(domain=_pick(random, ("", "com.microsoft", "ai.onnx")), version=value)
        case 3:
            model.ir_version = value
        case _:
            _pick(random, [*model.graph.initializer] or [model.graph.initializer.add()]).data_location = 1
    return "head"


EDITS: tuple[Callable[[onnx.ModelProto, Random], str], ...] = (
    *(_attribute, _attribute, _attribute, _constant, _constant, _constant, _initializer, _node, _node, _border, _head),
)


def edited(seed: int, index: int) -> tuple[str, bytes]:
    """What was done, and a file that protobuf reads, with one to three fields that nobody would write so."""
    random = np.random.default_rng([seed, 1, index])
    name = list(BASES)[index % len(BASES)]
    model = onnx.ModelProto.FromString(base(name))
    done = [_pick(random, EDITS)(model, random) for _ in range(int(random.integers(1, 4)))]
    return f"{name}, {'; '.join(filter(None, done))}", model.SerializeToString()


def spoilt(kind: str, seed: int, index: int) -> tuple[str, bytes]:
    """A case of `broken`, of `edited`, or of the list in `hostile`, by name."""
    if kind == "hostile":
        return CASES[index].name, CASES[index].data()
    return {"broken": broken, "edited": edited}[kind](seed, index)
