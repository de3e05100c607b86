"""The models that are measured, at the sizes that are quoted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.options import Options
from reconv.graph import load
from reconv.measure import Array


@dataclass(frozen=True)
class BenchModel:
    """asset: its name in scripts/assets.py; shape and tiny: of the input; largest: inputs are drawn from 0 to this;
    frames: measured, fewer where one takes long."""

    title: str
    asset: str
    shape: tuple[int, int, int, int]
    tiny: tuple[int, int, int, int]
    largest: float = 1.0
    frames: int = 40

    def input(self, options: Options) -> dict[str, Array]:
        """The same noise every time: the time of a dense run does not depend on what is seen."""
        name = load(options.asset(self.asset)).inputs[0].name
        noise = np.random.default_rng(0).random(self.tiny if options.tiny else self.shape, np.float32)
        return {name: noise * np.float32(self.largest)}


YOLOX = BenchModel("YOLOX-Nano 576x768", "yolox_nano", (1, 3, 576, 768), (1, 3, 96, 128), 255)

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
    BenchModel("MobileNetV2 unfolded 224x224", "mobilenet_v2_bn", (1, 3, 224, 224), (1, 3, 224, 224)),
    BenchModel("PP-OCRv4 text detector 640x960", "ppocr_det", (1, 3, 640, 960), (1, 3, 64, 64)),
)
