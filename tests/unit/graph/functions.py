"""A model that calls two functions of one domain and name, told apart by their overload."""

from __future__ import annotations

import onnx
from onnx import helper

__all__ = ["overloaded"]


def overloaded(first: str, second: str) -> onnx.ModelProto:
    """p = f:first(x), q = f:second(x), y = p - q over three floats; f:one is Relu, f:two Abs, f:three Relu again."""
    functions = []
    for name, op_type in (("one", "Relu"), ("two", "Abs"), ("three", "Relu")):
        opsets = [helper.make_opsetid("", 17)]
        function = helper.make_function("own", "f", ["a"], ["b"], [helper.make_node(op_type, ["a"], ["b"])], opsets)
        function.overload = name
        functions.append(function)
    nodes = [
        helper.make_node("f", ["x"], ["p"], domain="own", overload=first),
        helper.make_node("f", ["x"], ["q"], domain="own", overload=second),
        helper.make_node("Sub", ["p", "q"], ["y"]),
    ]
    info = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [3]) for name in "xy"]
    return helper.make_model(
        helper.make_graph(nodes, "g", info[:1], info[1:]),
        functions=functions,
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("own", 1)],
        ir_version=10,
    )
