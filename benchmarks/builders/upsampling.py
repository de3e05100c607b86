"""Networks that sample up: U-Net, and a feature pyramid with two kinds of heads.

- U-Net: Ronneberger et al. 2015, with padded convolutions and batch normalisation. On the way up either a transposed
  convolution or, as many implementations offer, a bilinear upsampling and a 1x1 convolution that halves the channels.
- FPN: Lin et al. 2017, "Feature Pyramid Networks", on a residual network of basic blocks (He et al. 2016).
  Its head for segmentation brings all levels to the finest size, concatenates them and mixes them by a 1x1 convolution
  (Xie et al. 2021, SegFormer's decoder; Sun et al. 2019, HRNetV2's head). Its head for detection is RetinaNet's (Lin et
  al. 2017, "Focal Loss"): two towers over every level, with the same weights at all of them.
"""

from __future__ import annotations

import onnx

from benchmarks.builders.layers import Layers, Map


def _double(b: Layers, x: Map, channels: int, at: str) -> Map:
    for index in (1, 2):
        x = b.conv_relu(x, channels, 3, pad=1, at=f"{at}.conv{index}", norm=f"{at}.norm{index}")
    return x


def unet(
    size: int = 512, *, width: int = 32, transposed: bool = True, classes: int = 1, fold: bool = True
) -> onnx.ModelProto:
    """width: channels at full size, doubled at each of four halvings; transposed: see above. size: a multiple of 16."""
    b = Layers("unet", size, fold=fold)
    x = _double(b, b.input, width, "encoder1")
    skips = []
    for level in range(1, 5):
        skips.append(x)
        x = _double(b, b.max_pool(x, 2, 2), width << level, "bottleneck" if level == 4 else f"encoder{level + 1}")
    for level, skip in reversed(list(enumerate(skips, 1))):
        at = f"upconv{level}"
        x = b.upconv(x, skip.channels, at=at) if transposed else b.conv(b.upsample(x, 2), skip.channels, at=f"{at}.1")
        x = _double(b, b.concat([x, skip]), skip.channels, f"decoder{level}")
    return b.model({"mask": b.conv(x, classes, at="conv")}, {"mask": (1, classes, size, size)})


def _block(b: Layers, x: Map, channels: int, stride: int, at: str) -> Map:
    """Two 3x3 convolutions beside a shortcut, which is a strided 1x1 convolution where the shape changes."""
    y = b.conv_relu(x, channels, 3, stride=stride, pad=1, at=f"{at}.conv1", norm=f"{at}.bn1")
    y = b.conv(y, channels, 3, pad=1, at=f"{at}.conv2", norm=f"{at}.bn2", gain=0.4)
    if stride != 1 or x.channels != channels:
        x = b.conv(x, channels, stride=stride, at=f"{at}.downsample.0", norm=f"{at}.downsample.1")
    return b.relu(b.add(y, x))


def _residual(b: Layers, width: int, blocks: tuple[int, ...]) -> list[Map]:
    """The four stages of a ResNet; 64 and (2, 2, 2, 2) are ResNet-18. Strides 4, 8, 16 and 32."""
    x = b.conv_relu(b.input, width, 7, stride=2, pad=3, at="body.conv1", norm="body.bn1")
    x = b.max_pool(x, 3, 2, pad=1)
    stages = []
    for stage, count in enumerate(blocks):
        for index in range(count):
            stride = 2 if stage and not index else 1
            x = _block(b, x, width << stage, stride, f"body.layer{stage + 1}.{index}")
        stages.append(x)
    return stages


def _pyramid(b: Layers, stages: list[Map], channels: int) -> list[Map]:
    """Lateral 1x1 convolutions, nearest upsampling and addition, 3x3 smoothing; the finest level first."""
    levels: list[Map] = []
    above: Map | None = None
    for index, stage in reversed(list(enumerate(stages))):
        x = b.conv(stage, channels, at=f"fpn.inner_blocks.{index}", gain=0.5)
        above = x if above is None else b.add(x, b.upsample(above, 2, nearest=True))
        levels.insert(0, b.conv(above, channels, 3, pad=1, at=f"fpn.layer_blocks.{index}"))
    return levels


def fpn_segmentation(
    size: int = 512, *, width: int = 32, channels: int = 128, classes: int = 21, fold: bool = True
) -> onnx.ModelProto:
    """width: of the residual network (64: ResNet-18's), channels: of the pyramid; the mask has a quarter of the size,
    which is a multiple of 32."""
    b = Layers("fpn_segmentation", size, fold=fold)
    finest, *others = _pyramid(b, _residual(b, width, (2, 2, 2, 2)), channels)
    maps = [finest, *(b.upsample(x, 2 << index) for index, x in enumerate(others))]
    x = b.conv_relu(b.concat(maps), channels, at="head.fuse.conv", norm="head.fuse.bn")
    x = b.conv(x, classes, at="head.predict")
    return b.model({"mask": x}, {"mask": (1, classes, size // 4, size // 4)})


def fpn_detection(
    size: int = 512, *, width: int = 32, channels: int = 64, classes: int = 80, anchors: int = 9, fold: bool = True
) -> onnx.ModelProto:
    """Class scores and box offsets of every anchor at strides 8, 16 and 32, with towers of two convolutions."""
    b = Layers("fpn_detection", size, fold=fold)
    outputs, shapes = {}, {}
    for level, x in enumerate(_pyramid(b, _residual(b, width, (2, 2, 2, 2))[1:], channels)):
        for name, count in (("classes", classes), ("boxes", 4)):
            y = x
            for index in range(2):
                y = b.conv_relu(y, channels, 3, pad=1, at=f"head.{name}.{index}")
            outputs[f"{name}{level}"] = b.conv(y, anchors * count, 3, pad=1, at=f"head.{name}.predict")
            shapes[f"{name}{level}"] = (1, anchors * count, size // (8 << level), size // (8 << level))
    return b.model(outputs, shapes)
