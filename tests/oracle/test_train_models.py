"""Real models as torch modules against ONNX Runtime, which runs them node by node."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from reconv.compress.train.net import Net
from reconv.graph import load

# asset, shape of the input, what values go up to, least share of the float constants that are trained
CASES: tuple[tuple[str, tuple[int, ...], float, float], ...] = (
    ("yolox_nano", (1, 3, 64, 96), 255, 0.99),
    ("yolov8n_nudenet", (2, 3, 64, 96), 1, 0.99),
    ("ppocr_det", (2, 3, 64, 64), 1, 0.99),
    ("open_nsfw", (1, 224, 224, 3), 255, 0.99),
    ("centerface_clean", (2, 3, 64, 96), 255, 0.99),
    ("mobilenet_v2", (2, 3, 96, 96), 1, 0.99),
    ("mobilenet_v2_bn", (2, 3, 96, 96), 1, 0.98),
    ("efficientnet_lite0", (2, 3, 96, 96), 1, 0.99),
    ("waifu2x", (2, 3, 32, 48), 1, 0.99),
    ("crepe_tiny", (2, 1024), 1, 0.98),
    ("basic_pitch", (1, 43844, 1), 1, 0.98),
)


@pytest.mark.parametrize(("name", "shape", "largest", "share"), CASES, ids=[case[0] for case in CASES])
def test_real_models_give_what_onnx_runtime_gives(
    name: str, shape: tuple[int, ...], largest: float, share: float, asset: Any
) -> None:
    path = asset(name)
    graph = load(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    maps = np.random.default_rng(0).random(shape, np.float32) * np.float32(largest)
    feeds = {graph.inputs[0].name: maps}
    torch.set_num_threads(1)
    net = Net(graph).eval()
    with torch.no_grad():
        found = net({k: torch.tensor(v) for k, v in feeds.items()})
    for info, wanted in zip(graph.outputs, session.run(None, feeds), strict=True):
        # sums in another order; ONNX Runtime's sigmoid of what is far below zero is not that of the textbooks
        tolerance = 2e-4 * max(float(np.abs(wanted).max()), 0.05)
        np.testing.assert_allclose(found[info.name].numpy(), wanted, atol=tolerance)
    floats = sum(array.size for array in graph.constants.values() if array.dtype == np.float32)
    assert sum(weight.numel() for weight in net.parameters()) >= share * floats
    back = net.graph()
    for constant, array in graph.constants.items():
        np.testing.assert_array_equal(back.constants[constant], array)
