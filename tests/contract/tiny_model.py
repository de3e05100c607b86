"""A network of two convolutions on (1, 3, height, width), and frames of which a few pixels move."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper


def save_tiny_model(path: Path, input_name: str = "x") -> Path:
    """x (1, 3, h, w) -> Conv 3x3 + Relu -> Conv 1x1 -> y (1, 4, h, w), weights drawn once."""
    random = np.random.default_rng(7)
    weights = {
        "w1": random.normal(0, 0.2, (8, 3, 3, 3)),
        "b1": random.normal(0, 0.1, 8),
        "w2": random.normal(0, 0.3, (4, 8, 1, 1)),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Conv", [input_name, "w1", "b1"], ["a"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["a"], ["r"]),
            helper.make_node("Conv", ["r", "w2"], ["y"], kernel_shape=[1, 1]),
        ],
        "tiny",
        [helper.make_tensor_value_info(input_name, TensorProto.FLOAT, [1, 3, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, "h", "w"])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def frame(index: int, height: int = 12, width: int = 16) -> npt.NDArray[np.float32]:
    """(1, 3, height, width): a fixed picture with one bright pixel that moves by one each frame."""
    picture = np.random.default_rng(3).random((1, 3, height, width), np.float32)
    picture[0, :, index % height, index % width] = 2.0
    return picture
