"""Files of opset 7 and 8, as old exporters wrote them, brought to opset 9 by ONNX's own version converter.

What the converter leaves over is done here: a BatchNormalization with one mean for each value of a map, not for each
channel (``spatial`` is 0), is a Mul and an Add; and weights that a file of an old IR version does not list as inputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, version_converter

from reconv.errors import ModelError, one_line

__all__ = ["OLDEST_IR", "OLDEST_OPSET", "modern"]

Array = np.ndarray[Any, Any]

OLDEST_OPSET = 7
NEWER_OPSET = 9
EPSILON = 1e-5  # of a BatchNormalization that gives none
OLDEST_IR = 4  # the IR version since which weights need not be listed as inputs


def modern(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """The model itself, or the same model of opset 9 where its opset is 7 or 8.

    Raises:
        ModelError: the opset is before 7, or the converter does not know an operator of the model.
    """
    opset = next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 0)
    if not 0 < opset < NEWER_OPSET:
        return model
    if opset < OLDEST_OPSET:
        raise ModelError(
            f"{where} uses opset {opset}, expected {OLDEST_OPSET} or newer; "
            "convert it with onnx.version_converter.convert_version"
        )
    old = onnx.ModelProto()
    old.CopyFrom(model)
    old.ir_version = max(model.ir_version, OLDEST_IR)
    try:
        _without_spatial(old.graph)
        made: onnx.ModelProto = version_converter.convert_version(old, NEWER_OPSET)
    except Exception as error:  # the C++ side raises plain RuntimeErrors; sizes that do not fit
        why = _unknown(old.graph, opset) or one_line(error).rpartition("` failed: ")[2]
        raise ModelError(f"{where} cannot be brought from opset {opset} to {NEWER_OPSET}: {why}") from error
    made.ir_version = model.ir_version
    return made


def _unknown(graph: onnx.GraphProto, opset: int) -> str:
    """Names an operator that ONNX does not have, if there is one."""
    for node in graph.node:
        try:
            if node.domain in ("", "ai.onnx"):
                onnx.defs.get_schema(node.op_type, opset, "")
        except onnx.defs.SchemaError:
            return f"ONNX has no operator {node.op_type!r} there"
    return ""


def _without_spatial(graph: onnx.GraphProto) -> None:
    """Make BatchNormalizations whose ``spatial`` is 0 what opset 9 has, in place, where their weights are constants.

    Others stay, and the converter says that it cannot.
    """
    weights = {tensor.name: tensor for tensor in graph.initializer}
    taken = {*weights, *(each.name for each in graph.input), *(name for node in graph.node for name in node.output)}
    nodes = list(graph.node)
    del graph.node[:]
    for node in nodes:
        given = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        known = len(node.output) == 1 and len(node.input) == 5 and all(name in weights for name in node.input[1:])
        if node.op_type != "BatchNormalization" or given.get("spatial", 1) or not known:
            graph.node.append(node)
        elif len(weights[node.input[1]].dims) < 2:  # a map of one value for each channel
            del node.attribute[[each.name for each in node.attribute].index("spatial")]
            graph.node.append(node)
        else:
            parts = [_array(weights[name]) for name in node.input[1:]]
            graph.node.extend(_scaled(graph, node, parts, float(given.get("epsilon", EPSILON)), taken))


def _scaled(
    graph: onnx.GraphProto, node: onnx.NodeProto, parts: list[Array], epsilon: float, taken: set[str]
) -> list[onnx.NodeProto]:
    """``(x - mean) / sqrt(var + epsilon) * scale + bias`` as ``x * factor + shift``."""
    scale, bias, mean, var = parts
    with np.errstate(all="ignore"):  # what is no number stays none, as in ONNX Runtime
        factor = scale / np.sqrt(var + np.asarray(epsilon, var.dtype))
    made = node.output[0]
    names = [_fresh(f"{made}/{part}", taken) for part in ("factor", "shift", "scaled")]
    graph.initializer.append(numpy_helper.from_array(factor, names[0]))
    graph.initializer.append(numpy_helper.from_array(bias - mean * factor, names[1]))
    return [
        helper.make_node("Mul", [node.input[0], names[0]], [names[2]], f"{node.name or made}/mul"),
        helper.make_node("Add", [names[2], names[1]], [made], f"{node.name or made}/add"),
    ]


def _fresh(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _array(tensor: onnx.TensorProto) -> Array:
    return np.asarray(numpy_helper.to_array(tensor))
