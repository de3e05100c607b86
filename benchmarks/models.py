"""The models that are measured, at the sizes that are quoted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from benchmarks.builders import densenet121, fpn_detection, fpn_segmentation, inception_v3, squeezenet11, unet, written
from benchmarks.options import Options
from reconv.graph import load
from reconv.measure import Array
from scripts.assets import folder


@dataclass(frozen=True)
class BenchModel:
    """asset: its name in scripts/assets.py, or, with a builder, that of the file; shape and tiny: of the input;
    largest: inputs are drawn from 0 to this; frames: measured, fewer where one takes long; builder: makes the model for
    a height and width."""

    title: str
    asset: str
    shape: tuple[int, ...]
    tiny: tuple[int, ...]
    largest: float = 1.0
    frames: int = 40
    builder: Callable[[int], onnx.ModelProto] | None = None

    def path(self, options: Options) -> Path:
        """Where the model is, fetched or built when it is not there."""
        if self.builder is None:
            return options.asset(self.asset)
        size = (self.tiny if options.tiny else self.shape)[-1]
        return written(self.builder(size), folder() / "built" / f"{self.asset}_{size}.onnx")

    def input(self, options: Options) -> dict[str, Array]:
        """The same noise every time: the time of a dense run does not depend on what is seen."""
        name = load(self.path(options)).inputs[0].name
        noise = np.random.default_rng(0).random(self.tiny if options.tiny else self.shape, np.float32)
        return {name: noise * np.float32(self.largest)}


YOLOX = BenchModel("YOLOX-Nano 576x768", "yolox_nano", (1, 3, 576, 768), (1, 3, 96, 128), 255)
MOBILENET_BN = BenchModel("MobileNetV2 unfolded 224x224", "mobilenet_v2_bn", (1, 3, 224, 224), (1, 3, 224, 224))
PPOCR = BenchModel("PP-OCRv4 text detector 640x960", "ppocr_det", (1, 3, 640, 960), (1, 3, 64, 64))

DENSE: tuple[BenchModel, ...] = (
    YOLOX,
    BenchModel("YOLOv8n 640x640", "yolov8n_nudenet", (1, 3, 640, 640), (1, 3, 64, 64)),
    BenchModel("ResNet-50-thin 224x224", "open_nsfw", (1, 224, 224, 3), (1, 224, 224, 3), 255),
    BenchModel("CenterFace 576x768", "centerface_clean", (1, 3, 576, 768), (1, 3, 64, 96), 255),
    BenchModel("MobileNetV2 224x224", "mobilenet_v2", (1, 3, 224, 224), (1, 3, 224, 224)),
    BenchModel("waifu2x 288x384", "waifu2x", (1, 3, 288, 384), (1, 3, 32, 48), frames=12),
)

VISION: tuple[BenchModel, ...] = (
    *DENSE,
    BenchModel("EfficientNet-Lite0 224x224", "efficientnet_lite0", (1, 3, 224, 224), (1, 3, 224, 224)),
    MOBILENET_BN,
    PPOCR,
)


def _upsampling_unet(size: int) -> onnx.ModelProto:
    return unet(size, transposed=False)


# What reordering is worth, from the networks that runtimes run as they are to those that gain.
EXCHANGE: tuple[BenchModel, ...] = (
    YOLOX,
    BenchModel("SqueezeNet 1.1 224x224", "squeezenet11", (1, 3, 224, 224), (1, 3, 64, 64), builder=squeezenet11),
    BenchModel("CREPE tiny, 1 s", "crepe_tiny", (100, 1024), (2, 1024)),
    BenchModel("DenseNet-121 224x224", "densenet121", (1, 3, 224, 224), (1, 3, 64, 64), builder=densenet121),
    BenchModel("Inception-v3 299x299", "inception_v3", (1, 3, 299, 299), (1, 3, 96, 96), builder=inception_v3),
    MOBILENET_BN,
    PPOCR,
    BenchModel(
        "FPN, segmentation 512x512", "fpn_segmentation", (1, 3, 512, 512), (1, 3, 64, 64), builder=fpn_segmentation
    ),
    BenchModel("FPN, detection 512x512", "fpn_detection", (1, 3, 512, 512), (1, 3, 64, 64), builder=fpn_detection),
    BenchModel("U-Net, transposed 512x512", "unet", (1, 3, 512, 512), (1, 3, 32, 32), frames=12, builder=unet),
    BenchModel(
        "U-Net, upsampling 512x512", "unet_upsampling", (1, 3, 512, 512), (1, 3, 32, 32), frames=12,
        builder=_upsampling_unet,
    ),
)  # fmt: skip
