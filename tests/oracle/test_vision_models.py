"""Real models: a dense run equals ONNX Runtime without its optimisations, a stream equals the dense run bit for bit,
and at least 99 % of the multiply-adds run in the engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import reconv

Array = np.ndarray[Any, Any]
Asset = Callable[[str], Path]


@dataclass(frozen=True)
class Case:
    """One model at one size, with the scale and the mean of the values that it was trained on."""

    asset: str
    shape: tuple[int, ...]
    scale: float = 1.0
    mean: float = 0.0
    channels_last: bool = False


# Sizes are smaller than usual, the same layers run; one side differs from the other wherever the model lets it.
CASES = [
    Case("yolox_nano", (1, 3, 192, 256), 50, 114),
    Case("yolov8n_nudenet", (1, 3, 160, 192), 0.2, 0.5),
    Case("ppocr_det", (1, 3, 160, 192)),
    Case("open_nsfw", (1, 224, 224, 3), 50, channels_last=True),
    Case("centerface_clean", (1, 3, 160, 192), 50, 114),
    Case("mobilenet_v2", (1, 3, 160, 192)),
    Case("mobilenet_v2_bn", (1, 3, 160, 192)),
    Case("efficientnet_lite0", (1, 3, 160, 192)),
    Case("waifu2x", (1, 3, 64, 80), 0.2, 0.5),
]
TOLERANCE = 1e-4  # of the largest value of an output; what the order of summation makes


def _frames(case: Case, count: int = 4) -> list[Array]:
    """Smooth noise with lines of dark strokes (a text detector gives next to zero without), in which a block of a
    tenth of each side moves from frame to frame."""
    random = np.random.default_rng(5)
    image = random.standard_normal(case.shape)
    for axis in (1, 2) if case.channels_last else (2, 3):
        image = sum(np.roll(image, shift, axis) for shift in range(-3, 4)) / np.sqrt(7)
    lines = image if case.channels_last else image.transpose(0, 2, 3, 1)
    for top in range(lines.shape[1] // 3, lines.shape[1] - 24, 30):
        lines[:, top - 6 : top + 20] = 2
        for left in range(20, lines.shape[2] - 20, 8):
            lines[:, top : top + 14, left : left + 2] = -2
            bar = top + random.integers(0, 12)
            lines[:, bar : bar + 2, left : left + 6] = -2
    frames = [(case.mean + case.scale * image).astype(np.float32)]
    for index in range(1, count):
        frame = frames[-1].copy()
        pixels = frame if case.channels_last else frame.transpose(0, 2, 3, 1)
        height, width = pixels.shape[1] // 10, pixels.shape[2] // 10
        pixels[:, index * height : (index + 1) * height, :width] += case.scale
        frames.append(frame)
    return frames


def _error(found: Array, expected: Array) -> float:
    """Largest difference, as a share of the largest expected value."""
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def _reference(path: Path, x: Array) -> list[Array]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options)
    return list(session.run(None, {session.get_inputs()[0].name: x}))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.asset)
def test_dense_equals_onnx_runtime_and_stream_equals_dense(case: Case, asset: Asset) -> None:
    path = asset(case.asset)
    model = reconv.load(path, threads=2)
    frames = _frames(case)
    found = model.run(frames[0])
    for (name, value), expected in zip(found.items(), _reference(path, frames[0]), strict=True):
        assert _error(value, expected) <= TOLERANCE, name
    assert model.placement().engine_share >= 0.99, str(model.placement())

    stream = model.stream()
    for x in [*frames, frames[-1]]:
        outputs, dense = stream(x), model.run(x)
        assert {name: value.tobytes() for name, value in outputs.items()} == {
            name: value.tobytes() for name, value in dense.items()
        }
    assert stream.last.recomputed == 0
    assert {name: value.tobytes() for name, value in dense.items()} != {
        name: value.tobytes() for name, value in found.items()
    }, "the frames make no difference"


def test_the_error_can_be_too_large() -> None:
    assert _error(np.array([1.0, 2.001]), np.array([1.0, 2.0])) > TOLERANCE
    with pytest.raises(AssertionError):
        _error(np.zeros(2), np.zeros(3))
