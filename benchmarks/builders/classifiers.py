"""DenseNet-121, SqueezeNet 1.1 and Inception-v3, layer by layer as torchvision has them, with 1,000 classes.

- DenseNet: Huang et al. 2017, "Densely Connected Convolutional Networks", table 1; growth 32, bottleneck 4.
- SqueezeNet: Iandola et al. 2016; version 1.1 of the authors' repository, with fewer multiply-adds.
- Inception-v3: Szegedy et al. 2016, "Rethinking the Inception Architecture", without the auxiliary classifier, which
  is for training only.
"""

from __future__ import annotations

from typing import Any

import onnx

from benchmarks.builders.layers import Layers, Map, Size

_CLASSES = {"logits": (1, 1000)}
_GROWTH = 32
_BLOCKS = (6, 12, 24, 16)


def densenet121(size: int = 224, *, fold: bool = True) -> onnx.ModelProto:
    """Batch normalisations before convolutions stay: one before each pair of a block, and in the transitions."""
    b = Layers("densenet121", size, fold=fold)
    x = b.conv_relu(b.input, 64, 7, stride=2, pad=3, at="features.conv0", norm="features.norm0")
    x = b.max_pool(x, 3, 2, pad=1)
    for block, count in enumerate(_BLOCKS, 1):
        maps = [x]
        for layer in range(1, count + 1):
            at = f"features.denseblock{block}.denselayer{layer}"
            y = b.relu(b.norm(b.concat(maps), at=f"{at}.norm1"))
            y = b.conv_relu(y, 4 * _GROWTH, at=f"{at}.conv1", norm=f"{at}.norm2")
            maps.append(b.conv(y, _GROWTH, 3, pad=1, bias=False, at=f"{at}.conv2"))
        x = b.concat(maps)
        if block < len(_BLOCKS):
            at = f"features.transition{block}"
            x = b.conv(b.relu(b.norm(x, at=f"{at}.norm")), x.channels // 2, bias=False, at=f"{at}.conv")
            x = b.average_pool(x, 2, 2)
    x = b.pooled(b.relu(b.norm(x, at="features.norm5")))
    return b.model({"logits": b.linear(x, 1000, at="classifier")}, _CLASSES)


def _fire(b: Layers, x: Map, squeezed: int, at: str) -> Map:
    """Squeeze by a 1x1 convolution, expand fourfold by 1x1 and by 3x3 ones, side by side."""
    x = b.conv_relu(x, squeezed, at=f"{at}.squeeze")
    small = b.conv_relu(x, 4 * squeezed, at=f"{at}.expand1x1")
    return b.concat([small, b.conv_relu(x, 4 * squeezed, 3, pad=1, at=f"{at}.expand3x3")])


def squeezenet11(size: int = 224) -> onnx.ModelProto:
    b = Layers("squeezenet1_1", size)
    x = b.conv_relu(b.input, 64, 3, stride=2, at="features.0")
    index = 2
    for squeezed in ((16, 16), (32, 32), (48, 48, 64, 64)):
        x = b.max_pool(x, 3, 2, ceil=True)
        for count in squeezed:
            index += 1
            x = _fire(b, x, count, f"features.{index}")
        index += 1
    return b.model({"logits": b.pooled(b.conv_relu(x, 1000, at="classifier.1"))}, _CLASSES)


class _Inception(Layers):
    """The blocks of Inception-v3; the letters are torchvision's."""

    def unit(self, x: Map, channels: int, kernel: int | Size = 1, *, at: str, **options: Any) -> Map:
        return self.conv_relu(x, channels, kernel, at=f"{at}.conv", norm=f"{at}.bn", epsilon=1e-3, **options)

    def same(self, x: Map, channels: int, kernel: Size, at: str) -> Map:
        return self.unit(x, channels, kernel, pad=(kernel[0] // 2, kernel[1] // 2), at=at)

    def pool_branch(self, x: Map, channels: int, at: str) -> Map:
        return self.unit(self.average_pool(x, 3, 1, pad=1), channels, at=f"{at}.branch_pool")

    def a(self, x: Map, pool_features: int, at: str) -> Map:
        single = self.unit(x, 64, at=f"{at}.branch1x1")
        five = self.same(self.unit(x, 48, at=f"{at}.branch5x5_1"), 64, (5, 5), f"{at}.branch5x5_2")
        three = self.unit(x, 64, at=f"{at}.branch3x3dbl_1")
        three = self.same(three, 96, (3, 3), f"{at}.branch3x3dbl_2")
        three = self.same(three, 96, (3, 3), f"{at}.branch3x3dbl_3")
        return self.concat([single, five, three, self.pool_branch(x, pool_features, at)])

    def b(self, x: Map, at: str) -> Map:
        three = self.unit(x, 384, 3, stride=2, at=f"{at}.branch3x3")
        double = self.unit(x, 64, at=f"{at}.branch3x3dbl_1")
        double = self.same(double, 96, (3, 3), f"{at}.branch3x3dbl_2")
        double = self.unit(double, 96, 3, stride=2, at=f"{at}.branch3x3dbl_3")
        return self.concat([three, double, self.max_pool(x, 3, 2)])

    def c(self, x: Map, inner: int, at: str) -> Map:
        single = self.unit(x, 192, at=f"{at}.branch1x1")
        seven = self.unit(x, inner, at=f"{at}.branch7x7_1")
        seven = self.same(seven, inner, (1, 7), f"{at}.branch7x7_2")
        seven = self.same(seven, 192, (7, 1), f"{at}.branch7x7_3")
        double = self.unit(x, inner, at=f"{at}.branch7x7dbl_1")
        for step, kernel in enumerate(((7, 1), (1, 7), (7, 1), (1, 7)), 2):
            double = self.same(double, 192 if step == 5 else inner, kernel, f"{at}.branch7x7dbl_{step}")
        return self.concat([single, seven, double, self.pool_branch(x, 192, at)])

    def d(self, x: Map, at: str) -> Map:
        three = self.unit(x, 192, at=f"{at}.branch3x3_1")
        three = self.unit(three, 320, 3, stride=2, at=f"{at}.branch3x3_2")
        seven = self.unit(x, 192, at=f"{at}.branch7x7x3_1")
        seven = self.same(seven, 192, (1, 7), f"{at}.branch7x7x3_2")
        seven = self.same(seven, 192, (7, 1), f"{at}.branch7x7x3_3")
        seven = self.unit(seven, 192, 3, stride=2, at=f"{at}.branch7x7x3_4")
        return self.concat([three, seven, self.max_pool(x, 3, 2)])

    def e(self, x: Map, at: str) -> Map:
        def split(y: Map, name: str) -> list[Map]:
            return [self.same(y, 384, (1, 3), f"{name}a"), self.same(y, 384, (3, 1), f"{name}b")]

        single = self.unit(x, 320, at=f"{at}.branch1x1")
        three = split(self.unit(x, 384, at=f"{at}.branch3x3_1"), f"{at}.branch3x3_2")
        double = self.same(self.unit(x, 448, at=f"{at}.branch3x3dbl_1"), 384, (3, 3), f"{at}.branch3x3dbl_2")
        pool = self.pool_branch(x, 192, at)
        # two Concats within a Concat, which the exporter makes one
        return self.concat([single, *three, *split(double, f"{at}.branch3x3dbl_3"), pool])


def inception_v3(size: int = 299, *, fold: bool = True) -> onnx.ModelProto:
    b = _Inception("inception_v3", size, fold=fold)
    x = b.unit(b.input, 32, 3, stride=2, at="Conv2d_1a_3x3")
    x = b.unit(x, 32, 3, at="Conv2d_2a_3x3")
    x = b.max_pool(b.same(x, 64, (3, 3), "Conv2d_2b_3x3"), 3, 2)
    x = b.unit(x, 80, at="Conv2d_3b_1x1")
    x = b.max_pool(b.unit(x, 192, 3, at="Conv2d_4a_3x3"), 3, 2)
    for name, pool_features in (("Mixed_5b", 32), ("Mixed_5c", 64), ("Mixed_5d", 64)):
        x = b.a(x, pool_features, name)
    x = b.b(x, "Mixed_6a")
    for name, inner in (("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)):
        x = b.c(x, inner, name)
    x = b.e(b.e(b.d(x, "Mixed_7a"), "Mixed_7b"), "Mixed_7c")
    return b.model({"logits": b.linear(b.pooled(x), 1000, at="fc")}, _CLASSES)
