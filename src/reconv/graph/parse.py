"""A small model from ONNX's text format: what examples of rules are written in.

The text is a graph as `onnx.parser` reads it, for example::

    g (float[1, 3, 8, 8] x) => (float[1, 4, 8, 8] y) { y = Conv (x, w, b) }

Constants come beside it, as arrays by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from reconv.errors import ModelError, one_line
from reconv.graph.graph import Graph
from reconv.graph.load import load

__all__ = ["parse"]


def parse(text: str, constants: Mapping[str, np.ndarray[Any, Any]], opset: int = 17) -> Graph:
    """The graph of a text.

    Raises:
        ModelError: the text is not a graph, or `load` refuses it.
    """
    try:
        graph = onnx.parser.parse_graph(text)
    except Exception as error:
        raise ModelError(f"not a graph in ONNX's text format: {one_line(error)}") from error
    graph.initializer.extend(numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items())
    return load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10))
