"""The models that scripts/convert_models.py writes layer by layer do what their networks were trained for."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

cv2 = pytest.importorskip("cv2")
Asset = Callable[[str], Path]


def _run(path: Path, x: NDArray[np.float32]) -> NDArray[Any]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x})[0])


@pytest.mark.parametrize(
    ("name", "mean", "std"),
    [
        ("mobilenet_v2", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("mobilenet_v2_bn", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("efficientnet_lite0", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    ],
)
def test_classifiers_know_their_pictures(
    name: str, mean: tuple[float, ...], std: tuple[float, ...], asset: Asset
) -> None:
    path, right = asset(name), 0
    files = sorted(asset("foolbox").glob("imagenet_*"))
    for file in files:
        small = cv2.resize(cv2.imread(str(file)), (224, 224), interpolation=cv2.INTER_AREA)
        x = ((small[..., ::-1] / 255 - mean) / std).transpose(2, 0, 1)[None].astype(np.float32)
        label = re.search(r"_(\d+)\.", file.name)
        assert label is not None
        right += int(_run(path, x).argmax()) == int(label[1])
    assert len(files) == 20
    assert right >= 18


def test_crepe_hears_the_octave(asset: Asset) -> None:
    """Bins are 20 cents apart, so an octave is 60 of them."""
    time = np.arange(1024) / 16_000
    waves = np.sin(2 * np.pi * np.array([[220.0], [440.0]]) * time)
    waves = (waves - waves.mean(1, keepdims=True)) / waves.std(1, keepdims=True)
    low, high = _run(asset("crepe_tiny"), waves.astype(np.float32)).argmax(1)
    assert abs(int(high - low) - 60) <= 2


def test_waifu2x_doubles_a_picture(asset: Asset) -> None:
    file = sorted(asset("foolbox").glob("imagenet_*"))[0]
    large = cv2.imread(str(file))[:128, :128]
    small = cv2.resize(large, (64, 64), interpolation=cv2.INTER_AREA)
    padded = cv2.copyMakeBorder(small, 7, 7, 7, 7, cv2.BORDER_REPLICATE)[..., ::-1] / 255
    y = _run(asset("waifu2x"), np.ascontiguousarray(padded.transpose(2, 0, 1)[None], np.float32))
    assert y.shape == (1, 3, 128, 128)
    assert np.abs(y[0].transpose(1, 2, 0) - large[..., ::-1] / 255).mean() < 0.06
