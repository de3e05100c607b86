"""The two networks that are trained on Fashion-MNIST: 28x28 grey pictures of ten kinds of clothes, any batch.

Batch norms stay nodes, as training wants them, and begin as the identity; the weights are He's.
"""

from __future__ import annotations

import onnx
from onnx import numpy_helper

from benchmarks.builders.layers import Layers, Map

__all__ = ["mobilenet_28", "resnet20"]

SIZE, CLASSES = 28, 10


def resnet20(seed: int = 0) -> onnx.ModelProto:
    """He et al., Deep Residual Learning (2016), section 4.2: 3 x 3 blocks of 16, 32 and 64 channels, a projection
    where they change; 31 million multiply-adds."""
    net = Layers("resnet20", SIZE, channels=1, batch="batch", fold=False, seed=seed)
    x = net.relu(net.conv(net.input, 16, 3, pad=1, at="stem", norm="stem.norm"))
    for stage, channels in enumerate((16, 32, 64)):
        for block in range(3):
            x = _residual(net, x, channels, 2 if stage and not block else 1, f"stages.{stage}.{block}")
    return _finished(net, x)


def _residual(net: Layers, x: Map, channels: int, stride: int, at: str) -> Map:
    y = net.relu(net.conv(x, channels, 3, stride=stride, pad=1, at=f"{at}.first", norm=f"{at}.first.norm"))
    y = net.conv(y, channels, 3, pad=1, at=f"{at}.second", norm=f"{at}.second.norm")
    if x.channels != channels:
        x = net.conv(x, channels, stride=stride, at=f"{at}.beside", norm=f"{at}.beside.norm")
    return net.relu(net.add(y, x))


def mobilenet_28(seed: int = 0) -> onnx.ModelProto:
    """Sandler et al., MobileNetV2 (2018), for small pictures: inverted residuals in three sizes (28, 14, 7), ReLU6."""
    net = Layers("mobilenet_28", SIZE, channels=1, batch="batch", fold=False, seed=seed)
    x = net.relu6(net.conv(net.input, 32, 3, pad=1, at="stem", norm="stem.norm"))
    # expansion, channels, blocks, stride of the first
    for stage, (expansion, channels, blocks, stride) in enumerate(
        ((1, 16, 1, 1), (6, 24, 2, 2), (6, 40, 3, 2), (6, 80, 3, 1))
    ):
        for block in range(blocks):
            step = stride if block == 0 else 1
            x = _inverted(net, x, channels, expansion=expansion, stride=step, at=f"stages.{stage}.{block}")
    x = net.relu6(net.conv(x, 320, at="top", norm="top.norm"))
    return _finished(net, x)


def _inverted(net: Layers, x: Map, channels: int, *, expansion: int, stride: int, at: str) -> Map:
    wide, y = x.channels * expansion, x
    if expansion != 1:
        y = net.relu6(net.conv(y, wide, at=f"{at}.wide", norm=f"{at}.wide.norm"))
    y = net.conv(y, wide, 3, stride=stride, pad=1, groups=wide, at=f"{at}.depth", norm=f"{at}.depth.norm")
    y = net.conv(net.relu6(y), channels, at=f"{at}.narrow", norm=f"{at}.narrow.norm")
    return net.add(x, y) if stride == 1 and x.channels == channels else y


def _finished(net: Layers, x: Map) -> onnx.ModelProto:
    y = net.linear(net.pooled(x), CLASSES, at="head")
    model = net.model({"logits": y}, {"logits": ("batch", CLASSES)})
    for weight in model.graph.initializer:
        part = weight.name.rpartition(".")[2]
        if ".norm." in weight.name:
            array = numpy_helper.to_array(weight).copy()
            array[:] = 1.0 if part in ("weight", "running_var") else 0.0
            weight.CopyFrom(numpy_helper.from_array(array, weight.name))
    return model
