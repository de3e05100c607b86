"""Networks with seeded random weights: the exact layers of published ones, as an exporter would write them.

What an exchange is worth depends on the layers and their sizes, not on what the weights have learnt.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import onnx

from benchmarks.builders.classifiers import densenet121, inception_v3, squeezenet11
from benchmarks.builders.upsampling import fpn_detection, fpn_segmentation, unet

__all__ = ["densenet121", "fpn_detection", "fpn_segmentation", "inception_v3", "squeezenet11", "unet", "written"]


def written(model: onnx.ModelProto, path: Path) -> Path:
    """The path, where the model now is; other processes never see half a file."""
    data = model.SerializeToString(deterministic=True)
    if not path.is_file() or path.read_bytes() != data:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(data)
        os.replace(file.name, path)
    return path
